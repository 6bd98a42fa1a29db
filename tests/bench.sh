#!/usr/bin/env bash
# Measures what docs/performance.md states, on a lab of its own that is removed at the end. Times come with a baseline of
# the same run, so that a slow machine does not look like a slow project.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${TARGET:-target}
lab=$target/release/lab
name=bench-$$
work=$(mktemp -d)
trap '"$lab" down --name $name; rm -rf "$work"' EXIT

ms() { date +%s%3N; }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
row() { printf '| %-58s | %12s |\n' "$1" "$2"; }

"$lab" tools >/dev/null
kubectl=$("$lab" tool kubectl)
helm=$("$lab" tool helm)

echo "measured on $(nproc) cores, $(uname -sr), $(date -u +%F), load $(cut -d' ' -f1 /proc/loadavg)"
row "what" "value"
row "---" "---"

for _ in 1 2 3; do
  begin=$(ms)
  "$lab" up --name $name >/dev/null
  echo $(($(ms) - begin))
  "$lab" down --name $name >/dev/null
done >"$work/control-plane"
row "lab: control plane, warm start to ready (median of 3)" "$(median <"$work/control-plane") ms"

begin=$(ms)
"$lab" up --node --name $name >/dev/null
row "lab: control plane and node, warm start to ready" "$(($(ms) - begin)) ms"
KUBECONFIG=$("$lab" kubeconfig --name $name)
export KUBECONFIG

for part in operator agent; do
  row "$part: binary" "$(($(stat -c %s "$target/release/tradingbot-$part") / 1024)) KiB"
  "$lab" build-image --target $part --binary "$target/release/tradingbot-$part" \
    --tag localhost/tradingbot-$part:bench --output "$work/$part.tar" >/dev/null
  row "$part: image, uncompressed" "$(($(stat -c %s "$work/$part.tar") / 1024)) KiB"
  "$lab" load-image --name $name "$work/$part.tar"
done
"$helm" install tradingbot-operator charts/tradingbot-operator --namespace tradingbot-system --create-namespace --wait \
  --set replicas=1 --set image.repository=localhost/tradingbot-operator --set image.tag=bench \
  --set agentImage.repository=localhost/tradingbot-agent --set agentImage.tag=bench >/dev/null
"$kubectl" apply -k examples/data >/dev/null

# The baseline is what the cluster alone needs for a Deployment with a volume and a readiness probe.
baseline() {
  cat <<YAML
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      containers:
        - name: main
          image: localhost/tradingbot-lab/busybox:1
          command: [/bin/busybox, sleep, "3600"]
          readinessProbe: {exec: {command: [/bin/busybox, "true"]}, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: $1}}]
YAML
}

for i in 1 2 3 4 5; do
  begin=$(ms)
  baseline base-$i | "$kubectl" apply -f - >/dev/null
  "$kubectl" wait --for=condition=Available --timeout=60s deployment/base-$i >/dev/null
  echo $(($(ms) - begin)) >>"$work/baseline"
  begin=$(ms)
  sed "s/name: paper-btc/name: bot-$i/" examples/paper-btc.yaml | "$kubectl" apply -f - >/dev/null
  "$kubectl" wait --for=condition=Ready --timeout=60s tradingbot/bot-$i >/dev/null
  echo $(($(ms) - begin)) >>"$work/bots"
done
bots=$(median <"$work/bots")
base=$(median <"$work/baseline")
row "bot: apply to Ready (median of 5)" "$bots ms"
row "a bare Deployment with a volume: apply to Available" "$base ms"
row "ratio" "$(awk -v a="$bots" -v b="$base" 'BEGIN {printf "%.2f", a / b}')"

# Memory as the kernel counts it, of the processes of these pods.
resident() {
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/exe" 2>/dev/null)" = "/$1" ] || continue
    grep -q "$2" "$process/cgroup" 2>/dev/null || continue
    awk '/VmRSS/ {print $2}' "$process/status"
  done | median
}
pods=$("$kubectl" get pods -l app.kubernetes.io/managed-by=tradingbot-operator \
  -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{end}' | paste -sd'|' | sed 's/|/\\|/g')
row "agent: resident memory while it replays (median of 5)" "$(resident tradingbot-agent "$pods") KiB"
for i in 1 2 3 4 5; do
  "$kubectl" wait --for=jsonpath='{.status.conditions[?(@.type=="FeedHealthy")].reason}'=ReplayFinished \
    --timeout=600s tradingbot/bot-$i >/dev/null
done
row "agent: resident memory idle, after a year of hours" "$(resident tradingbot-agent "$pods") KiB"
operator=$("$kubectl" -n tradingbot-system get pods -o jsonpath='{.items[0].metadata.uid}')
row "operator: resident memory with five bots" "$(resident tradingbot-operator "$operator") KiB"
