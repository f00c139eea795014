#!/usr/bin/env bash
# Checks the charts without a cluster: lint, rendered objects against golden files, refusals, drift of the definitions.
#
#   charts/check.sh             what CI runs; needs helm
#   charts/check.sh --update    writes the golden files and the charts' copy of the definitions anew; look at the diff
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
declare -A namespaces=([spillway]=spillway-system [spillway-provider]=spillway)
failures=0

wrong() {
  echo "charts: $*" >&2
  failures=$((failures + 1))
}

render() { helm template "$1" "$1" --namespace "${namespaces[$1]}" --values "golden/$1.values.yaml" "${@:2}"; }

update() {
  cp ../crds/*.yaml spillway/crds/
  local chart
  for chart in "${!namespaces[@]}"; do render "$chart" >"golden/$chart.yaml"; done
}

check_golden() {
  render "$1" | diff -u "golden/$1.yaml" - || wrong "$1 renders something else: charts/check.sh --update, and look at the diff"
  helm lint --strict --quiet "$1" --namespace "${namespaces[$1]}" --values "golden/$1.values.yaml" || wrong "$1: lint"
}

# refuses CHART WORDS VALUE...: rendering with these values fails and says these words.
refuses() {
  local chart=$1 words=$2 output
  shift 2
  if output=$(render "$chart" "$@" 2>&1); then
    wrong "$chart takes $*"
  elif [[ $output != *"$words"* ]]; then
    wrong "$chart refuses $* without '$words': $output"
  fi
}

case ${1:-} in
  --update) update; exit 0 ;;
  '') ;;
  *) sed -n '2,5p' "${BASH_SOURCE[0]}" | cut -c3-; [[ $1 == --help ]]; exit ;;
esac
command -v helm >/dev/null || { echo "charts: no helm in PATH: e2e/tools/kubernetes.sh builds one" >&2; exit 1; }

diff -ru --exclude='*.rs' --exclude=src --exclude=tests --exclude=Cargo.toml ../crds spillway/crds ||
  wrong "spillway/crds differs from crds/: charts/check.sh --update"
for chart in "${!namespaces[@]}"; do check_golden "$chart"; done

refuses spillway-provider join.bundle --set-string join.bundle=
refuses spillway-provider 'set one of them' --set join.existingSecret=other
refuses spillway-provider /price --set-string price=cheap
refuses spillway-provider /isolation/tier --set isolation.tier=Standard
refuses spillway-provider /elastic/0 --set elastic[0].name=burst --set elastic[0].maxHosts=0
refuses spillway-provider "'prise' not allowed" --set-string prise=1.20
refuses spillway-provider claimer.payout --set-string claimer.payout=
refuses spillway-provider /claimer/coinPrice --set-string claimer.coinPrice=cheap
refuses spillway-provider /probe/address --set-string probe.address=8090
refuses spillway /probeTargets/0/location --set 'probeTargets[0].location=hub,probeTargets[0].address=probe.example.org:443'
refuses spillway /probeTargets/0/address --set 'probeTargets[0].location=paris,probeTargets[0].address=probe.example.org'
refuses spillway store.url --set store.url=
refuses spillway /store/url --set store.url=https://bucket
refuses spillway chain.id --set chain.id=0
refuses spillway /chain/contract --set-string chain.contract=0x12
refuses spillway settlement.rpcUrls --set settlement.rpcUrls=null
refuses spillway 'exclude each other' --set settlement.signer.keystoreSecret=other
refuses spillway 'exclude each other' --set settlement.signer.awsKmsKey=other
refuses spillway settlement.signer --set settlement.signer.insecureDevKeySecret=
refuses spillway 'settlement.orders: keystoreSecret' --set settlement.orders.keystoreSecret=other
refuses spillway 'settlement.collector: keystoreSecret' --set settlement.collector.keystoreSecret=other
refuses spillway 'settlement.collector: name' --set settlement.collector.insecureDevKeySecret=
refuses spillway 'settlement.collector: there is nothing' --set chain.mode=Ledger
refuses spillway /chain/mode --set chain.mode=root
refuses spillway /settlement/orders/every --set settlement.orders.every=often
refuses spillway /settlement/signer/gcpKmsKey --set settlement.signer.gcpKmsKey=key
refuses spillway /settlement/genesisHash --set settlement.genesisHash=0x12
refuses spillway /defaultDataClass --set defaultDataClass=Secret
refuses spillway "'operater' not allowed" --set operater.replicas=2
refuses spillway spillway-system --namespace elsewhere

((failures == 0)) || exit 1
echo "charts: lint, golden files, refusals and definitions agree"
