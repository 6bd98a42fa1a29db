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
certs=$(cd tests/lab/tools/cert-manager && go mod download -json github.com/cert-manager/cert-manager | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
cargo run --quiet -p tests --bin kubeconform-schemas -- \
  "$module/api/openapi-spec/swagger.json" "$schemas" crds/yaml/*.yaml \
  "$certs"/deploy/crds/cert-manager.io_{certificates,clusterissuers,issuers}.yaml

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
for example in examples/*.yaml examples/tls/*.yaml; do
  # Documents need a separator of their own when files are joined.
  echo '---'
  cat "$example"
done | check
"$kubectl" kustomize examples/data | check
