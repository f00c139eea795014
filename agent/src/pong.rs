//! The hub's measurement of its distance to us: it writes a nonce that nobody can guess into the Lease `ping`, we write it back.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use serde_json::json;
use spillway_crds::names::{PING_ANNOTATION, PING_LEASE, PONG_ANNOTATION};
use tokio_util::sync::CancellationToken;

use crate::hub::{Hub, HubLink};
use crate::metrics::Metrics;
use crate::request::{RequestError, within};

#[derive(Debug)]
pub struct Ponger {
    pub hub: HubLink,
    pub metrics: Metrics,
}

impl Ponger {
    /// # Errors
    /// Never; a ping that could not be answered is followed by the next.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut link = self.hub.clone();
        loop {
            let hub = tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                hub = link.ready() => hub,
            };
            tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                // A watch with the old credential would end with it.
                () = link.replaced() => {},
                () = self.answer(&hub) => {},
            }
        }
    }

    async fn answer(&self, hub: &Hub) {
        let only = watcher::Config::default().fields(&format!("metadata.name={PING_LEASE}"));
        let mut leases = watcher(hub.leases(), only).default_backoff().touched_objects().boxed();
        let mut answered = None;
        loop {
            let lease = match leases.try_next().await {
                Ok(Some(lease)) => lease,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "watch of the hub's pings failed; it is tried again");
                    continue;
                }
            };
            let Some(ping) = unanswered(&lease).filter(|ping| answered.as_ref() != Some(ping)) else {
                continue;
            };
            let outcome = pong(hub, &ping).await;
            self.metrics.count_pass("pong", outcome.is_ok());
            match outcome {
                Ok(()) => answered = Some(ping),
                Err(error) => tracing::debug!(%error, "a ping of the hub was not answered"),
            }
        }
    }
}

fn unanswered(lease: &Lease) -> Option<String> {
    let annotation = |name: &str| lease.annotations().get(name);
    let ping = annotation(PING_ANNOTATION)?;
    (annotation(PONG_ANNOTATION) != Some(ping)).then(|| ping.clone())
}

async fn pong(hub: &Hub, ping: &str) -> Result<(), RequestError> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {PONG_ANNOTATION: ping}}}));
    within(hub.leases().patch(PING_LEASE, &PatchParams::default(), &patch))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_answered_once() {
        let lease = |annotations| serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap();
        assert_eq!(unanswered(&lease(json!({}))), None);
        let open = json!({PING_ANNOTATION: "b", PONG_ANNOTATION: "a"});
        assert_eq!(unanswered(&lease(open)).as_deref(), Some("b"));
        let done = json!({PING_ANNOTATION: "b", PONG_ANNOTATION: "b"});
        assert_eq!(unanswered(&lease(done)), None);
    }
}
