#!/usr/bin/env bash
# The demo: a cluster, the operator, a bot, and its first trades. Called by the Makefile: demo.sh up | down | kubeconfig.
# CLUSTER=lab     a cluster of our own, from Go modules (default)
# CLUSTER=kind    a cluster in Docker, where docker and kind are
# CLUSTER=current the current kubectl context; its nodes must be able to pull from IMAGE_REGISTRY
set -euo pipefail
cd "$(dirname "$0")/.."

export TRADINGBOT_CACHE=${TRADINGBOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tradingbot}
CLUSTER=${CLUSTER:-lab}
NAME=demo
RELEASE=tradingbot-operator
NAMESPACE=tradingbot-system
# In a cluster that is not ours, nothing of anybody else's is touched.
[ "$CLUSTER" != current ] || NAMESPACE=tradingbot-demo
KIND=tradingbots.trading.three-rivers-tech.com
BOT=paper-btc
LAB=${TARGET:-target}/release/lab
IMAGES=$TRADINGBOT_CACHE/images
START=$SECONDS
STEP="the beginning"
LOG=

step() {
  STEP=$1
  printf '%4d s  %s\n' $((SECONDS - START)) "$STEP"
}

fail() {
  printf '\nthe demo stopped at: %s\n' "$STEP" >&2
  [ $# -eq 0 ] || printf '%s\n' "$*" >&2
  [ -z "$LOG" ] || printf 'read: %s\n' "$LOG" >&2
  trap - ERR
  exit 1
}

kubectl() { "$KUBECTL" "$@"; }

# Programs of our own for our own cluster; for another one a person's own, where they have them.
use_programs() {
  case $CLUSTER in
    lab)
      KUBECTL=$("$LAB" tool kubectl)
      HELM=$("$LAB" tool helm)
      ;;
    kind | current)
      KUBECTL=$(type -P kubectl || "$LAB" tool kubectl)
      HELM=$(type -P helm || "$LAB" tool helm)
      ;;
  esac
}

# NAMESPACE/RELEASE that brought the kind TradingBot; nothing when the cluster does not have it.
kind_owner() {
  kubectl get crd $KIND --ignore-not-found \
    -o jsonpath='{.metadata.annotations.meta\.helm\.sh/release-namespace}/{.metadata.annotations.meta\.helm\.sh/release-name}'
}

start_cluster() {
  case $CLUSTER in
    lab)
      [ "$(id -u)" = 0 ] || fail "a node needs root; run as root, or use CLUSTER=kind or CLUSTER=current"
      step "the cluster (etcd, API server, controllers, scheduler, a node)"
      LOG="$LAB logs PART --name $NAME (parts: $LAB logs --name $NAME)"
      "$LAB" up --node --name $NAME | sed 's/^/          /'
      KUBECONFIG=$("$LAB" kubeconfig --name $NAME)
      ;;
    kind)
      command -v docker >/dev/null && command -v kind >/dev/null || fail "CLUSTER=kind needs docker and kind"
      step "starting a kind cluster"
      KUBECONFIG=$(kind_kubeconfig)
      kind get clusters | grep -qx $NAME || kind create cluster --name $NAME --kubeconfig "$KUBECONFIG" --wait 120s
      ;;
    current)
      local context
      context=$(kubectl config current-context) || fail "there is no current kubectl context"
      echo "using the current context: $context"
      [ -n "${IMAGE_REGISTRY:-}" ] || fail "set IMAGE_REGISTRY to a registry that the nodes of $context pull from and you may push to"
      local owner
      owner=$(kind_owner) || fail "the cluster of $context does not answer"
      case $owner in
        '' | "$NAMESPACE/$RELEASE") ;;
        *) fail "$context has TradingBots already (release $owner): apply examples/data and examples/$BOT.yaml there instead" ;;
      esac
      return
      ;;
  esac
  export KUBECONFIG
}

kind_kubeconfig() { echo "$TRADINGBOT_CACHE/kind-$NAME.kubeconfig"; }

# Sets PREFIX and TAG. A tag names the content, so that a changed program is a changed image.
provide_images() {
  PREFIX=localhost/
  TAG=$(cat "${TARGET:-target}/release/tradingbot-"{operator,agent} Dockerfile | sha256sum | cut -c1-12)
  case $CLUSTER in
    lab)
      step "building the images and loading them into the node"
      mkdir -p "$IMAGES"
      for part in operator agent; do
        local archive=$IMAGES/$part-$TAG.tar
        find "$IMAGES" -name "$part-*.tar" ! -name "$part-$TAG.tar" -delete
        [ -e "$archive" ] || "$LAB" build-image --target $part --binary "${TARGET:-target}/release/tradingbot-$part" \
          --tag "${PREFIX}tradingbot-$part:$TAG" --output "$archive"
        "$LAB" load-image --name $NAME "$archive"
      done
      ;;
    kind)
      step "building the images and loading them into kind"
      make images IMAGE_REGISTRY=localhost TAG="$TAG" BUILDER=docker
      for part in operator agent; do kind load docker-image --name $NAME "${PREFIX}tradingbot-$part:$TAG"; done
      ;;
    current)
      step "building the images and pushing them to $IMAGE_REGISTRY"
      PREFIX=$IMAGE_REGISTRY/
      make images TAG="$TAG"
      local builder=docker
      command -v docker >/dev/null || builder=buildah
      for part in operator agent; do $builder push "${PREFIX}tradingbot-$part:$TAG"; done
      ;;
  esac
}

install_operator() {
  step "installing the operator with Helm"
  LOG="kubectl -n $NAMESPACE logs -l app.kubernetes.io/name=tradingbot-operator"
  "$HELM" upgrade --install $RELEASE charts/tradingbot-operator \
    --namespace $NAMESPACE --create-namespace --wait --timeout 120s \
    --set image.repository="${PREFIX}tradingbot-operator" --set image.tag="$TAG" \
    --set agentImage.repository="${PREFIX}tradingbot-agent" --set agentImage.tag="$TAG" >/dev/null
}

apply_bot() {
  step "applying the bars and the bot: examples/$BOT.yaml"
  LOG="kubectl describe tradingbot $BOT; kubectl logs deployment/$BOT"
  kubectl apply -k examples/data | sed 's/^/          /'
  kubectl apply -f examples/$BOT.yaml | sed 's/^/          /'
  # A running bot keeps the agent's image that it was made with. Here the newest is wanted.
  kubectl annotate deployment $BOT trading.three-rivers-tech.com/agent-image- >/dev/null 2>&1 || true
  step "waiting until the bot is Ready"
  kubectl wait --for=jsonpath='{.status.agent.image}'="${PREFIX}tradingbot-agent:$TAG" --timeout=120s tradingbot/$BOT >/dev/null
  kubectl wait --for=condition=Ready --timeout=120s tradingbot/$BOT >/dev/null
}

await_trades() {
  step "waiting for the first trades"
  local trades
  for _ in $(seq 180); do
    trades=$(kubectl get tradingbot $BOT -o jsonpath='{.status.trading.closedTrades}')
    [ "${trades:-0}" -lt 1 ] || return 0
    sleep 1
  done
  fail "no trade was closed within three minutes"
}

up() {
  trap 'fail' ERR
  use_programs
  start_cluster
  provide_images
  install_operator
  apply_bot
  await_trades
  step "the bot trades"
  echo
  kubectl get tradingbots
  cat <<TEXT

Look further:
TEXT
  if [ "$CLUSTER" != current ]; then
    cat <<TEXT
  export KUBECONFIG=\$(make -s kubeconfig CLUSTER=$CLUSTER)
TEXT
  fi
  [ "$CLUSTER" != lab ] || echo "  alias kubectl=$KUBECTL"
  cat <<TEXT
  kubectl get tradingbots -o wide -w                 # equity and positions as they change
  kubectl describe tradingbot $BOT               # the story: conditions, last decision, events
  kubectl logs deployment/$BOT -f                # every decision with its reasons
  kubectl edit tradingbot $BOT                   # change a risk limit: no restart
  kubectl apply -f examples/paper-majors.yaml        # a second bot
  make demo-down                                     # remove everything
TEXT
}

down() {
  case $CLUSTER in
    lab)
      [ ! -x "$LAB" ] || "$LAB" down --name $NAME
      echo "the demo is gone"
      ;;
    kind)
      kind delete cluster --name $NAME
      rm -f "$(kind_kubeconfig)"
      ;;
    current)
      use_programs
      echo "removing the demo from the context $(kubectl config current-context)"
      [ "$(kind_owner)" = "$NAMESPACE/$RELEASE" ] || fail "no demo is there: its kind TradingBot is not of the demo's release"
      kubectl delete --ignore-not-found -f examples/$BOT.yaml
      kubectl delete --ignore-not-found -k examples/data
      "$HELM" uninstall --ignore-not-found $RELEASE --namespace $NAMESPACE
      kubectl delete --ignore-not-found namespace $NAMESPACE
      # With the kind would go every bot, and with a bot its journal.
      if [ -n "$(kubectl get tradingbots --all-namespaces -o name)" ]; then
        echo "the kind TradingBot stays: there are bots that are not the demo's"
      else
        kubectl delete crd $KIND
      fi
      ;;
  esac
}

case $CLUSTER in
  lab | kind | current) ;;
  *) fail "CLUSTER=$CLUSTER is unknown; use lab, kind or current" ;;
esac
case ${1:-} in
  up) up ;;
  down) down ;;
  kubeconfig)
    case $CLUSTER in
      lab) "$LAB" kubeconfig --name $NAME 2>/dev/null || fail "no demo is running: start it with make demo" ;;
      kind) kind_kubeconfig ;;
      current) echo "${KUBECONFIG:-$HOME/.kube/config}" ;;
    esac
    ;;
  *)
    echo "usage: $0 up | down | kubeconfig" >&2
    exit 2
    ;;
esac
