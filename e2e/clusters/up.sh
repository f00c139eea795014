#!/usr/bin/env bash
# Brings up the test ground's kind clusters; what stands and is healthy is kept.
#
#   e2e/clusters/up.sh [NAME...]      default: hub provider-a provider-b
#
# One node each; `provider-a` has a worker besides, a second GPU host.
# The cluster `hub` publishes two NodePorts on 127.0.0.1: 30900 (object store) and 30545 (chain).
# Kubeconfigs in $SPILLWAY_CACHE/e2e: `kubeconfig` holds every context (kind-hub, ...), `kubeconfig.d/NAME` one
# cluster, `kubeconfig.d/NAME.internal` the same for use inside pods of the other clusters.
#
# SPILLWAY_CLUSTER_PREFIX   put before each name (a second ground beside the first); default empty
# SPILLWAY_S3_PORT, SPILLWAY_CHAIN_PORT   the ports on 127.0.0.1; default 30900, 30545
# KIND_NODE_IMAGE           a node image to use instead of the one e2e/clusters/node-image.sh makes
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
help_asked "$@" && exit 0
s3_port=${SPILLWAY_S3_PORT:-30900}
chain_port=${SPILLWAY_CHAIN_PORT:-30545}
names=("$@")
((${#names[@]})) || names=(hub provider-a provider-b)
# What a cluster takes while it starts; about a third of it afterwards.
start_mib=1500
plugin_file=/etc/cni/net.d/10-local.conflist
worker_plugin=$GROUND/worker-network.conflist

cluster_config() {
  cat "$here/kind.yaml"
  case $1 in hub) hub_ports ;; provider-a) worker ;; esac
}

hub_ports() {
  printf '  extraPortMappings:\n'
  local mapping
  for mapping in "30900 $s3_port" "30545 $chain_port"; do
    printf '  - {containerPort: %s, hostPort: %s, listenAddress: 127.0.0.1}\n' "${mapping% *}" "${mapping#* }"
  done
}

# The local node image's network plug-in knows one node's addresses: the worker gets the next range.
worker() {
  printf -- '- role: worker\n'
  [[ $image == "$NODE_IMAGE" ]] || return 0
  docker run --rm --entrypoint cat "$image" "$plugin_file" | sed 's#10\.244\.0\.0/24#10.244.1.0/24#' >"$worker_plugin"
  printf '  extraMounts:\n  - {hostPath: %s, containerPath: %s, readOnly: true}\n' "$worker_plugin" "$plugin_file"
}

nodes_of() { kind get nodes --name "$1" 2>/dev/null; }
node_count() { case $1 in provider-a) echo 2 ;; *) echo 1 ;; esac; }

# Ways between the nodes' pods, which a public node image finds by itself. They go with a node that stops.
connect_nodes() {
  [[ $image == "$NODE_IMAGE" && $(node_count "$2") == 2 ]] || return 0
  way "$1-control-plane" 10.244.1.0/24 "$1-worker" && way "$1-worker" 10.244.0.0/24 "$1-control-plane"
}

# way FROM RANGE TO
way() {
  local address
  address=$(docker inspect -f '{{.NetworkSettings.Networks.kind.IPAddress}}' "$3") || return 1
  docker exec "$1" ip route replace "$2" via "$address"
}

kube() { kubectl --kubeconfig "$KUBECONFIG_DIR/$1" "${@:2}"; }

healthy() {
  local cluster=$1 name=$2
  [[ $name != hub ]] || docker port "$cluster-control-plane" 30900 >/dev/null 2>&1 || return 1
  [[ $(nodes_of "$cluster" | wc -l) == "$(node_count "$name")" ]] || return 1
  kind export kubeconfig --name "$cluster" --kubeconfig "$KUBECONFIG_DIR/$cluster" >/dev/null 2>&1 || return 1
  kube "$cluster" get --raw /readyz --request-timeout=5s >/dev/null 2>&1 || return 1
  kube "$cluster" wait --for=condition=Ready nodes --all --timeout=5s >/dev/null 2>&1
}

# A node that stopped with its machine usually comes back by itself once started.
revive() {
  nodes_of "$1" | xargs docker start >/dev/null 2>&1 || return 1
  wait_for 180 healthy "$@"
}

create() {
  local cluster=$1 name=$2 log=$GROUND/logs/$1.create.log
  say "$cluster: creating"
  cluster_config "$name" |
    kind create cluster --name "$cluster" --image "$image" --config - --wait 180s \
      --kubeconfig "$KUBECONFIG_DIR/$cluster" >"$log" 2>&1 ||
    { tail -15 "$log" >&2; say "error: $cluster: not created (log $log)"; return 1; }
}

# Every node takes work; kind sees to that only where there is no worker.
open_nodes() {
  kube "$1" taint nodes -l node-role.kubernetes.io/control-plane node-role.kubernetes.io/control-plane- >/dev/null 2>&1 || true
}

# The node's readiness says nothing of cluster DNS.
ready() {
  local cluster=$1
  open_nodes "$cluster"
  connect_nodes "$@" || { say "error: $cluster: its nodes' pods do not reach each other"; return 1; }
  kube "$cluster" -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null ||
    { say "error: $cluster: coredns did not come up"; return 1; }
  wait_for 30 kube "$cluster" -n default get serviceaccount default ||
    { say "error: $cluster: no default service account"; return 1; }
  (umask 077 && kind get kubeconfig --internal --name "$cluster" >"$KUBECONFIG_DIR/$cluster.internal" 2>/dev/null) ||
    return 1
  say "$cluster: ready"
}

bring_up() {
  local name=$1 cluster=$CLUSTER_PREFIX$1
  if cluster_stands "$cluster"; then
    if healthy "$cluster" "$name" || revive "$cluster" "$name"; then
      ready "$cluster" "$name"
      return
    fi
    say "$cluster: stands but is not healthy: deleting it"
    delete_cluster "$cluster" || { say "error: $cluster: not deleted: e2e/clusters/down.sh tells more"; return 1; }
  fi
  create "$cluster" "$name" && ready "$cluster" "$name"
}

memory_for() { (($(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo) > $1 * start_mib)); }

"$here/docker.sh"
need kind kubectl jq
image=$("$here/node-image.sh")
lock "clusters-$CLUSTER_PREFIX"
mkdir -p "$KUBECONFIG_DIR" "$GROUND/logs"

running=()
for name in "${names[@]}"; do
  if memory_for $((${#running[@]} + 1)); then
    bring_up "$name" &
    running+=($!)
  else
    # In turn where memory is short: the ones before have settled by then.
    for pid in "${running[@]}"; do wait "$pid" || failed=1; done
    running=()
    bring_up "$name" || failed=1
  fi
done
for pid in "${running[@]}"; do wait "$pid" || failed=1; done
"$here/kubeconfig.sh"
[[ -z ${failed:-} ]] || fail "not every cluster came up"
say "ready: export KUBECONFIG=$KUBECONFIG_MERGED"
