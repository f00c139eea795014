#!/usr/bin/env bash
# Installs Spillway on the standing clusters: store and chain, contract, hub chart, both providers joined.
#
#   e2e/demo/install.sh
#
# What stands and did not change is left alone. Needs: e2e/clusters/up.sh, make -C settlement/contracts install.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
# shellcheck source=e2e/demo/ground.sh
source "$here/ground.sh"
help_asked "$@" && exit 0
export KUBECONFIG=${KUBECONFIG:-$KUBECONFIG_MERGED}
export PATH=$CARGO_TARGET/$CARGO_TRIPLE/debug:$KUBERNETES_BIN:$PATH
need kubectl helm jq curl docker cargo
# Keys of this ground lie here.
mkdir -p "$DEMO/keys"
chmod 700 "$DEMO" "$DEMO/keys"

# image NAME: the reference under which a cluster has this content: the tag is the image's ID, so new content rolls pods.
image() {
  local id
  id=$(docker image inspect -f '{{.Id}}' "$1:dev")
  printf '%s:%s' "$1" "${id:7:12}"
}

images() {
  say "images"
  (cd "$REPOSITORY" && CARGO_TARGET_DIR=$CARGO_TARGET cargo build --quiet --workspace --bin engine --bin kubectl-spillway)
  ENGINE_BINARY=$CARGO_TARGET/$CARGO_TRIPLE/debug/engine "$here/../images/build.sh" >/dev/null
  local name
  for name in "${hub_images[@]}" "${provider_images[@]}"; do docker tag "$name:dev" "$(image "$name")"; done
}

hub_images=(spillway/operator spillway/scheduler-plugin spillway/settlement spillway/runner spillway/kube-scheduler spillway-e2e/s3 spillway-e2e/anvil)
provider_images=(spillway/agent spillway/runner spillway-e2e/device-plugin spillway-e2e/relay spillway-e2e/engine)

load() {
  local name hub_set=() provider_set=(spillway-e2e/engine:dev)
  for name in "${hub_images[@]}"; do hub_set+=("$(image "$name")"); done
  for name in "${provider_images[@]}"; do provider_set+=("$(image "$name")"); done
  "$here/../clusters/load.sh" "${hub_set[@]}" spillway-e2e/s3:dev spillway-e2e/anvil:dev -- hub
  "$here/../clusters/load.sh" "${provider_set[@]}" -- "${PROVIDERS[@]}"
}

# key NAME: a fresh key pair for this ground, made once.
key() {
  [[ -f $DEMO/keys/$1.json ]] || cast wallet new --json | jq '.[0]' >"$DEMO/keys/$1.json"
  jq -rj .private_key "$DEMO/keys/$1.json" >"$DEMO/keys/$1"
}

services() {
  say "store and chain"
  local node=${CLUSTER_PREFIX}hub-control-plane
  docker exec "$node" mkdir -p -m 1777 /var/lib/spillway-e2e/store /var/lib/spillway-e2e/chain
  hub create namespace spillway-e2e --dry-run=client -o yaml | hub apply -f - >/dev/null
  if ! hub -n spillway-e2e get secret store >/dev/null 2>&1; then
    hub -n spillway-e2e create secret generic store --from-literal=AWS_ACCESS_KEY_ID=spillway \
      --from-file=AWS_SECRET_ACCESS_KEY=<(openssl rand -hex 16 | tr -d '\n') >/dev/null
  fi
  hub apply -f "$here/hub-services.yaml" >/dev/null
  hub -n spillway-e2e rollout status deployment/store deployment/chain --timeout=120s >/dev/null || services_failed
  printf 'user = "spillway:%s"\n' "$(store_secret)" >"$DEMO/store.curl"
  until_true 30 "the store's port" curl --silent "$STORE_LOCAL"
  until_true 30 "the chain's port" chain_answers
  local bucket
  for bucket in spillway tenant; do
    store HEAD "$bucket" --head >/dev/null 2>&1 || store PUT "$bucket" >/dev/null
  done
}

services_failed() {
  hub -n spillway-e2e get pods >&2 || true
  hub -n spillway-e2e logs --selector 'app in (store, chain)' --prefix --tail=5 >&2 || true
  fail "store or chain did not come up within 120 s: see above"
}

store_secret() { hub -n spillway-e2e get secret store -o jsonpath='{.data.AWS_SECRET_ACCESS_KEY}' | base64 -d; }

# coins NAME: 100 of the chain's.
coins() { cast rpc --rpc-url "$CHAIN_LOCAL" anvil_setBalance "$(key_address "$1")" 0x56bc75e2d63100000 >/dev/null; }

contract() {
  local name contract_code=0x
  for name in owner payer poster order orders provider-a provider-b; do key "$name"; done
  if [[ -f $DEMO/chain.json ]]; then contract_code=$(cast code "$(chain contract)" --rpc-url "$CHAIN_LOCAL"); fi
  if [[ $contract_code != 0x ]]; then return; fi
  say "contract"
  for name in owner payer poster; do coins "$name"; done
  spillway-settlement deploy-dev --rpc-url "$CHAIN_LOCAL" --chain-id "$CHAIN_ID" --owner-key-file "$DEMO/keys/owner" \
    --payer-key-file "$DEMO/keys/payer" --poster "$(key_address poster)" --order-key "$(key_address order)" \
    --deposit 1000 --cap-per-day 100 --window 10 >"$DEMO/chain.new"
  mv "$DEMO/chain.new" "$DEMO/chain.json"
  contract_fingerprint >"$DEMO/contract.sha256"
}

# secret NAMESPACE NAME OPTION…: made or brought up to date.
secret() {
  local namespace=$1 name=$2; shift 2
  hub -n "$namespace" create secret generic "$name" "$@" --dry-run=client -o yaml | hub apply -f - >/dev/null
}

hub_chart() {
  say "hub chart"
  local namespace
  for namespace in "$SYSTEM" "$TENANT"; do
    hub create namespace "$namespace" --dry-run=client -o yaml | hub apply -f - >/dev/null
  done
  store_secret >"$DEMO/keys/store"
  secret "$SYSTEM" spillway-store --from-literal=AWS_ACCESS_KEY_ID=spillway --from-file=AWS_SECRET_ACCESS_KEY="$DEMO/keys/store"
  secret "$SYSTEM" spillway-settlement-key --from-file=key="$DEMO/keys/poster"
  secret "$SYSTEM" spillway-orders-key --from-file=key="$DEMO/keys/orders"
  coins orders
  secret "$SYSTEM" demo-order-key --from-file=key="$DEMO/keys/order"
  secret "$TENANT" store --from-literal=AWS_ACCESS_KEY_ID=spillway --from-file=AWS_SECRET_ACCESS_KEY="$DEMO/keys/store" \
    --from-literal=AWS_ENDPOINT_URL="$STORE_INSIDE" --from-literal=AWS_REGION=us-east-1
  hub apply -f "$REPOSITORY/charts/spillway/crds" --server-side --force-conflicts >/dev/null
  helm --kube-context "$HUB" upgrade --install spillway "$REPOSITORY/charts/spillway" --namespace "$SYSTEM" --skip-crds \
    --set-string "operator.image=$(image spillway/operator),runner.image=$(image spillway/runner)" \
    --set-string "settlement.image=$(image spillway/settlement),scheduler.image=$(image spillway/kube-scheduler)" \
    --set-string "scheduler.plugin.image=$(image spillway/scheduler-plugin)" \
    --set-string "store.url=s3://spillway,store.endpoint=$STORE_INSIDE,store.credentialsSecret=spillway-store" \
    --set "store.allowHttp=true,chain.id=$CHAIN_ID" --set-string "chain.contract=$(chain contract)" \
    --set-string "settlement.rpcUrls={$CHAIN_INSIDE},settlement.signer.insecureDevKeySecret=spillway-settlement-key" \
    --set-string "settlement.orders.insecureDevKeySecret=spillway-orders-key" \
    --set-string "hub.server=https://${CLUSTER_PREFIX}hub-control-plane:6443,hub.providerChart=$REPOSITORY/charts/spillway-provider" \
    --wait --timeout 180s >/dev/null
  sed -e "s/PAYER/$(key_address payer)/" -e "s/ORDER_KEY/$(key_address order)/" "$here/spend-policy.yaml" | hub apply -f - >/dev/null
}

# far NAME DELAY: its pods reach the hub by a relay that keeps every byte for DELAY, each way.
far() {
  local name=$1 delay=$2 hub_name=${CLUSTER_PREFIX}hub-control-plane address old new
  on "$name" create namespace spillway-e2e --dry-run=client -o yaml | on "$name" apply -f - >/dev/null
  sed -e "s#IMAGE#$(image spillway-e2e/relay)#" -e "s/HUB/$hub_name/g" -e "s/DELAY/$delay/" "$here/far-hub.yaml" |
    on "$name" apply -f - >/dev/null
  on "$name" -n spillway-e2e rollout status deployment/far-hub --timeout=120s >/dev/null
  address=$(on "$name" -n spillway-e2e get service far-hub -o jsonpath='{.spec.clusterIP}')
  old=$(on "$name" -n kube-system get configmap coredns -o jsonpath='{.data.Corefile}')
  new=$(sed -e '/^ *hosts {/,/^ *}/d' \
    -e "s/^\( *\)ready\$/&\n\1hosts {\n\1    $address $hub_name\n\1    fallthrough\n\1}/" <<<"$old")
  [[ $new != "$old" ]] || return 0
  say "$name moves $delay away from the hub"
  on "$name" -n kube-system create configmap coredns --from-literal=Corefile="$new" --dry-run=client -o yaml |
    on "$name" apply --server-side --force-conflicts -f - >/dev/null
  on "$name" -n kube-system rollout restart deployment/coredns >/dev/null
  on "$name" -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null
  # An agent that runs already keeps its connection.
  on "$name" -n spillway delete pods -l app.kubernetes.io/component=agent --ignore-not-found >/dev/null
}

# A RuntimeClass of its own, which for the test ground is the nodes' usual runtime under another name.
runtime_class() {
  printf '{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: %s}, handler: runc}\n' "$2" |
    on "$1" apply -f - >/dev/null
}

# provider NAME CLASS ISOLATION PRICE SIMULATOR-ARGUMENT…: joined by the very command that join-token prints, with the
# test ground's images.
provider() {
  local name=$1 class=$2 isolation=$3 price=$4 values=$DEMO/$1.values.yaml gpus command
  shift 4
  gpus=$(jq -cn '$ARGS.positional' --args -- "$@")
  cat >"$values" <<VALUES
agent: {image: "$(image spillway/agent)"}
runner: {image: "$(image spillway/runner)"}
devicePlugin: {image: "$(image spillway-e2e/device-plugin)", args: $gpus}
gpuFeatureDiscovery: {image: "$(image spillway-e2e/device-plugin)", args: $gpus}
VALUES
  if [[ $isolation != Standard ]]; then
    runtime_class "$name" "${isolation,,}"
    printf 'isolation: {runtimeClassName: %s, tier: %s}\n' "${isolation,,}" "$isolation" >>"$values"
  fi
  if joined "$name" "$class" "$isolation"; then
    helm --kube-context "kind-$CLUSTER_PREFIX$name" -n spillway upgrade spillway-provider \
      "$REPOSITORY/charts/spillway-provider" --reset-then-reuse-values --values "$values" --wait --timeout 180s >/dev/null
    return
  fi
  leave "$name"
  say "$name joins"
  command=$(kubectl-spillway --context "$HUB" join-token "$name" --payout "$(key_address "$name")" --class "$class" \
    --isolation "$isolation" --region eu --price "$price" 2>/dev/null)
  # shellcheck disable=SC2086  # the command is words
  command $command --kube-context "kind-$CLUSTER_PREFIX$name" --values "$values" --wait --timeout 180s >/dev/null
}

# joined NAME CLASS ISOLATION: both sides know each other, and it joined as what is wanted.
joined() {
  local facts='{.spec.class} {.spec.isolation} {.status.joinedAt}' isolation=$3
  # The API leaves the usual tier out.
  [[ $isolation != Standard ]] || isolation=
  helm --kube-context "kind-$CLUSTER_PREFIX$1" -n spillway status spillway-provider >/dev/null 2>&1 &&
    [[ $(hub get gpuprovider "$1" -o jsonpath="$facts" 2>/dev/null) == "$2 $isolation "?* ]]
}

# Whatever a half or another join left.
leave() {
  hub delete gpuprovider "$1" --ignore-not-found --timeout=120s >/dev/null
  helm --kube-context "kind-$CLUSTER_PREFIX$1" -n spillway uninstall spillway-provider --ignore-not-found --wait >/dev/null
  on "$1" delete namespace spillway --ignore-not-found --timeout=120s >/dev/null
}

ready() {
  say "waiting for both providers to offer their GPUs"
  local name
  for name in "${PROVIDERS[@]}"; do hub wait "gpuprovider/$name" --for=condition=Ready --timeout=180s >/dev/null; done
  hub wait gpuprovider/provider-a --for=jsonpath='{.status.gpus}'=3 --timeout=180s >/dev/null
}

images
load
services
contract
hub_chart
# The company's own GPUs, two models, cheap and far away; and an independent owner's nearby, who keeps work apart.
far provider-a 100ms
provider provider-a Private Standard 0.90 --count=2 --product=NVIDIA-L4 \
  "--host=${CLUSTER_PREFIX}provider-a-worker:count=1,product=NVIDIA-L40S,memory-mib=46068"
provider provider-b Decentralized Sandboxed 1.10 --count=2 --product=NVIDIA-L4
ready
say "installed; export KUBECONFIG=$KUBECONFIG"
