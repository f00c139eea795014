#!/usr/bin/env bash
# Installs what the test ground needs of the host: Debian packages and the Rust target; checks Go, node and python.
#
#   e2e/tools/install.sh
#
# Fast and without any change where all is there. On a machine whose docker engine already answers, no package of
# docker or containerd is touched. Only missing packages ask for root.
set -euo pipefail
# shellcheck source=e2e/tools/ground.sh
source "$(dirname "${BASH_SOURCE[0]}")/ground.sh"
help_asked "$@" && exit 0

# command:package
wanted=(debootstrap:debootstrap musl-gcc:musl-tools cmake:cmake cc:gcc strip:binutils jq:jq iptables:iptables
  ip:iproute2 curl:curl git:git make:make shellcheck:shellcheck flock:util-linux)
engine=(docker:docker.io dockerd:docker.io containerd:containerd runc:runc)

# Some of these live in sbin, which a user's PATH may lack.
here_already() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

missing_packages() {
  local pairs=("${wanted[@]}") pair
  docker info >/dev/null 2>&1 || pairs+=("${engine[@]}")
  for pair in "${pairs[@]}"; do
    here_already "${pair%%:*}" || printf '%s\n' "${pair##*:}"
  done | sort -u
}

install_packages() {
  local packages
  mapfile -t packages < <(missing_packages)
  ((${#packages[@]})) || { say "packages: all there"; return; }
  here_already apt-get || fail "missing: ${packages[*]}. This machine has no apt-get: install them its own way"
  [[ $(id -u) == 0 ]] || fail "missing: ${packages[*]}. Run as root: apt-get install ${packages[*]}"
  say "packages: installing ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

install_rust_target() {
  here_already rustup || fail "'rustup' is missing: install it from https://rustup.rs, then run this again"
  if rustup target list --installed --toolchain "$RUST_VERSION" 2>/dev/null | grep -x "$CARGO_TRIPLE" >/dev/null; then
    say "rust $RUST_VERSION: target $CARGO_TRIPLE is there"
  else
    say "rust $RUST_VERSION: adding target $CARGO_TRIPLE"
    rustup toolchain install "$RUST_VERSION" --profile minimal --component rustfmt,clippy --target "$CARGO_TRIPLE" --no-self-update >&2
  fi
}

# at_least NAME FOUND WANTED FIX
at_least() {
  [[ -n $2 ]] || fail "'$1' is missing: $4"
  [[ $(printf '%s\n' "$3" "$2" | sort -V | head -1) == "$3" ]] || fail "$1 is $2, and $3 or newer is needed: $4"
  say "$1 $2: good"
}

check_languages() {
  at_least go "$(go version 2>/dev/null | sed -n 's/^go version go\([0-9.]*\).*/\1/p')" 1.26 \
    "install Go 1.26 or newer from https://go.dev/dl"
  at_least node "$(node --version 2>/dev/null | tr -d v)" 20 "install node 20 or newer (with npm) from https://nodejs.org"
  at_least python "$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null)" 3.10 \
    "install python 3.10 or newer as python3"
}

install_packages
install_rust_target
check_languages
say "ready"
