#!/usr/bin/env bash
# Removes the test ground's clusters when their chain is of no use to this tree: it holds another contract, whose
# Settlements can neither be read nor posted by this one, or its file was cut off. Otherwise does nothing.
#
#   e2e/demo/renew.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
# shellcheck source=e2e/demo/ground.sh
source "$here/ground.sh"
help_asked "$@" && exit 0

same_contract() { [[ -f $DEMO/contract.sha256 && $(<"$DEMO/contract.sha256") == "$(contract_fingerprint)" ]]; }

# The chain writes its file in place every few seconds: a machine that goes down meanwhile leaves a part of it.
chain_is_whole() {
  local node=${CLUSTER_PREFIX}hub-control-plane
  docker inspect "$node" >/dev/null 2>&1 || return 0
  chain_answers || wait_for 10 chain_file_is_whole "$node" || chain_answers
}
# A node that is stopped can be read too.
chain_file_is_whole() { docker cp "$1:$CHAIN_FILE" - 2>/dev/null | tar -xO 2>/dev/null | jq -e 'type == "object"' >/dev/null 2>&1; }

[[ -f $DEMO/chain.json ]] || exit 0
"$here/../clusters/docker.sh"
if ! same_contract; then
  say "the chain holds another contract: the clusters are made anew"
elif ! chain_is_whole; then
  say "the chain's file $CHAIN_FILE was cut off: the clusters are made anew"
else
  exit 0
fi
"$here/../clusters/down.sh"
rm -f "$DEMO/chain.json" "$DEMO/contract.sha256"
