//! The sign of life: every 5 s the Lease `heartbeat` on the hub, and how long its round trip takes.
//!
//! In: the hub link. Out: the Lease's `renewTime`, and what the last 64 round trips say.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use spillway_core::latency::{Measured, Window};
use spillway_crds::names::HEARTBEAT_LEASE;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::hub::{Hub, HubLink};
use crate::metrics::Metrics;
use crate::request::{RequestError, within};

const PERIOD: Duration = Duration::from_secs(5);
/// What readers of the Lease may take for a lost agent.
const LEASE_SECONDS: i32 = 20;

#[derive(Debug)]
pub struct Heart {
    pub hub: HubLink,
    pub holder: String,
    pub metrics: Metrics,
    /// Where the latency is published.
    pub latency: watch::Sender<Option<Measured>>,
}

impl Heart {
    /// # Errors
    /// Never; a heartbeat that fails is logged and followed by the next.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut window = Window::default();
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hub = self.hub.clone();
        loop {
            let client = tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                client = async { ticks.tick().await; hub.ready().await } => client,
            };
            let outcome = self.beat(&client).await;
            self.metrics.count_pass("heartbeat", outcome.is_ok());
            match outcome {
                Ok(round_trip) => {
                    self.metrics.heartbeat_seconds.observe(round_trip.as_secs_f64());
                    window.push(round_trip);
                    self.latency.send_replace(window.measured());
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    async fn beat(&self, hub: &Hub) -> Result<Duration, RequestError> {
        let patch = Patch::Merge(renewal(&self.holder, Timestamp::now()));
        let leases = hub.leases();
        let parameters = PatchParams::default();
        let started = Instant::now();
        within(leases.patch(HEARTBEAT_LEASE, &parameters, &patch)).await?;
        Ok(started.elapsed())
    }

    fn failed(&self, error: &RequestError) {
        tracing::warn!(%error, "heartbeat failed");
        if error.is_unauthorized() {
            self.hub.report_rejection();
        }
    }
}

fn renewal(holder: &str, now: Timestamp) -> Value {
    json!({"spec": {
        "holderIdentity": holder,
        "leaseDurationSeconds": LEASE_SECONDS,
        "renewTime": MicroTime(now),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renews_with_microseconds_as_the_api_wants_them() {
        let now = "2026-01-02T03:04:05.5Z".parse().unwrap();
        assert_eq!(
            renewal("pod-1", now)["spec"]["renewTime"],
            "2026-01-02T03:04:05.500000Z"
        );
    }
}
