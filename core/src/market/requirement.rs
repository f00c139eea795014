//! What one shard attempt asks of an offer.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::market::{ComputeCapability, DataClass, Isolation, Offer, ProviderClass};
use crate::memory::Bytes;
use crate::money::{MicroUsd, UnitPrice};

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
    /// Location that latency counts to: [`crate::latency::HUB`] or another that is measured.
    pub latency_to: String,
    /// Bound on the 95th percentile of the round trip to that location, in microseconds. An offer of unknown latency
    /// does not meet it.
    pub max_latency_p95: Option<u64>,
    /// Cap per GPU-hour of what is billed; the start of an elastic host is billed at the same price.
    pub max_price: UnitPrice,
    pub data_class: DataClass,
    /// Least tier.
    pub isolation: Isolation,
    /// Least lower bound of the reputation, in ten-thousandths. An owner without a check does not meet it.
    pub min_reputation: Option<u32>,
    /// Longest time of one attempt's work, without the start of an elastic host.
    pub work_time: Duration,
    /// Owners who may not run it, such as those who already ran the shard that is to be checked.
    pub excluded_providers: BTreeSet<String>,
}

impl Requirement {
    /// The most that one attempt may cost on an offer: its price over the longest time on all its GPUs, the start of an
    /// elastic host included.
    pub fn upper_bound(&self, offer: &Offer) -> MicroUsd {
        let millis = u64::try_from(self.work_time.as_millis()).unwrap_or(u64::MAX);
        offer
            .effective_price(self.work_time)
            .cost(millis.saturating_mul(u64::from(self.gpus)))
    }
}
