//! The nodes of one request, each once: what the market offers there, and names that nobody offers.
//!
//! kube-scheduler sends no name twice. A client that does must not give a node two places in the order, or two scores,
//! which kube-scheduler would add up.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use spillway_core::market::Offer;

use crate::snapshot::Snapshot;
use crate::wire::Text;

/// One node of a request; `None` for a name that nobody offers.
pub type Given<'s, 'a> = (&'a str, Option<&'s Offer>);

/// The given nodes in the given order, without repetitions.
pub fn given<'s, 'a>(snapshot: &'s Snapshot, names: &'a [Text<'_>]) -> Vec<Given<'s, 'a>> {
    let mut seen = vec![false; snapshot.offers.len()];
    let mut strangers = HashSet::with_hasher(RandomState::default());
    let once = names.iter().map(Text::as_str).filter_map(|name| {
        let found = snapshot.offers.numbered(name);
        let is_new = match found {
            Some((number, _)) => seen.get_mut(number).is_some_and(|seen| !std::mem::replace(seen, true)),
            None => strangers.insert(name),
        };
        is_new.then_some((name, found.map(|(_, offer)| offer)))
    });
    let mut nodes = Vec::with_capacity(names.len());
    nodes.extend(once);
    nodes
}
