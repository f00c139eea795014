#!/usr/bin/env bash
# Loads local docker images into clusters; an image the node already has is skipped.
#
#   e2e/clusters/load.sh IMAGE... -- CLUSTER...     e.g. load.sh spillway/agent:dev -- provider-a provider-b
#
# Same content means same image ID, so a tag that was rebuilt with other content is loaded again.
# Cluster names get SPILLWAY_CLUSTER_PREFIX put before them.
set -euo pipefail
# shellcheck source=e2e/tools/ground.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tools/ground.sh"
help_asked "$@" && exit 0

images=() clusters=() after=
for argument; do
  if [[ $argument == -- ]]; then after=1
  elif [[ -n $after ]]; then clusters+=("$CLUSTER_PREFIX$argument")
  else images+=("$argument"); fi
done
if ! ((${#images[@]} && ${#clusters[@]})); then usage >&2; exit 2; fi
need docker kind jq

# name:tag as containerd knows it.
full_name() { case $1 in */*/*) printf '%s' "$1" ;; */*) printf 'docker.io/%s' "$1" ;; *) printf 'docker.io/library/%s' "$1" ;; esac; }

# A node reports the image's configuration digest, which is docker's image ID.
on_node() {
  local identity
  identity=$(docker exec "$1" crictl inspecti -o json "$(full_name "$2")" 2>/dev/null | jq -r .status.id) || return 1
  [[ $identity == "$3" ]]
}

on_every_node() {
  local node
  for node in "${nodes[@]}"; do on_node "$node" "$@" || return 1; done
}

for cluster in "${clusters[@]}"; do
  wanted=()
  mapfile -t nodes < <(kind get nodes --name "$cluster" 2>/dev/null)
  for image in "${images[@]}"; do
    identity=$(docker image inspect -f '{{.Id}}' "$image" 2>/dev/null) ||
      fail "no image '$image' in docker: run e2e/images/build.sh"
    on_every_node "$image" "$identity" || wanted+=("$image")
  done
  if ((${#wanted[@]})); then
    say "$cluster: loading ${wanted[*]}"
    kind load docker-image --name "$cluster" "${wanted[@]}" >/dev/null 2>"$GROUND/logs/$cluster.load.log" ||
      { tail -5 "$GROUND/logs/$cluster.load.log" >&2; fail "$cluster: images not loaded"; }
  else
    say "$cluster: has ${#images[@]} of ${#images[@]} images"
  fi
done
