//! Counters of the poster.

use std::collections::BTreeMap;

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use spillway_core::knowledge::Knowledge;

use crate::advance::{Entry, Step};
use crate::chain::ChainView;

const WEI_PER_COIN: f64 = 1e18;

#[derive(Clone, Debug)]
pub struct Metrics {
    passes: IntCounterVec,
    steps: IntCounterVec,
    settlements: IntGaugeVec,
    foreign: IntCounter,
    missing: IntGauge,
    balance: Gauge,
    head: IntGauge,
    head_time: IntGauge,
    nonce: IntGauge,
}

impl Metrics {
    /// # Errors
    /// When a name is registered twice.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, label| IntCounterVec::new(Opts::new(name, help), &[label]);
        let metrics = Self {
            passes: counter(
                "spillway_settlement_passes_total",
                "Passes over all Settlements",
                "outcome",
            )?,
            steps: counter("spillway_settlement_steps_total", "Steps taken", "step")?,
            settlements: IntGaugeVec::new(
                Opts::new("spillway_settlement_settlements", "Settlements by state"),
                &["state"],
            )?,
            foreign: IntCounter::new(
                "spillway_settlement_foreign_transactions_total",
                "Passes that found a nonce of the key used by a transaction that no log names",
            )?,
            missing: IntGauge::new(
                "spillway_settlement_missing",
                "Batches that the contract holds and no Settlement names: deleted, or an old backup",
            )?,
            balance: Gauge::new("spillway_settlement_balance_coins", "Coins of the poster's account")?,
            head: IntGauge::new(
                "spillway_settlement_head_block",
                "Highest block that most endpoints have",
            )?,
            head_time: IntGauge::new("spillway_settlement_head_timestamp_seconds", "Time of that block")?,
            nonce: IntGauge::new(
                "spillway_settlement_nonce",
                "Mined transactions of the poster's account",
            )?,
        };
        registry.register(Box::new(metrics.passes.clone()))?;
        registry.register(Box::new(metrics.steps.clone()))?;
        registry.register(Box::new(metrics.settlements.clone()))?;
        registry.register(Box::new(metrics.foreign.clone()))?;
        registry.register(Box::new(metrics.missing.clone()))?;
        registry.register(Box::new(metrics.balance.clone()))?;
        registry.register(Box::new(metrics.head.clone()))?;
        registry.register(Box::new(metrics.head_time.clone()))?;
        registry.register(Box::new(metrics.nonce.clone()))?;
        Ok(metrics)
    }

    pub(super) fn passed(&self) {
        self.passes.with_label_values(&["ok"]).inc();
    }

    pub(super) fn failed(&self) {
        self.passes.with_label_values(&["failed"]).inc();
    }

    pub(super) fn foreign_transaction(&self) {
        self.foreign.inc();
    }

    pub(super) fn step(&self, step: &Step, view: &ChainView) {
        let name = match step {
            Step::Wait => "wait",
            Step::Record(_) => "record",
            Step::Sign(_) => "sign",
            Step::Send(_) => "send",
        };
        self.steps.with_label_values(&[name]).inc();
        if let Knowledge::Known(head) = view.head {
            self.head.set(i64::try_from(head.number).unwrap_or(i64::MAX));
            self.head_time.set(i64::try_from(head.timestamp).unwrap_or(i64::MAX));
        }
        if let Knowledge::Known(nonce) = view.nonce {
            self.nonce.set(i64::try_from(nonce).unwrap_or(i64::MAX));
        }
        self.balance(view.balance);
    }

    pub(super) fn balance(&self, wei: Knowledge<u128>) {
        if let Knowledge::Known(wei) = wei {
            #[allow(clippy::cast_precision_loss, reason = "a gauge")]
            self.balance.set(wei as f64 / WEI_PER_COIN);
        }
    }

    /// `next` is the sequence that the contract expects, where it was asked.
    pub(super) fn missing(&self, next: Knowledge<u64>, settlements: &BTreeMap<u64, Entry>) -> u64 {
        let Knowledge::Known(next) = next else { return 0 };
        let known = u64::try_from(settlements.range(..next).count()).unwrap_or(u64::MAX);
        let missing = next.saturating_sub(1).saturating_sub(known);
        self.missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
        missing
    }

    pub(super) fn count(&self, settlements: &BTreeMap<u64, Entry>) {
        self.settlements.reset();
        for entry in settlements.values() {
            let state = format!("{:?}", entry.state);
            self.settlements.with_label_values(&[state.as_str()]).inc();
        }
    }
}
