//! All offers of one snapshot, found by virtual node: looked up thousands of times per request.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use spillway_core::market::Offer;

#[derive(Clone, Debug, Default)]
pub struct Offers {
    places: HashMap<ByNode, u32, RandomState>,
}

/// An offer that is known by its node, so that names need not be kept twice.
#[derive(Clone, Debug)]
struct ByNode(Arc<Offer>);

impl Borrow<str> for ByNode {
    fn borrow(&self) -> &str {
        &self.0.node
    }
}

impl PartialEq for ByNode {
    fn eq(&self, other: &Self) -> bool {
        self.0.node == other.0.node
    }
}

impl Eq for ByNode {}

impl Hash for ByNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.node.as_str().hash(state);
    }
}

impl Offers {
    /// The offer of a node, with a number below [`Offers::len`] that no other offer has.
    pub fn numbered(&self, node: &str) -> Option<(usize, &Offer)> {
        let (offer, number) = self.places.get_key_value(node)?;
        Some((*number as usize, &offer.0))
    }

    pub fn get(&self, node: &str) -> Option<&Offer> {
        self.numbered(node).map(|(_, offer)| offer)
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn values(&self) -> impl Iterator<Item = &Offer> {
        self.places.keys().map(|offer| offer.0.as_ref())
    }
}

impl FromIterator<Arc<Offer>> for Offers {
    fn from_iter<I: IntoIterator<Item = Arc<Offer>>>(offers: I) -> Self {
        let offers = offers.into_iter();
        let mut places = HashMap::with_capacity_and_hasher(offers.size_hint().0, RandomState::default());
        for offer in offers {
            // Two offers of one node would be a fault of the hub; the first one stays, and numbers have no gap.
            let number = u32::try_from(places.len()).unwrap_or(u32::MAX);
            places.entry(ByNode(offer)).or_insert(number);
        }
        Self { places }
    }
}
