# The commands of the project. Caches lie in $(SPILLWAY_CACHE), outside the clone.
# Builds name the whole workspace: a choice of packages would resolve other features and compile the dependencies anew.
SHELL := /bin/bash
export SPILLWAY_CACHE ?= $(HOME)/.cache/spillway
export CARGO_TARGET_DIR ?= $(SPILLWAY_CACHE)/target
export KUBECONFIG ?= $(SPILLWAY_CACHE)/e2e/kubeconfig
KUBERNETES := $(SPILLWAY_CACHE)/kubernetes/v1.36.3
export KUBEBUILDER_ASSETS ?= $(KUBERNETES)
RELEASE := $(CARGO_TARGET_DIR)/x86_64-unknown-linux-musl/release
# kubectl, helm, kind and the kubectl-spillway plugin for the recipes below.
export PATH := $(CARGO_TARGET_DIR)/x86_64-unknown-linux-musl/debug:$(KUBERNETES):$(PATH)

.PHONY: help tools lint test test-rust test-faults test-contracts test-go test-reference e2e demo demo-down crds clusters bench-receipts bench-extender bench-placement bench-settlement

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

tools: ## Install or build what the host lacks; the first time builds Kubernetes
	e2e/tools/install.sh
	e2e/tools/kubernetes.sh

lint: tools ## Format, clippy, shellcheck, charts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	for module in device-plugin relay bench/extender-go; do (cd e2e/$$module && test -z "$$(gofmt -l .)" && go vet ./...) || exit 1; done
	charts/check.sh
	shellcheck -x -P SCRIPTDIR .ci/run $$(git ls-files '*.sh')
	@# grep -q ends at its match, the command before it by a broken pipe, and pipefail says "no match".
	! git grep -nE '\| *grep +-[a-zA-Z]*q' -- '*.sh' .ci/run

test: lint test-rust test-faults test-contracts test-go test-reference ## Unit, property, integration (real kube-apiserver) and contract tests

test-rust: tools settlement/contracts/node_modules
	SPILLWAY_MODEL_DIR=$$(e2e/engine/weights.sh) cargo test --workspace --exclude spillway-e2e-scenarios --exclude spillway-e2e-faults

test-faults: tools settlement/contracts/node_modules ## The settlement process under faults: the 27 rows, on a real API server and a real anvil
	cargo test --workspace --test faults

test-contracts: settlement/contracts/node_modules ## Contract tests, their coverage, static analysis, drift of ABI and bytecode
	$(MAKE) -C settlement/contracts test check coverage slither

settlement/contracts/node_modules: settlement/contracts/package-lock.json
	$(MAKE) -C settlement/contracts install
	touch $@

test-go: ## The device-plugin simulator and the relay of the test ground
	cd e2e/device-plugin && go test ./...
	cd e2e/relay && go test ./...

test-reference: ## Recompute 20 of the 200 golden vectors with the numpy reference
	e2e/engine/reference/python.sh verify.py --recompute 20 "$$(e2e/engine/weights.sh)"

clusters: tools ## Three kind clusters: hub, provider-a, provider-b
	e2e/demo/renew.sh
	e2e/clusters/up.sh

bench-extender: tools ## The extender beside a Go one: p50, p99 and memory at 16, 64 and 5,000 names
	cargo build --release --quiet --workspace --bin spillway-scheduler-plugin --bin spillway-e2e-bench-extender
	cd e2e/bench/extender-go && go build -o $(SPILLWAY_CACHE)/bench/extender-go .
	$(RELEASE)/spillway-e2e-bench-extender --extender $(RELEASE)/spillway-scheduler-plugin \
	  --go-extender $(SPILLWAY_CACHE)/bench/extender-go

e2e: clusters settlement/contracts/node_modules ## End-to-end tests on kind
	e2e/demo/install.sh
	cargo test --workspace --test kind -- --test-threads=1

demo: clusters settlement/contracts/node_modules ## 200 texts from kubectl apply to a settled invoice
	e2e/demo/install.sh
	e2e/demo/demo.sh

demo-down: ## Remove the clusters of the demo
	e2e/clusters/down.sh

bench-receipts: tools settlement/contracts/node_modules ## 100,000 receipts from accepted to final on anvil; RECEIPTS=N for fewer
	cargo build --release --quiet --workspace --bin spillway-bench-receipts
	$(RELEASE)/spillway-bench-receipts

bench-settlement: settlement/contracts/node_modules ## Gas per job in both modes, beside one transaction per job and a Merkle drop
	@$(MAKE) --no-print-directory -C settlement/contracts bench

bench-placement: tools ## Pods placed per second beside the stock scheduler, and the price beside the cheapest possible
	cargo build --release --quiet --workspace --bin spillway-scheduler-plugin --bin spillway-bench-placement
	$(RELEASE)/spillway-bench-placement

crds: ## Write crds/*.yaml from the Rust types, and the chart's copy
	cargo run --quiet -p spillway-crds --bin generate crds
	charts/check.sh --update
