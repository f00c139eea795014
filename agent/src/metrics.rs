//! The agent's Prometheus metrics; registered once in `main`, passed by clone.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

#[derive(Clone, Debug)]
pub struct Metrics {
    /// Unix seconds.
    pub credential_expires: IntGauge,
    pub heartbeat_seconds: Histogram,
    /// By task and result (`ok`, `error`).
    pub passes: IntCounterVec,
    pub gpus_offered: IntGauge,
    /// By state.
    pub assignments: IntGaugeVec,
}

impl Metrics {
    /// # Errors
    /// When a name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 13)?;
        let metrics = Self {
            credential_expires: IntGauge::new(
                "spillway_agent_credential_expires_seconds",
                "Unix time at which the token of the hub expires",
            )?,
            heartbeat_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "spillway_agent_heartbeat_seconds",
                    "Round trip of a heartbeat to the hub",
                )
                .buckets(buckets),
            )?,
            passes: IntCounterVec::new(
                Opts::new("spillway_agent_passes_total", "Passes of each task"),
                &["task", "result"],
            )?,
            gpus_offered: IntGauge::new("spillway_agent_gpus_offered", "GPUs in the inventory claim")?,
            assignments: IntGaugeVec::new(
                Opts::new("spillway_agent_assignments", "Assignments on the hub by state"),
                &["state"],
            )?,
        };
        registry.register(Box::new(metrics.credential_expires.clone()))?;
        registry.register(Box::new(metrics.heartbeat_seconds.clone()))?;
        registry.register(Box::new(metrics.passes.clone()))?;
        registry.register(Box::new(metrics.gpus_offered.clone()))?;
        registry.register(Box::new(metrics.assignments.clone()))?;
        Ok(metrics)
    }

    pub fn count_pass(&self, task: &str, succeeded: bool) {
        self.passes
            .with_label_values(&[task, if succeeded { "ok" } else { "error" }])
            .inc();
    }
}
