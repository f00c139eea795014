//! Work: from assignments on the hub to pods here, and from pods back to status and signed receipts.
//!
//! In: all WorkAssignments of our namespace on the hub (or that they cannot be asked for), our own labelled objects,
//! the host claims. Out: objects in the work namespace, assignment status. [`plan`] decides, [`apply`] does; every
//! pass looks at everything, watch events only hurry it.

mod acceptance;
mod apply;
mod hints;
mod objects;
mod observe;
mod outcome;
mod plan;
mod receipt;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use spillway_core::knowledge::Knowledge;
use spillway_core::money::UnitPrice;
use spillway_crds::Isolation;
use spillway_process::Health;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::bundle::Terms;
use crate::elastic::ElasticPools;
use crate::hub::HubLink;
use crate::inventory::Hosts;
use crate::keys::Keys;
use crate::metrics::Metrics;

use apply::Applier;
use observe::{LocalCluster, Observed};

/// A pass at least this often, whatever watches say.
const PERIOD: Duration = Duration::from_secs(10);
/// At most so often, however many events come.
const SHORTEST: Duration = Duration::from_millis(200);

/// What every decision needs besides the observation.
#[derive(Clone, Debug)]
pub struct Policy {
    pub terms: Terms,
    pub keys: Keys,
    pub price: UnitPrice,
    pub pods: PodSettings,
}

/// How work pods are made.
#[derive(Clone, Debug)]
pub struct PodSettings {
    pub namespace: String,
    pub runner_image: String,
    /// `Always`, `IfNotPresent` or `Never`; the cluster's default when absent.
    pub image_pull_policy: Option<String>,
    /// Requests to the engine at the same time, per pod.
    pub engine_concurrency: u32,
    /// How work is kept apart that asks for more than containers; `None`: it is refused.
    pub isolation: Option<IsolationRuntime>,
    /// Pools whose hosts appear on demand.
    pub elastic: ElasticPools,
}

/// A RuntimeClass of this cluster, and the tier that it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsolationRuntime {
    pub runtime_class: String,
    pub tier: Isolation,
}

pub struct Worker {
    pub local: Client,
    pub hub: HubLink,
    pub hosts: watch::Receiver<Hosts>,
    pub policy: Policy,
    pub metrics: Metrics,
    pub health: Health,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Worker")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// # Errors
    /// Never; a pass that fails is logged and followed by the next.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let cluster = LocalCluster::new(&self.local, &self.policy.pods.namespace);
        let wake = Arc::new(Notify::new());
        let hints = hints::follow(cluster.pod_metadata.clone(), self.hub.clone(), Arc::clone(&wake));
        tokio::pin!(hints);
        let mut hosts = self.hosts.clone();
        loop {
            let acted = self.pass(&cluster).await;
            // Something was done: what follows from it may be due at once.
            if acted {
                wake.notify_one();
            }
            let due = async {
                tokio::time::sleep(SHORTEST).await;
                tokio::select! {
                    () = wake.notified() => {},
                    () = tokio::time::sleep(PERIOD) => {},
                    changed = hosts.changed() => if changed.is_err() { std::future::pending().await },
                }
            };
            tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                never = &mut hints => match never {},
                () = due => {},
            }
        }
    }

    /// Observe, plan, apply. Returns whether anything was done.
    async fn pass(&self, cluster: &LocalCluster) -> bool {
        let hub = self.hub.current();
        let hosts = self.hosts.borrow().clone();
        let observed = match observe::observe(cluster, hub.as_ref(), hosts).await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::warn!(%error, "our own cluster cannot be asked for work objects");
                self.metrics.count_pass("work", false);
                return false;
            }
        };
        self.record(&observed);
        let plan = plan::plan(&observed, &self.policy, Timestamp::now());
        let applier = Applier {
            cluster,
            hub: hub.as_ref(),
        };
        let failures = applier.apply(&plan).await;
        self.metrics.count_pass("work", failures == 0);
        !plan.is_empty() && failures == 0
    }

    fn record(&self, observed: &Observed) {
        if observed.hub_rejected {
            self.hub.report_rejection();
        }
        let Knowledge::Known(assignments) = &observed.assignments else {
            return;
        };
        self.health.set_ready(true);
        self.metrics.assignments.reset();
        for assignment in assignments.values() {
            let state = assignment
                .status
                .as_ref()
                .map(|status| status.state)
                .unwrap_or_default();
            self.metrics
                .assignments
                .with_label_values(&[format!("{state:?}").as_str()])
                .inc();
        }
    }
}
