//! The offers of one instant as the planner gets them, and the copy that is kept current for all jobs.
//!
//! Facts of providers change seldom and GPUs in use all the time: a provider's offers are computed when its object
//! changes, and only the free GPUs of hosts that an assignment touched are set anew.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use spillway_core::market::Offer;
use spillway_crds::market::offers_of;
use spillway_crds::{GpuProvider, names};

use super::held::{Held, Host};

/// All offers, in a fixed order; found by virtual node.
#[derive(Clone, Debug, Default)]
pub struct Market {
    offers: Vec<Offer>,
    layout: Arc<Layout>,
}

/// Where the offers stand: the same for every market over the same hosts.
#[derive(Debug, Default)]
struct Layout {
    /// Tells layouts apart; 0 for a market that is not kept.
    number: u64,
    by_node: HashMap<String, usize>,
}

impl Market {
    /// Position of a node's offer among all.
    pub fn position(&self, node: &str) -> Option<usize> {
        self.layout.by_node.get(node).copied()
    }

    pub fn get(&self, node: &str) -> Option<&Offer> {
        self.offers.get(self.position(node)?)
    }

    /// Positions mean the same in two markets of one layout.
    pub(super) fn layout(&self) -> u64 {
        self.layout.number
    }

    fn numbered(offers: Vec<Offer>, number: u64) -> Self {
        let by_node = offers.iter().map(|offer| offer.node.clone()).zip(0..).collect();
        Self {
            offers,
            layout: Arc::new(Layout { number, by_node }),
        }
    }
}

impl Deref for Market {
    type Target = [Offer];

    fn deref(&self) -> &[Offer] {
        &self.offers
    }
}

impl From<Vec<Offer>> for Market {
    fn from(offers: Vec<Offer>) -> Self {
        Self::numbered(offers, 0)
    }
}

/// The market as of now, made from the watch caches as little as possible.
#[derive(Debug, Default)]
pub(super) struct MarketKeeper {
    /// Grows with every change of a GpuProvider.
    providers_changed: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The change that `idle` is made of; `None` before the first look.
    seen: Option<u64>,
    layouts: u64,
    idle: HashMap<String, IdleOffers>,
    /// Position of a host's offer, by the namespace of its provider and its name there.
    hosts: HashMap<Host, usize>,
    market: Arc<Market>,
}

/// Offers of a provider with every GPU free, and the version of its object that they were computed from.
#[derive(Debug)]
struct IdleOffers {
    version: Option<String>,
    offers: Vec<Offer>,
}

impl MarketKeeper {
    /// To be called after the cache of providers took a change in.
    pub(super) fn providers_changed(&self) {
        self.providers_changed.fetch_add(1, Ordering::AcqRel);
    }

    /// All offers with what assignments hold taken off. `providers` is read only when one of them changed.
    pub(super) fn current(&self, providers: impl FnOnce() -> Vec<Arc<GpuProvider>>, held: &Held) -> Arc<Market> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let change = self.providers_changed.load(Ordering::Acquire);
        if kept.seen != Some(change) {
            kept.rebuild(providers(), held);
            kept.seen = Some(change);
        } else {
            kept.refresh(held);
        }
        kept.market.clone()
    }
}

impl Kept {
    fn rebuild(&mut self, mut providers: Vec<Arc<GpuProvider>>, held: &Held) {
        // First: what changes while the offers are made is looked at again next time.
        held.take_changed();
        providers.sort_by_key(|provider| provider.name_any());
        let mut before = std::mem::take(&mut self.idle);
        self.hosts.clear();
        let mut offers = Vec::new();
        for provider in &providers {
            let name = provider.name_any();
            let unchanged = before
                .remove(&name)
                .filter(|idle| idle.version.is_some() && idle.version == provider.resource_version());
            let idle = unchanged.unwrap_or_else(|| IdleOffers::of(provider));
            let namespace = names::provider_namespace(&name);
            for offer in &idle.offers {
                let host = (namespace.clone(), offer.host.clone());
                let in_use = held.seen(&host);
                self.hosts.insert(host, offers.len());
                offers.push(with_in_use(offer.clone(), in_use));
            }
            self.idle.insert(name, idle);
        }
        self.layouts += 1;
        self.market = Arc::new(Market::numbered(offers, self.layouts));
    }

    fn refresh(&mut self, held: &Held) {
        let changed = held.take_changed();
        if changed.is_empty() {
            return;
        }
        let market = Arc::make_mut(&mut self.market);
        for (host, in_use) in changed {
            let position = self.hosts.get(&host);
            if let Some(offer) = position.and_then(|position| market.offers.get_mut(*position)) {
                offer.gpus_free = offer.gpus_total.saturating_sub(in_use);
            }
        }
    }
}

impl IdleOffers {
    fn of(provider: &GpuProvider) -> Self {
        Self {
            version: provider.resource_version(),
            offers: offers_of(provider, &std::collections::BTreeMap::new()),
        }
    }
}

fn with_in_use(offer: Offer, in_use: u32) -> Offer {
    Offer {
        gpus_free: offer.gpus_total.saturating_sub(in_use),
        ..offer
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::job::held::tests::assignment_in;

    fn provider(name: &str, version: &str, price: u64, gpus: u32) -> Arc<GpuProvider> {
        let host = |host: &str| {
            json!({"name": host, "node": names::virtual_node(name, host), "product": "NVIDIA-L4", "gpus": gpus,
                "memoryMebibytes": 24576})
        };
        let provider = json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider",
            "metadata": {"name": name, "resourceVersion": version},
            "spec": {"class": "Cloud", "region": "eu", "payoutAddress": format!("0x{}", "1".repeat(40))},
            "status": {"unitPriceMicro": price, "hosts": [host("h1"), host("h2")]},
        });
        Arc::new(serde_json::from_value(provider).unwrap())
    }

    fn free(market: &Market) -> Vec<(&str, u32)> {
        market
            .iter()
            .map(|offer| (offer.node.as_str(), offer.gpus_free))
            .collect()
    }

    #[test]
    fn only_what_changed_is_made_anew() {
        let (keeper, held) = (MarketKeeper::default(), Held::default());
        let both = vec![provider("b", "1", 2, 2), provider("a", "1", 1, 2)];
        let first = keeper.current(|| both.clone(), &held);
        let nodes = ["spillway-a-h1", "spillway-a-h2", "spillway-b-h1", "spillway-b-h2"];
        assert_eq!(free(&first), nodes.map(|node| (node, 2)));
        assert_eq!(first.get("spillway-b-h1").map(|offer| offer.price.0), Some(2));
        assert_eq!(first.position("elsewhere"), None);

        held.note(&Event::Apply(assignment_in(
            "spillway-provider-a",
            "x",
            "h2",
            1,
            "Running",
        )));
        let not_asked = || panic!("no provider changed");
        let second = keeper.current(not_asked, &held);
        assert_eq!(free(&second)[1], ("spillway-a-h2", 1));
        assert_eq!(
            free(&first)[1],
            ("spillway-a-h2", 2),
            "a market that was given out stays"
        );
        assert_eq!(first.layout(), second.layout());

        keeper.providers_changed();
        let dearer = vec![provider("a", "2", 9, 3), provider("b", "1", 77, 9)];
        let third = keeper.current(|| dearer, &held);
        assert_ne!(second.layout(), third.layout());
        assert_eq!(
            free(&third)[1],
            ("spillway-a-h2", 2),
            "held GPUs outlive a change of facts"
        );
        assert_eq!(third[0].price.0, 9);
        assert_eq!(third[2].price.0, 2, "an object of the same version is not read again");
    }
}
