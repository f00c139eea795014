#!/usr/bin/env bash
# Makes Spillway's images and the test ground's, each one layer, from static binaries; prints "IMAGE ID" a line.
#
#   e2e/images/build.sh [NAME...]     default: all
#
# Spillway's own, as user 65532: operator scheduler-plugin settlement agent runner  -> spillway/NAME:dev
# kube-scheduler (from e2e/tools/kubernetes.sh)                                     -> spillway/kube-scheduler:dev
# The test ground's: s3 anvil device-plugin relay engine                            -> spillway-e2e/NAME:dev
#
# An image whose content did not change is left alone and keeps its ID, so e2e/clusters/load.sh skips it too.
# CARGO_TARGET_DIR is honoured; SPILLWAY_PROFILE=release builds with optimisation (default: dev).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
# shellcheck source=e2e/images/layer.sh
source "$here/layer.sh"
help_asked "$@" && exit 0
crates=(operator scheduler-plugin settlement agent runner)
names=("$@")
((${#names[@]})) || names=("${crates[@]}" kube-scheduler s3 anvil device-plugin relay engine)
profile=${SPILLWAY_PROFILE:-dev}
unprivileged=65532:65532

is_crate() { [[ " ${crates[*]} " == *" $1 "* ]]; }

# One call for every binary, and over the whole workspace: a choice of packages would resolve other features of the
# dependencies than the tests do, and compile most of them once more.
build_crates() {
  local binaries=() name
  for name in "${names[@]}"; do
    if is_crate "$name"; then binaries+=(--bin "spillway-$name"); fi
  done
  ((${#binaries[@]})) || return 0
  need cargo musl-gcc
  say "cargo build ${binaries[*]}"
  (cd "$REPOSITORY" && CARGO_TARGET_DIR=$CARGO_TARGET cargo build --quiet --profile "$profile" --workspace "${binaries[@]}" >&2)
}

crate_image() {
  local output=$profile
  [[ $profile != dev ]] || output=debug
  stage_binary "$1" "$CARGO_TARGET/$CARGO_TRIPLE/$output/spillway-$2"
  pack "$1" "spillway/$2:dev" "$unprivileged" "[\"/usr/local/bin/spillway-$2\"]"
}

kube_scheduler_image() {
  stage_binary "$1" "$("$here/../tools/kubernetes.sh" kube-scheduler)/kube-scheduler"
  pack "$1" spillway/kube-scheduler:dev "$unprivileged" '["/usr/local/bin/kube-scheduler"]'
}

# A bucket is a folder below /data; everyone may write there because a mounted volume usually belongs to root.
s3_image() {
  stage_binary "$1" "$("$here/../tools/s3.sh")"
  mkdir -m 1777 "$1/data"
  pack "$1" spillway-e2e/s3:dev "$unprivileged" '["/usr/local/bin/s3s-fs"]' \
    '["--host", "0.0.0.0", "--port", "9000", "/data"]'
}

anvil_image() {
  local binary
  binary=$("$here/../tools/anvil.sh")
  stage_binary "$1" "$binary"
  stage_libraries "$1" "$binary"
  pack "$1" spillway-e2e/anvil:dev "$unprivileged" '["/usr/local/bin/anvil"]' '["--host", "0.0.0.0"]'
}

# stage_go FOLDER NAME: the binary of the Go module e2e/NAME.
stage_go() {
  need go
  (cd "$REPOSITORY/e2e/$2" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$1/usr/local/bin/$2" .) >&2
}

relay_image() {
  stage_go "$1" relay
  pack "$1" spillway-e2e/relay:dev "$unprivileged" '["/usr/local/bin/relay"]'
}

# Root: it registers with the kubelet through a socket that only root may open. The links are the commands of NVIDIA's image.
device_plugin_image() {
  stage_go "$1" device-plugin
  ln -s device-plugin "$1/usr/local/bin/nvidia-device-plugin"
  ln -s device-plugin "$1/usr/local/bin/gpu-feature-discovery"
  pack "$1" spillway-e2e/device-plugin:dev 0:0 '["/usr/local/bin/device-plugin"]'
}

# The engine has its own script, whose every run gives a new ID: the old image stays when it says the same.
engine_image() {
  local image=spillway-e2e/engine:dev new=spillway-e2e/engine:new
  CARGO_TARGET_DIR=$CARGO_TARGET "$REPOSITORY/e2e/engine/image.sh" "$new" >&2
  if [[ $(engine_content "$image") == "$(engine_content "$new")" ]]; then
    say "$image: unchanged"
  else
    docker tag "$new" "$image"
    say "$image: made"
  fi
  docker rmi "$new" >/dev/null
  docker image inspect -f "$image {{.Id}}" "$image"
}
engine_content() { docker image inspect -f '{{json .RootFS}}{{json .Config}}' "$1" 2>/dev/null; }

make_image() {
  local folder
  folder=$(mktemp -d "$staging/XXXXXX")
  chmod 755 "$folder"
  stage_base "$folder"
  if is_crate "$1"; then crate_image "$folder" "$1"; return; fi
  case $1 in
    kube-scheduler) kube_scheduler_image "$folder" ;;
    s3) s3_image "$folder" ;;
    anvil) anvil_image "$folder" ;;
    device-plugin) device_plugin_image "$folder" ;;
    relay) relay_image "$folder" ;;
    engine) engine_image ;;
    *) fail "no image '$1': see --help" ;;
  esac
}

need docker jq strip
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
build_crates
for name in "${names[@]}"; do make_image "$name"; done
