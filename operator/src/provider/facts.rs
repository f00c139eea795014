//! From an agent's claims to facts: what is checked, what is pinned, what is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_core::duration;
use spillway_core::money::UnitPrice;
use spillway_crds::{ElasticClaim, GpuProvider, GpuProviderStatus, HostClaim, HostFact, ProviderInventorySpec, names};

/// Longest node name that Kubernetes accepts as a label value, which several of its controllers need.
const NODE_NAME_LIMIT: usize = 63;
const MOST_GPUS_PER_HOST: u32 = 64;
/// Running and elastic ones together.
const MOST_HOSTS: usize = 256;
/// A start that takes longer is no start: the work would wait for nothing.
const LONGEST_START: Duration = Duration::from_secs(3_600);

/// A claim that was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error(
        "receiptSigner changed from {pinned} to {claimed}; it is pinned at the first heartbeat: join again under another name"
    )]
    SignerChanged { pinned: String, claimed: String },
    #[error("sealingKey changed; it is pinned at the first heartbeat: join again under another name")]
    SealingKeyChanged,
    #[error("the inventory has no {0} yet")]
    Missing(&'static str),
    #[error("elastic pool {pool}: {message}")]
    Elastic { pool: String, message: String },
    #[error("pricePerGpuHour `{0}` is not a decimal string such as \"0.90\"")]
    Price(String),
}

/// Status of the provider after its claims were checked; `status` is the one stored now.
///
/// # Errors
/// The first claim that cannot be believed; the stored facts then stay as they are.
pub fn facts(provider: &GpuProvider, claims: &ProviderInventorySpec) -> Result<GpuProviderStatus, ClaimError> {
    let stored = provider.status.clone().unwrap_or_default();
    let name = provider.metadata.name.as_deref().unwrap_or_default();
    let signer = pinned_signer(&stored, claims)?;
    let sealing_key = pinned_sealing_key(&stored, claims)?;
    let claimed_price = claims
        .price_per_gpu_hour
        .as_deref()
        .ok_or(ClaimError::Missing("pricePerGpuHour"))?;
    let price: UnitPrice = claimed_price
        .parse()
        .map_err(|_| ClaimError::Price(claimed_price.to_owned()))?;
    let mut hosts: Vec<HostFact> = claims.hosts.iter().filter_map(|host| host_fact(name, host)).collect();
    for pool in &claims.elastic {
        add_elastic(&mut hosts, name, pool)?;
    }
    let offer_changed = stored.unit_price_micro != Some(price.0) || stored.hosts != hosts;
    Ok(GpuProviderStatus {
        receipt_signer: Some(signer),
        sealing_key: Some(sealing_key),
        gpus: hosts.iter().map(|host| host.gpus).sum(),
        price_per_gpu_hour: claimed_price.to_owned(),
        unit_price_micro: Some(price.0),
        offer_revision: stored.offer_revision + u64::from(offer_changed),
        hosts,
        agent_version: Some(claims.agent_version.clone()),
        ..stored
    })
}

fn pinned_signer(stored: &GpuProviderStatus, claims: &ProviderInventorySpec) -> Result<String, ClaimError> {
    let claimed = claims
        .receipt_signer
        .clone()
        .ok_or(ClaimError::Missing("receiptSigner"))?;
    match &stored.receipt_signer {
        Some(pinned) if *pinned != claimed => Err(ClaimError::SignerChanged {
            pinned: pinned.clone(),
            claimed,
        }),
        _ => Ok(claimed),
    }
}

fn pinned_sealing_key(stored: &GpuProviderStatus, claims: &ProviderInventorySpec) -> Result<String, ClaimError> {
    let claimed = claims.sealing_key.clone().ok_or(ClaimError::Missing("sealingKey"))?;
    match &stored.sealing_key {
        Some(pinned) if *pinned != claimed => Err(ClaimError::SealingKeyChanged),
        _ => Ok(claimed),
    }
}

/// A host that offers nothing, or whose name does not fit a node name, is not offered.
fn host_fact(provider: &str, host: &HostClaim) -> Option<HostFact> {
    let node = names::virtual_node(provider, &host.name);
    let offered = (1..=MOST_GPUS_PER_HOST).contains(&host.gpus) && node.len() <= NODE_NAME_LIMIT;
    offered.then(|| HostFact {
        name: host.name.clone(),
        node,
        product: host.product.clone(),
        gpus: host.gpus,
        memory_mebibytes: host.memory_mebibytes,
        compute_capability: host.compute_capability.clone(),
        elastic: false,
        start_time: None,
    })
}

/// The hosts that a pool may bring up. A running host keeps its name, and none is offered beyond what nodes can be named.
fn add_elastic(hosts: &mut Vec<HostFact>, provider: &str, pool: &ElasticClaim) -> Result<(), ClaimError> {
    let refused = |message: String| ClaimError::Elastic {
        pool: pool.name.clone(),
        message,
    };
    if !(1..=MOST_GPUS_PER_HOST).contains(&pool.gpus_per_host) {
        return Err(refused(format!("gpusPerHost is not from 1 to {MOST_GPUS_PER_HOST}")));
    }
    let start = duration::parse(&pool.start_time).map_err(|error| refused(format!("startTime: {error}")))?;
    if start > LONGEST_START {
        return Err(refused("startTime is longer than an hour".to_owned()));
    }
    let taken: BTreeSet<String> = hosts.iter().map(|host| host.name.clone()).collect();
    let free = MOST_HOSTS.saturating_sub(hosts.len());
    let facts = pool
        .host_names()
        .filter(|name| !taken.contains(name))
        .map(|name| HostFact {
            node: names::virtual_node(provider, &name),
            name,
            product: pool.product.clone(),
            gpus: pool.gpus_per_host,
            memory_mebibytes: pool.memory_mebibytes,
            compute_capability: pool.compute_capability.clone(),
            elastic: true,
            start_time: Some(pool.start_time.clone()),
        });
    hosts.extend(facts.filter(|host| host.node.len() <= NODE_NAME_LIMIT).take(free));
    Ok(())
}
