//! Offers from a provider's checked facts, and the GPUs that assignments hold.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;
use spillway_core::duration;
use spillway_core::knowledge::Knowledge;
use spillway_core::latency::LatencyMicros;
use spillway_core::market::{Latencies, Offer};
use spillway_core::memory::Bytes;
use spillway_core::money::{MicroUsd, UnitPrice};
use spillway_core::reputation::Reputation;

use crate::{GpuProvider, GpuProviderStatus, HostFact, LatencyFact, WorkAssignment, provider_condition};

/// One offer per host. `in_use` counts GPUs held per virtual node; a node that is missing holds none. A provider
/// that named no price yet has no offers.
pub fn offers_of(provider: &GpuProvider, in_use: &BTreeMap<String, u32>) -> Vec<Offer> {
    let Some((status, price)) = provider
        .status
        .as_ref()
        .and_then(|status| Some((status, status.unit_price_micro?)))
    else {
        return Vec::new();
    };
    // Computed once for all hosts: the reputation's quantile is the costly part.
    let shared = Shared {
        provider,
        status,
        price: UnitPrice(price),
        latencies: latencies(status),
        reputation: Reputation::of(status.reputation.accepted, status.reputation.rejected),
        available: takes_work(provider, status),
    };
    status
        .hosts
        .iter()
        .map(|host| shared.offer(host, in_use.get(&host.node).copied().unwrap_or(0)))
        .collect()
}

/// What all offers of a provider have in common.
struct Shared<'a> {
    provider: &'a GpuProvider,
    status: &'a GpuProviderStatus,
    price: UnitPrice,
    latencies: Latencies,
    reputation: Knowledge<Reputation>,
    available: bool,
}

impl Shared<'_> {
    fn offer(&self, host: &HostFact, gpus_in_use: u32) -> Offer {
        let spec = &self.provider.spec;
        Offer {
            node: host.node.clone(),
            provider: self.provider.name_any(),
            host: host.name.clone(),
            class: spec.class.into(),
            region: spec.region.clone(),
            jurisdiction: spec.jurisdiction.clone(),
            isolation: spec.isolation.into(),
            qualified: spec.qualified.into(),
            stake_headroom: self.status.stake_headroom_micro.map(MicroUsd).into(),
            product: host.product.clone(),
            gpu_memory: Bytes(host.memory_mebibytes.saturating_mul(1 << 20)),
            compute_capability: host
                .compute_capability
                .as_ref()
                .and_then(|text| text.parse().ok())
                .into(),
            gpus_total: host.gpus,
            gpus_free: host.gpus.saturating_sub(gpus_in_use),
            price: self.price,
            start_time: start_time(host),
            revision: self.status.offer_revision,
            latencies: self.latencies.clone(),
            reputation: self.reputation,
            available: self.available,
        }
    }
}

/// A start time that cannot be read is no offer's: `facts` checked it.
fn start_time(host: &HostFact) -> Option<Duration> {
    let text = host.start_time.as_deref().filter(|_| host.elastic)?;
    duration::parse(text).ok()
}

fn latencies(status: &GpuProviderStatus) -> Latencies {
    let figure = |fact: &LatencyFact| LatencyMicros {
        median: fact.median_micros,
        p95: fact.p95_micros,
        jitter: fact.jitter_micros,
    };
    let facts = status.latencies.iter();
    facts.map(|fact| (fact.to.clone(), figure(fact))).collect()
}

/// Ready says that heartbeats are fresh; a provider that is being removed takes nothing new.
fn takes_work(provider: &GpuProvider, status: &GpuProviderStatus) -> bool {
    let ready = crate::is_status_condition_true(&status.conditions, provider_condition::READY);
    provider.metadata.deletion_timestamp.is_none() && ready
}

/// GPUs that an assignment holds on its host: all until it ended. One that is being deleted still holds them until the
/// agent answers that it is gone.
pub fn gpus_held(assignment: &WorkAssignment) -> u32 {
    let state = assignment.status.as_ref().map(|status| status.state);
    if state.unwrap_or_default().holds_gpus() {
        assignment.spec.gpus
    } else {
        0
    }
}

/// Sums GPUs held per virtual node of one provider; `held` gives host names of the provider's cluster and counts, as
/// its assignments name them.
pub fn gpus_in_use<'a>(
    provider: &GpuProvider,
    held: impl IntoIterator<Item = (&'a str, u32)>,
) -> BTreeMap<String, u32> {
    let hosts = provider.status.iter().flat_map(|status| &status.hosts);
    let nodes: BTreeMap<&str, &str> = hosts.map(|host| (host.name.as_str(), host.node.as_str())).collect();
    let mut in_use = BTreeMap::<String, u32>::new();
    for (host, gpus) in held {
        if let Some(node) = nodes.get(host) {
            let sum = in_use.entry((*node).to_owned()).or_default();
            *sum = sum.saturating_add(gpus);
        }
    }
    in_use
}
