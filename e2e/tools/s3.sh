#!/usr/bin/env bash
# Builds the test ground's S3 server (s3s-fs from crates.io, files in a folder) as a static binary; prints its path.
#
#   e2e/tools/s3.sh            build it unless it is there
#   e2e/tools/s3.sh check      also check what Spillway needs of it, with signed URLs against a real process
#
# Binary: $SPILLWAY_CACHE/tools/bin/s3s-fs. Its target folder is its own, so it never waits for the workspace's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/ground.sh"
help_asked "$@" && exit 0
[[ ${1:-} == "" || $1 == check ]] || { usage >&2; exit 2; }
root=$SPILLWAY_CACHE/tools
binary=$root/bin/s3s-fs
stamp=$root/bin/.s3s-fs.version

install_server() {
  need cargo musl-gcc
  mkdir -p "$root" "$SPILLWAY_CACHE/logs"
  say "building s3s-fs $S3_VERSION (about three minutes)"
  # Run beside the repository: its cargo settings are for its own crates.
  (cd "$root" && CARGO_TARGET_DIR=$root/target-s3 RUSTUP_TOOLCHAIN=$RUST_VERSION nice -n 10 \
    cargo install s3s-fs --version "=$S3_VERSION" --locked --features binary --target "$CARGO_TRIPLE" \
    --root "$root" --force) >"$SPILLWAY_CACHE/logs/s3.log" 2>&1 ||
    { tail -5 "$SPILLWAY_CACHE/logs/s3.log" >&2; fail "s3s-fs was not built (log $SPILLWAY_CACHE/logs/s3.log)"; }
  printf '%s\n' "$S3_VERSION" >"$stamp"
}

present() { [[ -x $binary && $(cat "$stamp" 2>/dev/null) == "$S3_VERSION" ]]; }

if ! present; then
  lock s3
  present || install_server
fi
[[ ${1:-} != check ]] || python3 "$here/s3_check.py" "$binary" >&2
printf '%s\n' "$binary"
