#!/usr/bin/env bash
# Proves with pods that the ground is whole: what runs where, and who reaches whom.
#
#   e2e/clusters/check.sh [NAME...]     clusters that reach the hub; default: provider-a provider-b
#
# In the hub: a new Service with two endpoints answers by name, and on NodePort 30901.
# From each other cluster's pods: the hub's API server (https://hub-control-plane:6443, certificate verified) and
# that NodePort (hub-control-plane:30901), both by name through cluster DNS. Leaves nothing behind.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
# shellcheck source=e2e/images/layer.sh
source "$here/../images/layer.sh"
help_asked "$@" && exit 0
names=("$@")
((${#names[@]})) || names=(provider-a provider-b)
image=spillway-e2e/reach:dev
space=reach-check
hub=${CLUSTER_PREFIX}hub-control-plane

kube() { kubectl --kubeconfig "$KUBECONFIG_DIR/$CLUSTER_PREFIX$1" "${@:2}"; }

reach_image() {
  local folder
  folder=$(mktemp -d)
  chmod 755 "$folder"
  stage_base "$folder"
  (cd "$here/reach" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$folder/usr/local/bin/reach" .)
  pack "$folder" "$image" 65532:65532 '["/usr/local/bin/reach"]' >/dev/null
  rm -r "$folder"
}

serve_on_hub() {
  kube hub apply -f - >/dev/null <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: reach, namespace: $space}
spec:
  replicas: 2
  selector: {matchLabels: {app: reach}}
  template:
    metadata: {labels: {app: reach}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: reach, image: $image, imagePullPolicy: Never, args: [serve, ":8080"]}
---
apiVersion: v1
kind: Service
metadata: {name: reach, namespace: $space}
spec:
  type: NodePort
  selector: {app: reach}
  ports: [{port: 80, targetPort: 8080, nodePort: 30901}]
YAML
  kube hub -n "$space" rollout status deployment/reach --timeout=60s >/dev/null
}

# ask CLUSTER POD URL [CA-FILE]: a pod that asks once; its log is the proof.
ask() {
  local cluster=$1 pod=$2
  kube "$cluster" apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $pod, namespace: $space}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes: [{name: hub, configMap: {name: hub-ca}}]
  containers:
  - name: ask
    image: $image
    imagePullPolicy: Never
    args: [get, "$3", "${4:-}"]
    volumeMounts: [{name: hub, mountPath: /hub}]
YAML
  kube "$cluster" -n "$space" wait --for=jsonpath='{.status.phase}'=Succeeded "pod/$pod" --timeout=30s >/dev/null 2>&1 ||
    fail "$cluster: $3 not reached: $(kube "$cluster" -n "$space" logs "$pod" 2>&1 | head -3)"
  say "$cluster: $3: $(kube "$cluster" -n "$space" logs "$pod" | head -1)"
}

prepare() {
  kube "$1" create namespace "$space" --dry-run=client -o yaml | kube "$1" apply -f - >/dev/null
  kube "$1" -n "$space" create configmap hub-ca --from-literal=ca.crt="$authority" --dry-run=client -o yaml |
    kube "$1" apply -f - >/dev/null
}

clean() {
  local name
  for name in hub "${names[@]}"; do kube "$name" delete namespace "$space" --ignore-not-found --wait=false >/dev/null 2>&1 || true; done
}

need docker kubectl kind go
reach_image
"$here/load.sh" "$image" -- hub "${names[@]}"
# The last run's namespaces go on their own time.
for name in hub "${names[@]}"; do kube "$name" wait --for=delete "namespace/$space" --timeout=60s >/dev/null; done
trap clean EXIT
authority=$(kube hub config view --raw --minify -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d)
for name in hub "${names[@]}"; do prepare "$name"; done
serve_on_hub
ask hub service-by-name "http://reach.$space.svc.cluster.local/"
for name in "${names[@]}"; do
  ask "$name" hub-api "https://$hub:6443/version" /hub/ca.crt
  ask "$name" hub-node-port "http://$hub:30901/"
done
say "the ground is whole"
