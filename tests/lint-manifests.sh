#!/usr/bin/env bash
# The chart and the examples against the schemas of Kubernetes and of our CRDs.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${TARGET:-target}
lab=$target/release/lab
helm=$("$lab" tool helm)
kubeconform=$("$lab" tool kubeconform)
kubectl=$("$lab" tool kubectl)
chart=charts/tradingbot-operator

module=$(cd tests/lab/tools/kubernetes && go list -m -f '{{.Dir}}' k8s.io/kubernetes)
schemas=$TRADINGBOT_CACHE/schemas
# The files of a Go module, in the version that a family of the lab's tools requires.
files() {
  (cd "tests/lab/tools/$1" && go mod download -json "$2" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
}
certs=$(files cert-manager github.com/cert-manager/cert-manager)
monitors=$(files prometheus-operator github.com/prometheus-operator/prometheus-operator)
sources=$(files flux github.com/fluxcd/source-controller)
kustomizations=$(files flux github.com/fluxcd/kustomize-controller)
cargo run --quiet -p tests --bin kubeconform-schemas -- \
  "$module/api/openapi-spec/swagger.json" "$schemas" crds/yaml/*.yaml \
  "$certs"/deploy/crds/cert-manager.io_{certificates,clusterissuers,issuers}.yaml \
  "$monitors"/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml \
  "$sources"/config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml \
  "$kustomizations"/config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml

check() {
  "$kubeconform" -strict -summary -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" -
}

"$helm" lint --strict --quiet $chart
for values in $chart/ci/*.yaml; do
  echo "chart with $(basename "$values")"
  "$helm" lint --strict --quiet $chart --values "$values"
  "$helm" template tradingbot-operator $chart --namespace tradingbot-system --values "$values" | check
done
echo "examples"
for example in examples/*.yaml examples/tls/*.yaml examples/flux/*.yaml; do
  # Documents need a separator of their own when files are joined.
  echo '---'
  cat "$example"
done | check
"$kubectl" kustomize examples/data | check
"$kubectl" kustomize examples/argocd | check
