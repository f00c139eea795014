#!/usr/bin/env bash
# Compiles the contracts and writes ABI and bytecode to abi/; with --check it only compares, and fails on drift.
set -euo pipefail
cd "$(dirname "$0")"

contracts=(SpillwaySettlement SpillwayStake SpillwayDisputes SpillwaySums SpillwaySigners SpillwayFormats TestToken)
export FOUNDRY_PROFILE=build
out="${FOUNDRY_OUT:-out-ir}"

case "${1:-}" in
  "") target=abi ;;
  --check) target=$(mktemp -d); trap 'rm -rf "$target"' EXIT ;;
  *) echo "usage: build.sh [--check]" >&2; exit 2 ;;
esac

# Fails too when a contract is larger than EIP-170 allows.
node_modules/.bin/forge build --quiet --sizes src > /dev/null
mkdir -p "$target"
# OpenZeppelin's, unchanged: it administers the settlement contract.
contracts+=(AccessManager)
for contract in "${contracts[@]}"; do
  node bin/artifact.js "$out/$contract.sol/$contract.json" > "$target/$contract.json"
done

if [ "$target" != abi ] && ! diff -rq abi "$target"; then
  echo "abi/ differs from what src/ compiles to: run 'make build' and commit abi/" >&2
  exit 1
fi
