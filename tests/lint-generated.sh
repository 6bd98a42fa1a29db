#!/usr/bin/env bash
# Fails when a generated file is not what `make generate` would write now.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
mkdir "$fresh/crds" "$fresh/chart"
cargo run --quiet -p crds --bin generate-crds -- "$fresh/api.md" "$fresh/crds" "$fresh/chart"
cargo run --quiet -p agent --example generate-commands -- "$fresh/commands.md" "$fresh/share"
diff "$fresh/api.md" docs/api.md && diff -r "$fresh/crds" crds/yaml && diff -r "$fresh/chart" charts/tradingbot-operator/files &&
  diff "$fresh/commands.md" docs/commands.md && diff -r "$fresh/share" share || {
  echo "generated files are stale: run make generate and commit the result" >&2
  exit 1
}
