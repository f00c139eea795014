#!/usr/bin/env bash
# Deletes the test ground's clusters, and only those.
#
#   e2e/clusters/down.sh [NAME...]    default: hub provider-a provider-b (with SPILLWAY_CLUSTER_PREFIX before each)
#
# The docker engine, the node image and the cache stay.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
help_asked "$@" && exit 0
names=("$@")
((${#names[@]})) || names=(hub provider-a provider-b)

need docker kind
lock "clusters-$CLUSTER_PREFIX"
for name in "${names[@]}"; do
  cluster=$CLUSTER_PREFIX$name
  cluster_stands "$cluster" || { say "$cluster: not there"; continue; }
  delete_cluster "$cluster" ||
    fail "$cluster: not deleted: try 'docker rm -f' with what 'kind get nodes --name $cluster' lists"
  rm -f "$KUBECONFIG_DIR/$cluster" "$KUBECONFIG_DIR/$cluster.internal"
  say "$cluster: deleted"
done
"$here/kubeconfig.sh"
