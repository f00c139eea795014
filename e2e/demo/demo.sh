#!/usr/bin/env bash
# 200 real texts from `kubectl apply` to a settled invoice, on the standing clusters; ends with a summary.
#
#   e2e/demo/demo.sh
#
# Needs e2e/demo/install.sh. The last line is vectors=… min_cosine=… paid_micro=… claimed_micro=… chain_diff_micro=…
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/tools/ground.sh
source "$here/../tools/ground.sh"
# shellcheck source=e2e/demo/ground.sh
source "$here/ground.sh"
help_asked "$@" && exit 0
export KUBECONFIG=${KUBECONFIG:-$KUBECONFIG_MERGED}
export PATH=$CARGO_TARGET/$CARGO_TRIPLE/debug:$KUBERNETES_BIN:$PATH
need kubectl jq curl
job=embed-reviews
results=$DEMO/results.jsonl

balance() { cast call "$(chain token)" 'balanceOf(address)(uint256)' "$1" --rpc-url "$CHAIN_LOCAL" | cut -d' ' -f1; }
# account ADDRESS FIELD: a field of the contract's balances(address), in its order.
account() {
  cast call "$(chain contract)" 'balances(address)(uint128,uint128,uint128,uint128,uint128,uint64)' "$1" \
    --rpc-url "$CHAIN_LOCAL" | sed -n "$2p" | cut -d' ' -f1
}
deposit() { account "$(key_address payer)" 1; }

apply() {
  hub -n "$TENANT" delete "inferencejob/$job" --ignore-not-found --timeout=120s >/dev/null
  store PUT tenant/in/texts.jsonl --upload-file "$REPOSITORY/e2e/engine/reference/texts.jsonl"
  say "kubectl apply -f e2e/demo/job.yaml"
  hub apply -f "$here/job.yaml" >/dev/null
}

# Shows progress while it waits for CONDITION.
await() {
  local condition=$1 limit=$2 end last='' now
  end=$((SECONDS + limit))
  until hub -n "$TENANT" wait "inferencejob/$job" --for="condition=$condition" --timeout=2s >/dev/null 2>&1; do
    now=$(hub -n "$TENANT" get "inferencejob/$job" -o jsonpath='{.status.phase}: {.status.summary.accepted}/{.status.summary.total} shards accepted')
    [[ $now == "$last" ]] || say "$now"
    last=$now
    ((SECONDS < end)) || { kubectl-spillway --context "$HUB" -n "$TENANT" status "$job"; fail "not $condition after $limit s"; }
  done
  say "$condition"
}

# claim NAME: what has matured of a provider, paid to it by anyone's transaction.
claim() {
  spillway-settlement claim --rpc-url "$CHAIN_LOCAL" --chain-id "$CHAIN_ID" --contract "$(chain contract)" \
    --provider "$(key_address "$1")" --insecure-dev-key-file "$DEMO/keys/owner" >/dev/null
}

matured() { (($(account "$(key_address "$1")" 2) == 0)); }

say "before: payer's deposit $(deposit), provider-a $(balance "$(key_address provider-a)"), provider-b $(balance "$(key_address provider-b)") micro-USD"
# What earlier runs left is claimed first, so that this run's balances stand alone.
for name in "${PROVIDERS[@]}"; do until_true 60 "earlier credits of $name" matured "$name"; claim "$name"; done
deposit_before=$(deposit)
a_before=$(balance "$(key_address provider-a)")
b_before=$(balance "$(key_address provider-b)")
apply
await Complete 300
await Settled 180
store GET tenant/out/embed-reviews/results.jsonl --output "$results"
for name in "${PROVIDERS[@]}"; do until_true 60 "credits of $name to mature" matured "$name"; claim "$name"; done
deposit_after=$(deposit)
a_after=$(balance "$(key_address provider-a)")
b_after=$(balance "$(key_address provider-b)")

printf '\nPlacements\n'
kubectl-spillway --context "$HUB" -n "$TENANT" status "$job"
printf '\n'
kubectl-spillway --context "$HUB" -n "$TENANT" invoice "$job"
printf '\nChecked against the chain\n'
kubectl-spillway --context "$HUB" -n "$TENANT" verify "$job" --rpc-url "$CHAIN_LOCAL" | tail -1
hub -n "$SYSTEM" get settlements -o wide
printf '\nBalances, micro-USD     before      after\n'
printf '%-18s %12s %12s\n' "payer's deposit" "$deposit_before" "$deposit_after" provider-a "$a_before" "$a_after" provider-b "$b_before" "$b_after"
printf '\nResults: s3://tenant/out/%s/results.jsonl, copied to %s\n\n' "$job" "$results"

invoiced=$(kubectl-spillway --context "$HUB" -n "$TENANT" invoice "$job" -o json | jq .totals.totalMicro)
paid=$((deposit_before - deposit_after))
claimed=$((a_after - a_before + b_after - b_before))
vectors=$(compare-vectors "$results" "$REPOSITORY/e2e/engine/reference")
difference=$((paid - claimed))
printf '%s paid_micro=%s claimed_micro=%s chain_diff_micro=%s\n' "$vectors" "$paid" "$claimed" "$difference"
if ((difference != 0 || paid != invoiced)); then fail "the chain does not add up: invoice $invoiced, paid $paid, claimed $claimed"; fi
