#!/usr/bin/env bash
# Makes sure a docker engine answers that can run privileged containers (kind's nodes are such).
#
#   e2e/clusters/docker.sh          start one when none runs, then check it
#   e2e/clusters/docker.sh stop     stop the one this script started
#
# A running engine is never reconfigured. One started here keeps its settings, log and pid file in
# $SPILLWAY_CACHE/e2e/docker and listens on the default socket.
set -euo pipefail
# shellcheck source=e2e/tools/ground.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tools/ground.sh"
help_asked "$@" && exit 0
engine=$GROUND/docker

# Bit 24 of the bounding set is CAP_SYS_RESOURCE.
lacks_sys_resource() { ((((0x$(sed -n 's/^CapBnd:\t//p' /proc/self/status) >> 24) & 1) == 0)); }

# The wrapper is copied beside the settings: the engine outlives this checkout.
write_settings() {
  mkdir -p "$engine"
  printf '{}\n' >"$engine/daemon.json"
  lacks_sys_resource || return 0
  install -m 755 "$(dirname "${BASH_SOURCE[0]}")/runc-without-sys-resource" "$engine/"
  jq -n --arg path "$engine/runc-without-sys-resource" \
    '{runtimes: {"without-sys-resource": {path: $path}}, "default-runtime": "without-sys-resource"}' \
    >"$engine/daemon.json"
}

start() {
  [[ $(id -u) == 0 ]] || fail "no docker engine answers, and only root can start one"
  need dockerd containerd runc jq
  say "no docker engine answers: starting dockerd (log $engine/dockerd.log)"
  write_settings
  # Left over from a machine that went down; dockerd refuses to start beside a dead pid file.
  [[ ! -f $engine/pid ]] || kill -0 "$(<"$engine/pid")" 2>/dev/null || rm -f "$engine/pid"
  setsid dockerd --config-file "$engine/daemon.json" --pidfile "$engine/pid" \
    >>"$engine/dockerd.log" 2>&1 </dev/null 9>&- &
  wait_for 60 docker info || { tail -5 "$engine/dockerd.log" >&2; fail "dockerd did not answer within 60 s"; }
}

stop() {
  [[ -f $engine/pid ]] || { say "nothing to stop: this script started no engine"; return; }
  local pid
  pid=$(<"$engine/pid")
  kill "$pid" 2>/dev/null || true
  wait_for 60 bash -c "! kill -0 $pid" || fail "dockerd (pid $pid) did not end within 60 s"
  say "dockerd stopped"
}

# One static binary is enough to see whether privileged containers start.
probe_image() {
  docker image inspect spillway-e2e/probe:1 >/dev/null 2>&1 && return
  local directory
  directory=$(mktemp -d)
  printf 'int main(void){return 0;}\n' | cc -static -Os -xc - -o "$directory/true"
  tar -C "$directory" -c . | docker import - spillway-e2e/probe:1 >/dev/null
  rm -r "$directory"
}

check_privileged() {
  probe_image
  local message
  message=$(docker run --rm --privileged spillway-e2e/probe:1 /true 2>&1) && return
  say "$message"
  case $message in
    *"unable to apply caps"*)
      fail "this engine asks for a capability the machine cannot grant. Give it the default runtime \
e2e/clusters/runc-without-sys-resource (daemon.json: runtimes, default-runtime), reload it, and run this again" ;;
    *) fail "docker cannot run privileged containers, and kind's nodes are such" ;;
  esac
}

need docker
case ${1:-start} in
  start)
    if ! docker info >/dev/null 2>&1; then
      lock docker
      docker info >/dev/null 2>&1 || start
    fi
    check_privileged
    say "ready: docker $(docker version --format '{{.Server.Version}}')"
    ;;
  stop) stop ;;
  *) usage; exit 2 ;;
esac
