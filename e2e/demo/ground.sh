# shellcheck shell=bash
# Names and paths of the demo, sourced by its scripts. In: e2e/tools/ground.sh. Out: variables and functions below.

# shellcheck disable=SC2034  # read by the scripts that source this file
{
  DEMO=$GROUND/demo
  HUB=kind-${CLUSTER_PREFIX}hub
  PROVIDERS=(provider-a provider-b)
  SYSTEM=spillway-system
  TENANT=team-a
  STORE_LOCAL=http://127.0.0.1:${SPILLWAY_S3_PORT:-30900}
  STORE_INSIDE=http://${CLUSTER_PREFIX}hub-control-plane:30900
  CHAIN_LOCAL=http://127.0.0.1:${SPILLWAY_CHAIN_PORT:-30545}
  CHAIN_INSIDE=http://${CLUSTER_PREFIX}hub-control-plane:30545
  CHAIN_ID=31337
  # On the hub's node.
  CHAIN_FILE=/var/lib/spillway-e2e/chain/state.json
  FOUNDRY=$REPOSITORY/settlement/contracts/node_modules/.bin
}

hub() { kubectl --context "$HUB" "$@"; }
on() { local cluster=$1; shift; kubectl --context "kind-$CLUSTER_PREFIX$cluster" "$@"; }

# until_true SECONDS WHAT COMMAND…: asks again until the command succeeds.
until_true() {
  local limit=$1 what=$2 end; shift 2
  end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "waited $limit s in vain for: $what"
    sleep 0.5
  done
}

cast() { "$FOUNDRY/cast" "$@"; }
chain() { jq -r ".$1" "$DEMO/chain.json"; }
chain_answers() { cast block-number --rpc-url "$CHAIN_LOCAL" >/dev/null 2>&1; }
key_address() { jq -r .address "$DEMO/keys/$1.json"; }

# store METHOD PATH [CURL OPTION…]: one signed request to the S3 store from this machine.
store() {
  local method=$1 path=$2; shift 2
  curl --silent --show-error --fail --request "$method" --aws-sigv4 aws:amz:us-east-1:s3 \
    --header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --config "$DEMO/store.curl" "$@" "$STORE_LOCAL/$path"
}

# What the contract compiles to in this tree.
contract_fingerprint() { sha256sum <"$REPOSITORY/settlement/contracts/abi/SpillwaySettlement.json" | cut -d' ' -f1; }
