//! Counters of the poster.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use spillway_crds::Settlement;

use super::state;
use crate::advance::Step;

#[derive(Clone, Debug)]
pub struct Metrics {
    passes: IntCounterVec,
    steps: IntCounterVec,
    settlements: IntGaugeVec,
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
        };
        registry.register(Box::new(metrics.passes.clone()))?;
        registry.register(Box::new(metrics.steps.clone()))?;
        registry.register(Box::new(metrics.settlements.clone()))?;
        Ok(metrics)
    }

    pub(super) fn passed(&self) {
        self.passes.with_label_values(&["ok"]).inc();
    }

    pub(super) fn failed(&self) {
        self.passes.with_label_values(&["failed"]).inc();
    }

    pub(super) fn step(&self, step: &Step) {
        let name = match step {
            Step::Wait => "wait",
            Step::Record(_) => "record",
            Step::Sign(_) => "sign",
            Step::Send(_) => "send",
        };
        self.steps.with_label_values(&[name]).inc();
    }

    pub(super) fn count(&self, settlements: &[Settlement]) {
        self.settlements.reset();
        for settlement in settlements {
            let state = format!("{:?}", state(settlement));
            self.settlements.with_label_values(&[state.as_str()]).inc();
        }
    }
}
