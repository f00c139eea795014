#!/usr/bin/env bash
# Builds Kubernetes, etcd, coredns, kind, crictl and helm as static binaries from the Go module proxy.
#
#   e2e/tools/kubernetes.sh            everything that is missing; prints the folder
#   e2e/tools/kubernetes.sh NAME...    only these (for example: kubectl helm)
#
# Folder: $SPILLWAY_CACHE/kubernetes/v<version>. A stamp per binary makes a second run a fast no-op and lets a
# broken run go on where it stopped; a binary of the right version without a stamp is adopted. A first build on two
# cores takes 10 to 20 minutes, with a warm Go cache about one.
set -euo pipefail
# shellcheck source=e2e/tools/ground.sh
source "$(dirname "${BASH_SOURCE[0]}")/ground.sh"
help_asked "$@" && exit 0

components=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubeadm kubectl)
names=("$@")
((${#names[@]})) || names=("${components[@]}" kind etcd coredns crictl helm)
stamps=$KUBERNETES_BIN/.stamps
export CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false"

# module NAME: the Go module and package it comes from, and the version.
module() {
  case $1 in
    kind) echo "sigs.k8s.io/kind sigs.k8s.io/kind $KIND_VERSION" ;;
    etcd) echo "go.etcd.io/etcd/server/v3 go.etcd.io/etcd/server/v3 $ETCD_VERSION" ;;
    coredns) echo "github.com/coredns/coredns github.com/coredns/coredns $COREDNS_VERSION" ;;
    crictl) echo "sigs.k8s.io/cri-tools sigs.k8s.io/cri-tools/cmd/crictl $CRICTL_VERSION" ;;
    helm) echo "helm.sh/helm/v4 helm.sh/helm/v4/cmd/helm $HELM_VERSION" ;;
    kube*) echo "k8s.io/kubernetes k8s.io/kubernetes/cmd/$1 $KUBERNETES_VERSION" ;;
    *) fail "unknown binary '$1': one of ${components[*]} kind etcd coredns crictl helm" ;;
  esac
}

# What a binary answers when asked for its version. A Go module build of crictl or helm does not know its own, so
# the build information says it.
answers() {
  local binary=$KUBERNETES_BIN/$1
  case $1 in
    kubectl) "$binary" version --client ;;
    kubeadm) "$binary" version -o short ;;
    coredns) "$binary" -version ;;
    crictl | helm) go version -m "$binary" ;;
    *) "$binary" --version ;;
  esac 2>/dev/null
}

says_version() { grep -qE "(^|[^0-9.])${2//./\\.}([^0-9.]|$)" <<<"$(answers "$1")"; }
stamped() { [[ -x $KUBERNETES_BIN/$1 && $(cat "$stamps/$1" 2>/dev/null) == "$2" ]]; }
stamp() { mkdir -p "$stamps" && printf '%s\n' "$2" >"$stamps/$1"; }

adopted() {
  [[ -x $KUBERNETES_BIN/$1 ]] && says_version "$@" || return 1
  stamp "$1" "$2"
  say "$1 $2: adopted"
}

# k8s.io/kubernetes asks for its staging modules at v0.0.0; each is published as v0.<minor>.<patch>.
kubernetes_module() {
  local folder=$1 published=v0.${KUBERNETES_VERSION#1.} source component
  source=$(go mod download -json "k8s.io/kubernetes@v$KUBERNETES_VERSION" | jq -r .GoMod)
  {
    printf 'module kubernetes\ngo 1.26\nrequire k8s.io/kubernetes v%s\nreplace (\n' "$KUBERNETES_VERSION"
    grep -oP '^\s*\Kk8s\.io/[\w-]+(?= v0\.0\.0(\s|$))' "$source" | sort -u | sed "s#.*#\t& => & $published#"
    printf ')\n'
  } >"$folder/go.mod"
  {
    printf '//go:build tools\n\npackage tools\n\n'
    for component in "${components[@]}"; do printf 'import _ "k8s.io/kubernetes/cmd/%s"\n' "$component"; done
  } >"$folder/tools.go"
  (cd "$folder" && go mod tidy)
}

# Kubernetes' binaries are made in one module: its dependency graph takes longest to resolve.
module_folder() {
  local path=$1 version=$2 folder
  folder=$work/${path//\//_}
  if [[ ! -d $folder ]]; then
    mkdir "$folder"
    if [[ $path == k8s.io/kubernetes ]]; then
      kubernetes_module "$folder"
    else
      (cd "$folder" && printf 'module tool\ngo 1.26\n' >go.mod && go get "$path@v$version")
    fi
  fi
  printf '%s\n' "$folder"
}

# Kubernetes and helm learn their version from the linker.
link_flags() {
  local package=k8s.io/component-base/version rest=${KUBERNETES_VERSION#1.}
  case $1 in
    kube*) echo "-X $package.gitVersion=v$KUBERNETES_VERSION -X $package.gitMajor=1 -X $package.gitMinor=${rest%%.*}" ;;
    helm) echo "-X helm.sh/helm/v4/internal/version.version=v$HELM_VERSION" ;;
  esac
}

build() {
  local name=$1 path=$2 package=$3 version=$4 folder
  say "$name $version: building"
  folder=$(module_folder "$path" "$version" 2>"$logs/$name.log") || { tail -5 "$logs/$name.log" >&2; fail "$name: no module (log $logs/$name.log)"; }
  # Beside and moved: a run cut short leaves no half binary.
  (cd "$folder" && nice -n 10 go build -trimpath -ldflags "-s -w $(link_flags "$name")" \
    -o "$KUBERNETES_BIN/.$name.new" "$package") >>"$logs/$name.log" 2>&1 ||
    { tail -5 "$logs/$name.log" >&2; fail "$name: build failed (log $logs/$name.log)"; }
  mv "$KUBERNETES_BIN/.$name.new" "$KUBERNETES_BIN/$name"
  says_version "$name" "$version" || fail "$name: the built binary does not say version $version"
  stamp "$name" "$version"
}

missing=()
for name in "${names[@]}"; do
  read -r _ _ version <<<"$(module "$name")"
  [[ -n $version ]] || exit 1
  stamped "$name" "$version" || missing+=("$name")
done
if ((${#missing[@]})); then
  lock kubernetes
  logs=$SPILLWAY_CACHE/logs
  mkdir -p "$KUBERNETES_BIN" "$logs"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  need go jq
  for name in "${missing[@]}"; do
    read -r path package version <<<"$(module "$name")"
    # Another run may have made it while this one waited for the lock.
    stamped "$name" "$version" || adopted "$name" "$version" || build "$name" "$path" "$package" "$version"
  done
fi
printf '%s\n' "$KUBERNETES_BIN"
