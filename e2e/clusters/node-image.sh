#!/usr/bin/env bash
# Makes kind's node image from Debian packages and the binaries of e2e/tools/kubernetes.sh: no container registry.
#
#   e2e/clusters/node-image.sh            spillway-e2e/node:v<kubernetes>, unless it exists; prints the image's name
#   e2e/clusters/node-image.sh --force    make it anew
#
# KIND_NODE_IMAGE=<image> uses that image instead (for example kind's public one) and makes nothing.
# The image carries one node's network plug-in configuration (up.sh gives a second node its own): it enforces no
# NetworkPolicy. Its StorageClass provisions nothing. Needs root (debootstrap). Work folder:
# $SPILLWAY_CACHE/e2e/node-image.
set -euo pipefail
# shellcheck source=e2e/tools/ground.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tools/ground.sh"
help_asked "$@" && exit 0

work=$GROUND/node-image
node=$work/node
images=$work/images
registry=registry.k8s.io
# The tags kubeadm asks for by constant (`kubeadm config images list`); what stands behind them is ours.
etcd_tag=3.6.8-0
pause_tag=3.10.2
packages=systemd,systemd-sysv,containerd,runc,containernetworking-plugins,conntrack,iptables,nftables,iproute2,ethtool
packages+=,util-linux,mount,kmod,procps,jq,curl,ca-certificates,e2fsprogs,pigz
saved=()

make_rootfs() {
  [[ ! -f $work/rootfs.tar ]] || return 0
  say "making the root file system with debootstrap (about two minutes)"
  rm -rf "$work/rootfs.partial"
  debootstrap --variant=minbase --include="$packages" bookworm "$work/rootfs.partial" >"$work/debootstrap.log" 2>&1 ||
    { tail -5 "$work/debootstrap.log" >&2; fail "debootstrap failed: see $work/debootstrap.log"; }
  tar -C "$work/rootfs.partial" --numeric-owner -cf "$work/rootfs.tar.partial" .
  mv "$work/rootfs.tar.partial" "$work/rootfs.tar"
  rm -rf "$work/rootfs.partial"
}

# import_image NAME FOLDER [CHANGE...]: one layer from a folder.
import_image() {
  local name=$1 folder=$2 change
  shift 2
  local changes=(--change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
  for change; do changes+=(--change "$change"); done
  tar -C "$folder" -c . | docker import "${changes[@]}" - "$name" >/dev/null
  saved+=("$name")
}

# binary_image NAME TARGET-FOLDER BINARY [CHANGE...]
binary_image() {
  local name=$1 target=$2 binary=$3 folder
  shift 3
  folder=$images/$binary
  mkdir -p "$folder/$target"
  cp "$KUBERNETES_BIN/$binary" "$folder/$target/"
  import_image "$registry/$name" "$folder" "$@"
}

# PID 1 of every pod: waits, reaps, and ends when asked.
pause_image() {
  mkdir -p "$images/pause"
  cc -Os -static -s -xc - -o "$images/pause/pause" <<'C'
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGINT, leave);
  signal(SIGTERM, leave);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
C
  import_image "$registry/pause:$pause_tag" "$images/pause" 'ENTRYPOINT ["/pause"]'
}

# kube-proxy calls iptables. Its plug-ins load libraries of their own (libxt_statistic needs libm): without them the
# first service with two endpoints stops all programming of rules while the cluster still looks ready.
kube_proxy_image() {
  local folder=$images/kube-proxy lib=usr/lib/x86_64-linux-gnu link library
  mkdir -p "$folder"/usr/{local/bin,sbin,lib/x86_64-linux-gnu,lib64} "$folder"/{run,tmp}
  ln -s usr/lib "$folder/lib"
  ln -s usr/lib64 "$folder/lib64"
  ln -s usr/sbin "$folder/sbin"
  cp "$KUBERNETES_BIN/kube-proxy" "$folder/usr/local/bin/"
  cp "$node"/usr/sbin/{xtables-nft-multi,nft,conntrack} "$folder/usr/sbin/"
  cp -r "$node/$lib/xtables" "$folder/$lib/"
  for link in iptables{,-save,-restore} ip6tables{,-save,-restore}; do
    ln -s xtables-nft-multi "$folder/usr/sbin/$link"
  done
  # shellcheck disable=SC2016  # the globs are the node's
  chroot "$node" sh -c 'cd /usr/sbin; ldd xtables-nft-multi nft conntrack /usr/lib/x86_64-linux-gnu/xtables/*.so || true' 2>/dev/null |
    grep -v ':$' | grep -o '/lib[^ ]*' | sort -u |
    while read -r library; do cp -L "$node$library" "$folder/usr$library"; done
  import_image "$registry/kube-proxy:v$KUBERNETES_VERSION" "$folder"
}

make_images() {
  say "making the control plane's images"
  local component
  for component in kube-apiserver kube-controller-manager kube-scheduler; do
    binary_image "$component:v$KUBERNETES_VERSION" usr/local/bin "$component"
  done
  binary_image "etcd:$etcd_tag" usr/local/bin etcd
  binary_image "coredns/coredns:v$COREDNS_VERSION" . coredns 'ENTRYPOINT ["/coredns"]'
  pause_image
  kube_proxy_image
  docker save -o "$images/images.tar" "${saved[@]}"
  docker rmi "${saved[@]}" >/dev/null
}

# Kind's own files (entry point, containerd settings, units) come from its Go module.
install_kind_files() {
  local files units=$node/lib/systemd/system enabled=$node/etc/systemd/system
  files=$(go mod download -json "sigs.k8s.io/kind@v$KIND_VERSION" | jq -r .Dir)/images/base/files
  cp -r --no-preserve=mode,ownership "$files/." "$node/"
  chmod 755 "$node"/usr/local/bin/* "$node/kind" "$node/kind/bin" "$node"/kind/bin/*
  rm -f "$node/usr/local/bin/clean-install" "$enabled/containerd-fuse-overlayfs.service"
  rm -f "$units/sysinit.target.wants/systemd-tmpfiles-setup.service" "$units"/multi-user.target.wants/* \
    "$enabled"/*.wants/* "$units"/local-fs.target.wants/* "$units"/sockets.target.wants/*{udev,initctl}* \
    "$units"/basic.target.wants/*
  echo ReadKMsg=no >>"$node/etc/systemd/journald.conf"
  chroot "$node" systemctl enable kubelet.service containerd.service undo-mount-hacks.service 2>/dev/null
  chroot "$node" systemctl mask systemd-binfmt.service 2>/dev/null
}

install_kubernetes() {
  install -m 755 "$KUBERNETES_BIN"/{kubelet,kubeadm,kubectl} "$node/usr/bin/"
  install -m 755 "$KUBERNETES_BIN/crictl" "$node/usr/local/bin/"
  ln -sf /usr/bin/containerd "$node/usr/local/bin/containerd"
  mkdir -p "$node/opt/cni" "$node/etc/kubernetes/manifests" "$node/kind/manifests" "$node/etc/cni/net.d"
  ln -sfn /usr/lib/cni "$node/opt/cni/bin"
  printf 'v%s' "$KUBERNETES_VERSION" >"$node/kind/version"
  sed -i "s#$registry/pause:[0-9.]*#$registry/pause:$pause_tag#" "$node/etc/containerd/config.toml"
  chroot "$node" ctr oci spec |
    jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
      >"$node/etc/containerd/cri-base.json"
}

# Kind's default network and storage add-ons are container images of a registry: a fixed one-node configuration
# stands for the first, a class without provisioner for the second. The ConfigMap tells tests which network this is.
install_add_ons() {
  cat >"$node/etc/cni/net.d/10-local.conflist" <<'JSON'
{"cniVersion": "0.4.0", "name": "local", "plugins": [
  {"type": "ptp", "ipMasq": true, "mtu": 1500,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "10.244.0.0/24"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat >"$node/kind/manifests/default-cni.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: local-cni, namespace: kube-system}
data: {note: "The network plug-in is part of the node image. It enforces no NetworkPolicy."}
YAML
  cat >"$node/kind/manifests/default-storage.yaml" <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
YAML
}

# The node's own containerd writes its content store, so the versions always match. Not unpacked, as kind does it.
preload_images() {
  say "loading the images into the node's content store"
  local pid
  mkdir -p "$node/preload"
  mv "$images/images.tar" "$node/preload/"
  cat >"$node/preload/config.toml" <<'TOML'
version = 2
root = "/var/lib/containerd"
state = "/preload/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/preload/socket"
TOML
  chroot "$node" containerd -c /preload/config.toml >"$work/containerd.log" 2>&1 9>&- &
  pid=$!
  wait_for 20 chroot "$node" ctr -a /preload/socket version ||
    { kill "$pid"; tail -5 "$work/containerd.log" >&2; fail "the node's containerd did not start"; }
  chroot "$node" ctr -a /preload/socket -n k8s.io images import --all-platforms --no-unpack /preload/images.tar >/dev/null
  kill "$pid"
  wait "$pid" || true
  rm -rf "$node/preload"
}

make_node() {
  say "making $NODE_IMAGE"
  rm -rf "$node"/var/cache/apt/* "$node"/var/lib/apt/lists/* "$node"/usr/share/{doc,man,locale}/* "$node"/var/log/*
  install_kind_files
  install_kubernetes
  install_add_ons
  preload_images
  tar -C "$node" --numeric-owner -c . | docker import - spillway-e2e/node-rootfs:building >/dev/null
  # A Dockerfile, because old engines refuse STOPSIGNAL in `docker import --change`; the classic builder, because
  # nothing else is sure to be there.
  printf 'FROM %s\nENV container=docker\nSTOPSIGNAL SIGRTMIN+3\nENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]\n' \
    spillway-e2e/node-rootfs:building | DOCKER_BUILDKIT=0 docker build -q -t "$NODE_IMAGE" - >/dev/null 2>"$work/build.log" ||
    fail "docker build failed: see $work/build.log"
  docker rmi spillway-e2e/node-rootfs:building >/dev/null
}

exists() { docker image inspect "$NODE_IMAGE" >/dev/null 2>&1; }

if [[ -n ${KIND_NODE_IMAGE:-} ]]; then
  printf '%s\n' "$KIND_NODE_IMAGE"
  exit 0
fi
need docker
if [[ ${1:-} != --force ]] && exists; then
  printf '%s\n' "$NODE_IMAGE"
  exit 0
fi
[[ $(id -u) == 0 ]] || fail "only root can make a root file system: run as root once, or set KIND_NODE_IMAGE"
need debootstrap jq cc go tar
[[ -x $KUBERNETES_BIN/kubelet ]] || fail "no Kubernetes binaries in $KUBERNETES_BIN: run e2e/tools/kubernetes.sh"
lock node-image
if [[ ${1:-} == --force ]] || ! exists; then
  mkdir -p "$work"
  make_rootfs
  rm -rf "$node" "$images"
  mkdir "$node" "$images"
  tar -C "$node" -xf "$work/rootfs.tar"
  make_images
  make_node
  rm -rf "$node" "$images"
fi
printf '%s\n' "$NODE_IMAGE"
