#!/usr/bin/env bash
# The local chain: finds anvil among the contracts' npm packages, installs those if need be; prints its path.
#
#   e2e/tools/anvil.sh           path of the binary for this machine (cast and forge: the packages beside it)
#   e2e/tools/anvil.sh check     also make its image and run it there as a user without privileges
#
# The versions are pinned by settlement/contracts/package-lock.json.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/ground.sh"
help_asked "$@" && exit 0
[[ ${1:-} == "" || $1 == check ]] || { usage >&2; exit 2; }
contracts=$REPOSITORY/settlement/contracts
# The npm package's own launcher is a node script; an image needs the native binary it starts.
binary=$contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil

if [[ ! -x $binary ]]; then
  need npm
  lock contracts-npm
  say "installing the contracts' npm packages"
  [[ -x $binary ]] || npm ci --prefix "$contracts" --no-audit --no-fund --loglevel error >&2
  [[ -x $binary ]] || fail "npm brought no anvil for this machine: $binary is missing"
fi
if [[ ${1:-} == check ]]; then
  "$here/../images/build.sh" anvil >/dev/null
  version=$(docker run --rm --user 65532:65532 --read-only --tmpfs /tmp --cap-drop ALL spillway-e2e/anvil:dev --version)
  [[ $version == *"$("$binary" --version | head -1)"* ]] || fail "the image answers another version: $version"
  say "image spillway-e2e/anvil:dev runs without privileges: $(head -1 <<<"$version")"
fi
printf '%s\n' "$binary"
