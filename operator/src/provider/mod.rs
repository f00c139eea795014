//! Providers: claims, heartbeats, pings and distances in; facts, virtual nodes and rights out.
//!
//! Each pass reads everything (a read that fails is "unknown", never "absent"), plans per provider, applies.

mod access;
mod apply;
mod facts;
mod heartbeat;
mod latency;
mod node;
mod ping;
mod plan;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use spillway_crds::{GpuProvider, ProviderInventory, WorkAssignment, names};
use spillway_probe::{Prober, Probes, Reach};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use heartbeat::{Heartbeats, Read};
pub use node::VirtualNode;
use ping::Pinged;
use plan::{Action, Observed, plan};
use targets::Targets;
pub use targets::{NamedTarget, NamedTargetError};

/// A pass reads a handful of lists; heartbeats come every 5 s.
const PASS_INTERVAL: Duration = Duration::from_secs(3);
const NODE_LEASE_INTERVAL: Duration = Duration::from_secs(20);
/// Access is applied again this often, so that what somebody removed comes back.
const PROVISION_INTERVAL: Duration = Duration::from_mins(10);
/// As agents do it.
const PROBE_PERIOD: Duration = Duration::from_secs(15);

/// What distances are measured to, and how.
#[derive(Clone, Debug, Default)]
pub struct Probing {
    /// Places that the hub's admin named.
    pub named: Vec<NamedTarget>,
    pub reach: Reach,
}

/// Runs until cancelled.
///
/// # Errors
/// Never: a failed pass is logged and tried again.
pub async fn run(client: Client, probing: Probing, cancelled: CancellationToken) -> anyhow::Result<()> {
    let (pinged_in, pinged) = watch::channel(Pinged::new());
    let (prober, probes) = Prober::new(probing.reach, PROBE_PERIOD);
    let controller = Controller {
        heartbeats: Heartbeats::new(Instant::now()),
        provisioned: BTreeMap::new(),
        leases_renewed: None,
        named: probing.named,
        pinged,
        probes,
        client: client.clone(),
    };
    tokio::try_join!(
        controller.run(cancelled.clone()),
        ping::run(client, pinged_in, cancelled.clone()),
        prober.run(cancelled),
    )?;
    Ok(())
}

struct Controller {
    client: Client,
    heartbeats: Heartbeats,
    /// By UID: a provider that comes back under its old name has nothing yet.
    provisioned: BTreeMap<String, Instant>,
    leases_renewed: Option<Instant>,
    named: Vec<NamedTarget>,
    pinged: watch::Receiver<Pinged>,
    probes: Probes,
}

/// One read of the whole picture.
struct Picture {
    providers: Vec<GpuProvider>,
    inventories: BTreeMap<String, ProviderInventory>,
    nodes: BTreeMap<String, BTreeMap<String, Option<String>>>,
    assignments: BTreeMap<String, usize>,
    targets: Targets,
}

impl Controller {
    async fn run(mut self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut interval = tokio::time::interval(PASS_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                _ = interval.tick() => {},
            }
            if let Err(error) = self.pass().await {
                tracing::warn!(%error, "providers could not be read; nothing is concluded from that");
            }
        }
    }

    async fn pass(&mut self) -> kube::Result<()> {
        let read = self.read_heartbeats().await?;
        self.heartbeats.record(Instant::now(), &read);
        let picture = self.observe().await?;
        let uids: BTreeSet<String> = picture.providers.iter().filter_map(ResourceExt::uid).collect();
        self.provisioned.retain(|uid, _| uids.contains(uid));
        self.probes.ask_for(picture.targets.addresses());
        let now = Time(Timestamp::now());
        self.renew_node_leases(&picture, &now).await;
        for provider in &picture.providers {
            self.reconcile(provider, &picture, &now).await;
        }
        Ok(())
    }

    async fn reconcile(&mut self, provider: &GpuProvider, picture: &Picture, now: &Time) {
        let (name, uid) = (provider.name_any(), provider.uid().unwrap_or_default());
        let observed = self.observed(provider, picture);
        for action in plan(&observed, now) {
            let provisioning = matches!(action, Action::Provision { .. });
            match apply::apply(&self.client, provider, action.clone(), now).await {
                Ok(()) if provisioning => drop(self.provisioned.insert(uid.clone(), Instant::now())),
                Ok(()) => tracing::debug!(provider = name, ?action, "applied"),
                Err(error) => {
                    tracing::warn!(provider = name, ?action, %error, "not applied; planned anew at the next pass");
                    return;
                }
            }
        }
    }

    fn observed(&self, provider: &GpuProvider, picture: &Picture) -> Observed {
        let name = provider.name_any();
        let now = Instant::now();
        let uid = provider.uid().unwrap_or_default();
        let provisioned = self
            .provisioned
            .get(&uid)
            .is_some_and(|at| now.duration_since(*at) < PROVISION_INTERVAL);
        let inventory = picture.inventories.get(&name);
        let pinged = self.pinged.borrow().get(&name).copied().into();
        let asked = inventory.and_then(|inventory| inventory.status.clone());
        Observed {
            inventory: inventory.map(|inventory| inventory.spec.clone()),
            asked: asked.unwrap_or_default().probe_targets,
            paths: picture
                .targets
                .paths(&name, pinged, &self.probes.distances.borrow(), &picture.inventories),
            liveness: self.heartbeats.liveness(&name, now),
            nodes: picture.nodes.get(&name).cloned().unwrap_or_default(),
            assignments: picture.assignments.get(&name).copied().unwrap_or_default(),
            provisioned,
            provider: provider.clone(),
        }
    }

    async fn read_heartbeats(&self) -> kube::Result<Read> {
        let parameters = ListParams::default().fields(&format!("metadata.name={}", names::HEARTBEAT_LEASE));
        let leases = Api::<Lease>::all(self.client.clone()).list(&parameters).await?;
        Ok(leases
            .into_iter()
            .filter_map(|lease| Some((provider_of(&lease)?, renewed_version(&lease))))
            .collect())
    }

    async fn observe(&self) -> kube::Result<Picture> {
        let all = ListParams::default();
        let virtual_nodes = ListParams::default().labels(&format!("{}=true", names::LABEL_VIRTUAL));
        let providers = Api::<GpuProvider>::all(self.client.clone()).list(&all).await?.items;
        let inventories = Api::<ProviderInventory>::all(self.client.clone()).list(&all).await?;
        let nodes = Api::<Node>::all(self.client.clone())
            .list_metadata(&virtual_nodes)
            .await?;
        let assignments = Api::<WorkAssignment>::all(self.client.clone())
            .list_metadata(&all)
            .await?;
        let inventories = inventories
            .into_iter()
            .filter_map(|inventory| Some((provider_of(&inventory)?, inventory)));
        let mut counted = BTreeMap::new();
        for namespace in assignments.iter().filter_map(|assignment| assignment.namespace()) {
            if let Some(provider) = namespace.strip_prefix(names::PROVIDER_NAMESPACE_PREFIX) {
                *counted.entry(provider.to_owned()).or_default() += 1;
            }
        }
        let inventories: BTreeMap<String, ProviderInventory> = inventories.collect();
        Ok(Picture {
            targets: Targets::new(&self.named, &providers, &inventories),
            providers,
            inventories,
            nodes: nodes_by_provider(&nodes.items),
            assignments: counted,
        })
    }

    /// Keeps renewing for every node that exists, whatever its provider does: the node is ours.
    async fn renew_node_leases(&mut self, picture: &Picture, now: &Time) {
        let due = self.leases_renewed.is_none_or(|at| at.elapsed() >= NODE_LEASE_INTERVAL);
        if !due {
            return;
        }
        let nodes: BTreeSet<&String> = picture.nodes.values().flat_map(BTreeMap::keys).collect();
        for node in nodes {
            if let Err(error) = apply::renew_node_lease(&self.client, node, now).await {
                tracing::warn!(node, %error, "node lease not renewed");
                return;
            }
        }
        self.leases_renewed = Some(Instant::now());
    }
}

/// The provider whose namespace an object lies in.
fn provider_of(object: &impl ResourceExt) -> Option<String> {
    object
        .namespace()?
        .strip_prefix(names::PROVIDER_NAMESPACE_PREFIX)
        .map(str::to_owned)
}

/// The version of a Lease that an agent has renewed at least once.
fn renewed_version(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.renew_time.as_ref()?;
    lease.metadata.resource_version.clone()
}

fn nodes_by_provider(nodes: &[PartialObjectMeta<Node>]) -> BTreeMap<String, BTreeMap<String, Option<String>>> {
    let mut by_provider: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
    for node in nodes {
        if let Some(provider) = node.labels().get(names::LABEL_PROVIDER) {
            let digest = node.annotations().get(node::DIGEST_ANNOTATION).cloned();
            by_provider
                .entry(provider.clone())
                .or_default()
                .insert(node.name_any(), digest);
        }
    }
    by_provider
}
