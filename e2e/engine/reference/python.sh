#!/usr/bin/env bash
# Runs a script of this folder with the pinned packages: python.sh golden.py MODEL_DIR | python.sh verify.py MODEL_DIR
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sum=$(sha256sum <"$here/requirements.txt" | cut -c1-12)
venv=${SPILLWAY_CACHE:-$HOME/.cache/spillway}/python/engine-reference-$sum

if [[ ! -e $venv/ready ]]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --no-deps --only-binary :all: --require-hashes --requirement "$here/requirements.txt" >&2
  touch "$venv/ready"
fi
script=${1:?a script of this folder}
shift
export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" "$here/$script" "$@"
