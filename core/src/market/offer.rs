//! What one GPU host offers at this instant.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::knowledge::Knowledge;
use crate::latency::LatencyMicros;
use crate::market::{ComputeCapability, Isolation, ProviderClass};
use crate::memory::Bytes;
use crate::money::{MicroUsd, UnitPrice};
use crate::reputation::Reputation;

/// Checked round trips of a provider by named location, such as [`crate::latency::HUB`] or a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(BTreeMap<String, LatencyMicros>);

impl Latencies {
    /// `Unknown` where nobody measured, the measurement is disputed, or it is too old.
    pub fn to(&self, location: &str) -> Knowledge<LatencyMicros> {
        self.0.get(location).copied().into()
    }
}

impl FromIterator<(String, LatencyMicros)> for Latencies {
    fn from_iter<I: IntoIterator<Item = (String, LatencyMicros)>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// One GPU host of a provider, running or elastic: facts that the operator checked, never claims.
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
    /// Highest tier that the provider gives.
    pub isolation: Isolation,
    /// Whether the provider passed qualification; counts as passed while nobody has said.
    pub qualified: Knowledge<bool>,
    /// Stake that covers no running attempt yet; no limit while nobody has said.
    pub stake_headroom: Knowledge<MicroUsd>,
    /// GPU product as GPU feature discovery names it.
    pub product: String,
    /// Memory per GPU.
    pub gpu_memory: Bytes,
    pub compute_capability: Knowledge<ComputeCapability>,
    pub gpus_total: u32,
    /// GPUs that no living assignment holds.
    pub gpus_free: u32,
    pub price: UnitPrice,
    /// `Some`: the host appears when work is placed there, after this long; paid like work.
    pub start_time: Option<Duration>,
    /// Revision of the provider's offer that `price` belongs to.
    pub revision: u64,
    pub latencies: Latencies,
    pub reputation: Knowledge<Reputation>,
    /// Heartbeats are fresh and the provider takes new work.
    pub available: bool,
}

impl Offer {
    /// Price of an hour of useful work, in attempts of at most `work_time`: the start of an elastic host is paid too.
    ///
    /// price × (work_time + start_time) / work_time, rounded up, saturating; the price itself for a host that runs.
    pub fn effective_price(&self, work_time: Duration) -> UnitPrice {
        let Some(start) = self.start_time.filter(|start| !start.is_zero()) else {
            return self.price;
        };
        let work = work_time.as_millis().max(1);
        let paid = work.saturating_add(start.as_millis());
        let exact = u128::from(self.price.0).saturating_mul(paid).div_ceil(work);
        UnitPrice(u64::try_from(exact).unwrap_or(u64::MAX))
    }
}
