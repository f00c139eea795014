#!/usr/bin/env bash
# Merges the kubeconfigs of the clusters that stand into $SPILLWAY_CACHE/e2e/kubeconfig. Called by up.sh and down.sh.
set -euo pipefail
# shellcheck source=e2e/tools/ground.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tools/ground.sh"
help_asked "$@" && exit 0
need kind kubectl

mkdir -p "$KUBECONFIG_DIR"
list=
while read -r cluster; do
  [[ ! -f $KUBECONFIG_DIR/$cluster ]] || list+=${list:+:}$KUBECONFIG_DIR/$cluster
done < <(kind get clusters 2>/dev/null)
# Written beside and moved: a reader never sees half of it.
umask 077
KUBECONFIG=${list:-/dev/null} kubectl config view --flatten --merge >"$KUBECONFIG_MERGED.new"
mv "$KUBECONFIG_MERGED.new" "$KUBECONFIG_MERGED"
