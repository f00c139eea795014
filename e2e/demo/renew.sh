#!/usr/bin/env bash
# Removes the test ground's clusters when their chain holds another contract than this tree's: Settlements of the one
# can neither be read nor posted by the other. Otherwise does nothing.
#
#   e2e/demo/renew.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
# shellcheck source=e2e/demo/ground.sh
source "$here/ground.sh"
help_asked "$@" && exit 0

[[ -f $DEMO/chain.json ]] || exit 0
if [[ -f $DEMO/contract.sha256 && $(<"$DEMO/contract.sha256") == "$(contract_fingerprint)" ]]; then exit 0; fi
say "the chain holds another contract: the clusters are made anew"
"$here/../clusters/docker.sh"
"$here/../clusters/down.sh"
rm -f "$DEMO/chain.json" "$DEMO/contract.sha256"
