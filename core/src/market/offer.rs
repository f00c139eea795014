//! What one GPU host offers at this instant.

use crate::knowledge::Knowledge;
use crate::market::{ComputeCapability, ProviderClass};
use crate::memory::Bytes;
use crate::money::UnitPrice;
use crate::reputation::Reputation;

/// Heartbeat round trip between agent and hub, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyMicros {
    pub median: u64,
    pub p95: u64,
}

/// One GPU host of a provider: facts that the operator checked, never claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The virtual node on the hub; unique among offers.
    pub node: String,
    pub provider: String,
    /// The host's name on the provider's cluster.
    pub host: String,
    pub class: ProviderClass,
    pub region: String,
    /// `None`: the hub's admin named none.
    pub jurisdiction: Option<String>,
    /// GPU product as GPU feature discovery names it.
    pub product: String,
    /// Memory per GPU.
    pub gpu_memory: Bytes,
    pub compute_capability: Knowledge<ComputeCapability>,
    pub gpus_total: u32,
    /// GPUs that no living assignment holds.
    pub gpus_free: u32,
    pub price: UnitPrice,
    /// Revision of the provider's offer that `price` belongs to.
    pub revision: u64,
    pub latency: Knowledge<LatencyMicros>,
    pub reputation: Knowledge<Reputation>,
    /// Heartbeats are fresh and the provider takes new work.
    pub available: bool,
}
