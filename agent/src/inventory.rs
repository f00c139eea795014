//! What this cluster offers: its GPU hosts, our price, our public keys, the measured round trips.
//!
//! In: Nodes of our own cluster, round trips from heartbeat and probes. Out: the ProviderInventory `inventory` on the hub,
//! written only when it differs, the host claims for the work task, and the addresses that the prober measures.

mod hosts;
mod latency;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, PostParams};
use spillway_core::knowledge::Knowledge;
use spillway_core::latency::{HUB, Measured};
use spillway_core::money::UnitPrice;
use spillway_crds::names::INVENTORY_NAME;
use spillway_crds::{HostClaim, LatencyClaim, ProbeTarget, ProviderInventorySpec};
use spillway_probe::Probes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::elastic::ElasticPools;
use crate::hub::{Hub, HubLink};
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::request::{RequestError, within};

pub use hosts::{HostReport, report};

const PERIOD: Duration = Duration::from_secs(10);

/// Host claims as the work task sees them.
pub type Hosts = Knowledge<Vec<HostClaim>>;

#[derive(Debug)]
pub struct Inventory {
    pub nodes: Api<Node>,
    pub hub: HubLink,
    pub keys: Keys,
    pub price: UnitPrice,
    pub elastic: ElasticPools,
    /// Round trips to the hub.
    pub latency: watch::Receiver<Option<Measured>>,
    /// Round trips to probe targets.
    pub probes: Probes,
    /// Where others may measure their distance to us.
    pub probe_address: Option<String>,
    /// Where the claims are published.
    pub hosts: watch::Sender<Hosts>,
    pub metrics: Metrics,
}

impl Inventory {
    /// # Errors
    /// Never; a pass that fails is logged and followed by the next.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut last_notes = Vec::new();
        loop {
            let outcome = self.pass(&mut last_notes).await;
            self.metrics.count_pass("inventory", outcome.is_ok());
            if let Err(error) = outcome {
                tracing::warn!(%error, "inventory pass failed");
            }
            tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                () = tokio::time::sleep(PERIOD) => {},
            }
        }
    }

    async fn pass(&self, last_notes: &mut Vec<String>) -> Result<(), RequestError> {
        let nodes = within(self.nodes.list(&ListParams::default())).await?;
        let (elastic, running): (Vec<Node>, Vec<Node>) =
            nodes.items.into_iter().partition(|node| self.elastic.own(node));
        tracing::debug!(
            nodes = elastic.len(),
            "nodes of elastic pools are offered by their pools"
        );
        let HostReport { hosts, notes } = report(&running);
        if notes != *last_notes {
            notes.iter().for_each(|note| tracing::warn!("{note}"));
            *last_notes = notes;
        }
        self.metrics
            .gpus_offered
            .set(hosts.iter().map(|host| i64::from(host.gpus)).sum());
        let mut known = hosts.clone();
        known.extend(self.elastic.hosts());
        self.hosts.send_if_modified(|current| {
            let next = Knowledge::Known(known);
            let changed = *current != next;
            *current = next;
            changed
        });
        match self.hub.current() {
            Some(hub) => self.publish(&hub, hosts).await,
            None => Ok(()),
        }
    }

    /// Reads what the hub holds and replaces it only when ours says something else.
    async fn publish(&self, hub: &Hub, hosts: Vec<HostClaim>) -> Result<(), RequestError> {
        let inventories = hub.inventories();
        let mut inventory = within(inventories.get(INVENTORY_NAME)).await?;
        let targets = inventory.status.clone().unwrap_or_default().probe_targets;
        let addresses = targets.iter().map(|target| target.address.clone());
        self.probes.ask_for(addresses.collect());
        let figures = self.figures(&targets);
        let latencies = latency::claims(&inventory.spec.latencies, &figures, Timestamp::now());
        let next = self.spec(hosts, latencies);
        if inventory.spec == next {
            return Ok(());
        }
        inventory.spec = next;
        within(inventories.replace(INVENTORY_NAME, &PostParams::default(), &inventory)).await?;
        tracing::info!("told the hub of a changed inventory");
        Ok(())
    }

    /// All figures that there are now.
    fn figures(&self, targets: &[ProbeTarget]) -> Vec<latency::Figure> {
        let hub = self.latency.borrow().map(|measured| latency::Figure {
            to: HUB.to_owned(),
            target: None,
            measured,
        });
        let distances = self.probes.distances.borrow();
        let others = targets.iter().filter_map(|target| {
            Some(latency::Figure {
                to: target.location.clone(),
                target: Some(target.address.clone()),
                measured: *distances.get(&target.address)?,
            })
        });
        hub.into_iter().chain(others).collect()
    }

    fn spec(&self, hosts: Vec<HostClaim>, latencies: Vec<LatencyClaim>) -> ProviderInventorySpec {
        ProviderInventorySpec {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            receipt_signer: Some(self.keys.receipt_signer().to_checksum(None)),
            sealing_key: Some(self.keys.sealing().public_key().to_string()),
            price_per_gpu_hour: Some(self.price.to_string()),
            hosts,
            elastic: self.elastic.claims(),
            latencies,
            probe_address: self.probe_address.clone(),
        }
    }
}
