//! `/prioritize`: the order of the given nodes. The contract has eleven scores only, so the place counts, not the
//! distance: best 10, next 9, … and 0 from the eleventh on.

use std::collections::HashMap;
use std::sync::Arc;

use spillway_core::market::{Offer, best_offers_first, exclude};

use crate::attempt::{Asked, Unjudged, asked};
use crate::snapshot::Snapshot;
use crate::wire::{Args, HostPriority, Text};

const BEST_SCORE: i64 = 10;

/// One score per given node, in the given order; 0 for a node that does not fit.
///
/// # Errors
/// [`Unjudged`] as for `/filter`.
pub fn prioritize<'a>(snapshot: &Snapshot, args: &'a Args<'_>) -> Result<Vec<HostPriority<'a>>, Unjudged> {
    let nodes = args.node_names.as_deref().unwrap_or_default();
    let scores = best_scores(snapshot, &asked(snapshot, &args.pod)?, nodes);
    let score = |node: &'a str| HostPriority {
        host: node,
        score: scores.get(node).copied().unwrap_or(0),
    };
    Ok(nodes.iter().map(|node| score(node.as_str())).collect())
}

/// The nodes with a score above 0.
fn best_scores<'s>(snapshot: &'s Snapshot, asked: &Asked<'_>, nodes: &[Text<'_>]) -> HashMap<&'s str, i64> {
    let offers = nodes
        .iter()
        .filter_map(|node| snapshot.offers.get(node.as_str()))
        .map(Arc::as_ref);
    let fitting = offers.filter(|offer| exclude(&asked.requirement, offer).is_none());
    let ordered: Vec<&Offer> = best_offers_first(&asked.requirement, &asked.weights, fitting);
    ordered
        .into_iter()
        .map(|offer| offer.node.as_str())
        .zip((1..=BEST_SCORE).rev())
        .collect()
}
