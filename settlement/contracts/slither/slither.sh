#!/usr/bin/env bash
# Static analysis of src/ by slither: fails on a finding that is neither mended nor explained.
#
#   slither/slither.sh
#
# A finding that holds nothing is switched off where it is reported, with its reason; detectors that report a whole way of writing
# are excluded in slither.config.json, and ../README.md says why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
contracts=$here/..
sum=$(sha256sum <"$here/requirements.txt" | cut -c1-12)
venv=${SPILLWAY_CACHE:-$HOME/.cache/spillway}/python/slither-$sum

if [[ ! -e $venv/ready ]]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --no-deps --require-hashes --requirement "$here/requirements.txt" >&2
  touch "$venv/ready"
fi
cd "$contracts"
export PATH=$PWD/node_modules/.bin:$venv/bin:$PATH
export FOUNDRY_OUT=out-slither FOUNDRY_CACHE_PATH=cache-slither
rm -rf "$FOUNDRY_OUT"
forge build --quiet --build-info --force --skip test script bench
log=$FOUNDRY_OUT/slither.log
slither . --foundry-ignore-compile --foundry-out-directory "$FOUNDRY_OUT" --config-file slither/slither.config.json \
  --fail-low >"$log" 2>&1 || { cat "$log"; exit 1; }
echo "slither: no finding that is not explained"
