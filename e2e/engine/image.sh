#!/usr/bin/env bash
# Builds the engine's image from nothing but the static binary and the model: /engine, /model, user 65532.
#   image.sh TAG
# ENGINE_BINARY  an engine that is built already (static); otherwise cargo builds one in release profile
# MODEL_DIR      model files; otherwise weights.sh fetches them
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tag=${1:?usage: image.sh TAG}

build() {
  (cd "$here" && cargo build --release --workspace --bin engine >&2)
  local target
  target=$(cd "$here" && cargo metadata --format-version 1 --no-deps |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  echo "$target/x86_64-unknown-linux-musl/release/engine"
}

binary=${ENGINE_BINARY:-$(build)}
model=${MODEL_DIR:-$("$here/weights.sh")}
# An image without a loader starts only what needs none.
headers=$(readelf --program-headers "$binary")
if [[ $headers == *INTERP* ]]; then
  echo "image.sh: $binary is dynamically linked; build it for x86_64-unknown-linux-musl" >&2
  exit 1
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
install -m 0755 "$binary" "$root/engine"
while read -r _ file; do
  install -D -m 0644 "$model/$file" "$root/model/$file"
done <"$here/model.sha256"
(cd "$root/model" && sha256sum --check --strict --quiet "$here/model.sha256" >&2)
chmod 0755 "$root"

tar --create --directory "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner . |
  docker import \
    --change 'USER 65532:65532' \
    --change 'EXPOSE 8000' \
    --change 'ENV SPILLWAY_MODEL_DIR=/model' \
    --change 'ENTRYPOINT ["/engine"]' \
    --message "Spillway end-to-end engine" - "$tag"
