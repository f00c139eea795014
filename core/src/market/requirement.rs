//! What one shard attempt asks of an offer.

use std::collections::BTreeSet;

use crate::market::{ComputeCapability, DataClass, ProviderClass};
use crate::memory::Bytes;
use crate::money::UnitPrice;

/// Hard needs. An empty list means "any", `None` means "no bound".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// GPUs on one host.
    pub gpus: u32,
    /// GPU products, matched whole.
    pub models: Vec<String>,
    /// Per GPU.
    pub min_memory: Option<Bytes>,
    pub min_compute_capability: Option<ComputeCapability>,
    /// Narrows what `data_class` allows; never widens it.
    pub classes: Vec<ProviderClass>,
    /// Matched whole: `eu` is not `eu-west`.
    pub regions: Vec<String>,
    pub jurisdictions: Vec<String>,
    /// Bound on the 95th percentile of the round trip to the hub, in microseconds. An offer whose latency nobody
    /// measured does not meet it.
    pub max_latency_p95: Option<u64>,
    /// Cap per GPU-hour; also the yardstick of the price term.
    pub max_price: UnitPrice,
    pub data_class: DataClass,
    /// Owners who may not run it, such as those who already ran the shard that is to be checked.
    pub excluded_providers: BTreeSet<String>,
}
