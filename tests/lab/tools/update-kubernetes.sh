#!/bin/sh
# Rewrites kubernetes/go.mod for another Kubernetes version: sh update-kubernetes.sh v1.36.3
#
# k8s.io/kubernetes requires its staging modules (k8s.io/api, …) as v0.0.0 and replaces them by folders, which a
# module that depends on it cannot see. So each of them is replaced here by the version published with the release.
set -eu
version=${1:?"usage: $0 vMAJOR.MINOR.PATCH"}
cd "$(dirname "$0")/kubernetes"
{
    echo 'module tradingbot/lab/kubernetes'
    echo
    echo 'go 1.26.0'
    echo
    sed -n "s|^\t\(k8s.io/[a-z-]*\) => ./staging/.*|replace \1 => \1 v0${version#v1}|p" \
        "$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's|.*"GoMod": "\(.*\)",|\1|p')"
} > go.mod
rm -f go.sum
for command in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    go get -tool "k8s.io/kubernetes/cmd/$command@$version"
done
