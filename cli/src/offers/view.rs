//! One offer as it is printed; the JSON form is a promise, documented in `docs/src/reference/cli.md`.

use std::time::Duration;

use serde::Serialize;
use spillway_core::knowledge::Knowledge;
use spillway_core::market::Offer;
use spillway_core::money::MicroUsd;
use spillway_crds::{Condition, GpuProvider, Isolation, ProviderClass, Time, provider_condition};

use crate::market::Market;
use crate::table::align;
use crate::words::{memory, milliseconds, share, span, usd};

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct OfferList {
    pub(super) offers: Vec<OfferView>,
    /// Before filters.
    pub(super) total: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfferView {
    pub(super) node: String,
    pub(super) provider: String,
    pub(super) host: String,
    pub(super) product: String,
    pub(super) memory_bytes: u64,
    pub(super) compute_capability: Option<String>,
    pub(super) gpus: Gpus,
    /// Decimal USD.
    pub(super) price_per_gpu_hour: String,
    pub(super) unit_price_micro: u64,
    /// One entry per measured location; a location that is missing is unknown.
    pub(super) latency: Vec<LatencyView>,
    pub(super) reputation: ReputationView,
    pub(super) class: ProviderClass,
    pub(super) region: String,
    pub(super) jurisdiction: Option<String>,
    /// Highest tier that the provider gives.
    pub(super) isolation: Isolation,
    /// Seconds until a host that appears on demand can start work, paid like work; null for one that runs.
    pub(super) start_seconds: Option<u64>,
    pub(super) ready: bool,
    /// Reason and message of the provider's condition Ready.
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gpus {
    pub(super) total: u32,
    /// Null when the caller may not see who holds them.
    pub(super) free: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LatencyView {
    pub(super) to: String,
    pub(super) median_micros: u64,
    pub(super) p95_micros: u64,
    pub(super) jitter_micros: u64,
    pub(super) measured_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReputationView {
    /// In [0, 1]; null without a check.
    pub(super) lower_bound: Option<f64>,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
}

/// Cheapest first, then by node.
pub(super) fn views(market: &Market) -> Vec<OfferView> {
    let free_is_known = matches!(market.holdings, Knowledge::Known(_));
    let views = market.providers.iter().flat_map(|provider| {
        let offers = market.offers_by(provider).into_iter();
        offers.map(move |offer| view(provider, &offer, free_is_known))
    });
    let mut views: Vec<OfferView> = views.collect();
    views.sort_by(|one, other| (one.unit_price_micro, &one.node).cmp(&(other.unit_price_micro, &other.node)));
    views
}

fn view(provider: &GpuProvider, offer: &Offer, free_is_known: bool) -> OfferView {
    let status = provider.status.clone().unwrap_or_default();
    let (reason, message) = readiness(provider, &status.conditions);
    OfferView {
        node: offer.node.clone(),
        provider: offer.provider.clone(),
        host: offer.host.clone(),
        product: offer.product.clone(),
        memory_bytes: offer.gpu_memory.0,
        compute_capability: offer
            .compute_capability
            .known()
            .map(|capability| capability.to_string()),
        gpus: Gpus {
            total: offer.gpus_total,
            free: free_is_known.then_some(offer.gpus_free),
        },
        price_per_gpu_hour: usd(MicroUsd(offer.price.0)),
        unit_price_micro: offer.price.0,
        latency: latency(&status),
        reputation: ReputationView {
            lower_bound: offer.reputation.known().map(|reputation| reputation.lower_bound()),
            accepted: status.reputation.accepted,
            rejected: status.reputation.rejected,
        },
        class: provider.spec.class,
        region: offer.region.clone(),
        jurisdiction: offer.jurisdiction.clone(),
        isolation: provider.spec.isolation,
        start_seconds: offer.start_time.map(|start| start.as_secs()),
        ready: offer.available,
        reason,
        message,
    }
}

fn latency(status: &spillway_crds::GpuProviderStatus) -> Vec<LatencyView> {
    let view = |fact: &spillway_crds::LatencyFact| LatencyView {
        to: fact.to.clone(),
        median_micros: fact.median_micros,
        p95_micros: fact.p95_micros,
        jitter_micros: fact.jitter_micros,
        measured_at: fact.measured_at.clone(),
    };
    status.latencies.iter().map(view).collect()
}

fn readiness(provider: &GpuProvider, conditions: &[Condition]) -> (String, String) {
    if provider.metadata.deletion_timestamp.is_some() {
        return ("Removed".to_owned(), "the provider is being removed".to_owned());
    }
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == provider_condition::READY);
    ready.map_or_else(
        || ("NotSeen".to_owned(), "not seen by the operator yet".to_owned()),
        |ready| (ready.reason.clone(), ready.message.clone()),
    )
}

const COLUMNS: [&str; 12] = [
    "PROVIDER",
    "HOST",
    "MODEL",
    "MEMORY",
    "FREE",
    "USD/GPU-H",
    "LATENCY",
    "REPUTATION",
    "CLASS",
    "REGION",
    "ISOLATION",
    "READY",
];
const WIDE_COLUMNS: [&str; 4] = ["NODE", "JURISDICTION", "COMPUTE", "WHY"];

impl OfferList {
    pub(super) fn table(&self, wide: bool) -> String {
        let head = COLUMNS.iter().chain(WIDE_COLUMNS.iter().filter(|_| wide));
        let mut rows = vec![head.map(|name| (*name).to_owned()).collect()];
        rows.extend(self.offers.iter().map(|offer| offer.row(wide)));
        align(&rows)
    }
}

impl OfferView {
    fn row(&self, wide: bool) -> Vec<String> {
        let mut row = vec![
            self.provider.clone(),
            self.host.clone(),
            self.product.clone(),
            memory(self.memory_bytes),
            self.free_text(),
            self.price_per_gpu_hour.clone(),
            self.latency_text(),
            share(self.reputation.lower_bound),
            format!("{:?}", self.class),
            self.region.clone(),
            format!("{:?}", self.isolation),
            self.ready_text(),
        ];
        if wide {
            let unknown = || "unknown".to_owned();
            row.extend([
                self.node.clone(),
                self.jurisdiction.clone().unwrap_or_else(unknown),
                self.compute_capability.clone().unwrap_or_else(unknown),
                if self.ready {
                    "-".to_owned()
                } else {
                    self.message.clone()
                },
            ]);
        }
        row
    }

    /// `2/4`, `?/4`, or `4/4 in 3m` for a host that appears on demand.
    fn free_text(&self) -> String {
        let free = self.gpus.free.map_or_else(|| "?".to_owned(), |free| free.to_string());
        let start = self
            .start_seconds
            .map(|seconds| format!(" in {}", span(Duration::from_secs(seconds))));
        format!("{free}/{}{}", self.gpus.total, start.unwrap_or_default())
    }

    /// p95 per location.
    fn latency_text(&self) -> String {
        let text = |fact: &LatencyView| format!("{} {}", fact.to, milliseconds(fact.p95_micros));
        let texts: Vec<String> = self.latency.iter().map(text).collect();
        if texts.is_empty() {
            "unknown".to_owned()
        } else {
            texts.join(", ")
        }
    }

    fn ready_text(&self) -> String {
        if self.ready {
            "yes".to_owned()
        } else {
            format!("no: {}", self.reason)
        }
    }
}
