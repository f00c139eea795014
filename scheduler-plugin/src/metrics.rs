//! Prometheus metrics of the extender.

use std::time::{Duration, Instant};

use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

/// From 20 µs to 1 s: the budget is 0.2 ms at 16 names and 1 ms at 5,000.
const BUCKETS: [f64; 12] = [
    0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 1.0,
];

#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    latency: HistogramVec,
    watch_errors: IntCounterVec,
    snapshot_age: Gauge,
    offers: IntGauge,
    jobs: IntGauge,
}

impl Metrics {
    /// # Errors
    /// When a metric of that name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = Opts::new(
            "spillway_extender_requests_total",
            "Requests of kube-scheduler by verb and HTTP status.",
        );
        let latency = HistogramOpts::new(
            "spillway_extender_request_duration_seconds",
            "Time from the whole body read to the reply made.",
        );
        let errors = Opts::new(
            "spillway_extender_watch_errors_total",
            "Failed watches of the API server by kind.",
        );
        let metrics = Self {
            requests: IntCounterVec::new(requests, &["verb", "status"])?,
            latency: HistogramVec::new(latency.buckets(BUCKETS.to_vec()), &["verb"])?,
            watch_errors: IntCounterVec::new(errors, &["kind"])?,
            snapshot_age: Gauge::new(
                "spillway_extender_snapshot_age_seconds",
                "Time since the snapshot was last made anew; it grows while nothing changes.",
            )?,
            offers: IntGauge::new("spillway_extender_snapshot_offers", "Offers in the snapshot.")?,
            jobs: IntGauge::new("spillway_extender_snapshot_jobs", "Jobs in the snapshot.")?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.latency.clone()))?;
        registry.register(Box::new(metrics.watch_errors.clone()))?;
        registry.register(Box::new(metrics.snapshot_age.clone()))?;
        registry.register(Box::new(metrics.offers.clone()))?;
        registry.register(Box::new(metrics.jobs.clone()))?;
        Ok(metrics)
    }

    pub fn request(&self, verb: &str, status: u16, started: Instant) {
        self.requests.with_label_values(&[verb, &status.to_string()]).inc();
        self.latency
            .with_label_values(&[verb])
            .observe(started.elapsed().as_secs_f64());
    }

    pub fn watch_error(&self, kind: &str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    pub fn snapshot_published(&self, offers: usize, jobs: usize) {
        self.offers.set(i64::try_from(offers).unwrap_or(i64::MAX));
        self.jobs.set(i64::try_from(jobs).unwrap_or(i64::MAX));
        self.snapshot_age.set(0.0);
    }

    pub fn snapshot_age(&self, age: Duration) {
        self.snapshot_age.set(age.as_secs_f64());
    }
}
