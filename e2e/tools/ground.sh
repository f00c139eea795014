# shellcheck shell=bash
# The test ground's paths, versions and progress lines, sourced by every script of e2e/.
# In: SPILLWAY_CACHE, CARGO_TARGET_DIR, SPILLWAY_CLUSTER_PREFIX. Out: the variables and functions below.
# Nothing here starts, installs or builds anything.

# shellcheck disable=SC2034  # read by the scripts that source this file
{
  KUBERNETES_VERSION=1.36.3
  KIND_VERSION=0.33.0
  ETCD_VERSION=3.6.16
  COREDNS_VERSION=1.14.2
  CRICTL_VERSION=1.36.0
  HELM_VERSION=4.3.1
  S3_VERSION=0.14.1

  REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  SPILLWAY_CACHE=${SPILLWAY_CACHE:-$HOME/.cache/spillway}
  RUST_VERSION=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$REPOSITORY/rust-toolchain.toml")
  KUBERNETES_BIN=$SPILLWAY_CACHE/kubernetes/v$KUBERNETES_VERSION
  CARGO_TARGET=${CARGO_TARGET_DIR:-$REPOSITORY/target}
  CARGO_TRIPLE=x86_64-unknown-linux-musl
  GROUND=$SPILLWAY_CACHE/e2e
  KUBECONFIG_MERGED=$GROUND/kubeconfig
  KUBECONFIG_DIR=$GROUND/kubeconfig.d
  CLUSTER_PREFIX=${SPILLWAY_CLUSTER_PREFIX:-}
  NODE_IMAGE=spillway-e2e/node:v$KUBERNETES_VERSION
}

# Progress goes to standard error: standard output is for results a caller may capture.
say() { printf '%s %s: %s\n' "$(date +%H:%M:%S)" "$(basename "$0" .sh)" "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# Prints the script's leading comment, which is its manual.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# help_asked ARG...: the first argument asks for the manual.
help_asked() { case ${1:-} in -h | --help | help) usage; return 0 ;; *) return 1 ;; esac; }

# need COMMAND...: every one must be on PATH.
need() {
  local command
  for command; do
    command -v "$command" >/dev/null || fail "'$command' is missing: run e2e/tools/install.sh"
  done
}

# cluster_stands NAME: whether kind lists it; ends the script where kind cannot tell.
# Listed first, then searched: grep -q closes a pipe at its match, and pipefail would make a failure of that.
cluster_stands() {
  local clusters
  clusters=$(kind get clusters 2>/dev/null) || fail "kind cannot list its clusters: does the docker engine answer?"
  grep -qx "$1" <<<"$clusters"
}

# delete_cluster NAME: 1 when something of it stays.
delete_cluster() { kind_delete "$1" || { thaw "$1"; kind_delete "$1"; }; }
kind_delete() { kind delete cluster --name "$1" --kubeconfig "$KUBECONFIG_DIR/$1" >/dev/null 2>&1; }

# thaw CLUSTER: under cgroup v1 a runtime that dies while it sets up a container leaves it frozen, and no signal ends it.
thaw() {
  local node folder state
  for node in $(kind get nodes --name "$1" 2>/dev/null); do
    folder=/sys/fs/cgroup/freezer/docker/$(docker inspect -f '{{.Id}}' "$node")
    [[ -d $folder ]] || continue
    while read -r state; do echo THAWED >"$state"; done < <(find "$folder" -name freezer.state)
  done
}

# lock NAME: waits until no other caller holds it; held until this process ends.
lock() {
  mkdir -p "$SPILLWAY_CACHE/locks"
  exec 9>"$SPILLWAY_CACHE/locks/$1"
  flock -n 9 || { say "waiting for another run of '$1'"; flock 9; }
}

# wait_for SECONDS COMMAND...: polls until the command succeeds; 1 when the time is over.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

# Kind with the built binaries first, unless the machine brings its own and none was built.
PATH=$KUBERNETES_BIN:$PATH
export PATH
