//! What the last comparison found, for Prometheus.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use spillway_core::reconcile::{Drift, Report};

#[derive(Clone, Debug)]
pub struct Metrics {
    drifts: IntGaugeVec,
    unknown: IntGauge,
    complete: IntGauge,
}

impl Metrics {
    /// # Errors
    /// When a name is registered twice.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let drifts = IntGaugeVec::new(
            Opts::new(
                "spillway_settlement_drifts",
                "Disagreements between chain, Settlements and accepted receipts",
            ),
            &["drift"],
        )?;
        let unknown = IntGauge::new(
            "spillway_settlement_reconcile_unknown",
            "Ledgers that the last comparison could not read",
        )?;
        let complete = IntGauge::new(
            "spillway_settlement_reconciled_timestamp_seconds",
            "When all ledgers were last compared, Unix seconds",
        )?;
        registry.register(Box::new(drifts.clone()))?;
        registry.register(Box::new(unknown.clone()))?;
        registry.register(Box::new(complete.clone()))?;
        Ok(Self {
            drifts,
            unknown,
            complete,
        })
    }

    /// A ledger that could not be read leaves the counts of drifts at least as they were found.
    pub(super) fn show(&self, report: &Report, now: Timestamp) {
        let mut counts: BTreeMap<&str, i64> = Drift::names().map(|name| (name, 0)).collect();
        for drift in &report.drifts {
            *counts.entry(drift.meaning().name).or_default() += 1;
        }
        let is_complete = report.unknown.is_empty();
        for (name, count) in counts {
            let gauge = self.drifts.with_label_values(&[name]);
            if is_complete || count > gauge.get() {
                gauge.set(count);
            }
        }
        self.unknown
            .set(i64::try_from(report.unknown.len()).unwrap_or(i64::MAX));
        if is_complete {
            self.complete.set(now.as_second());
        }
    }
}
