//! `/prioritize`: the order of the given nodes. The contract has eleven scores only, so the place counts, not the
//! distance: best 10, next 9, … and 0 from the eleventh on.

use spillway_core::market::{Offer, best_offers_first, exclude};

use crate::attempt::{Asked, Unjudged, asked};
use crate::given::{Given, given};
use crate::snapshot::Snapshot;
use crate::wire::{Args, HostPriority};

const BEST_SCORE: usize = 10;

/// One score per given node, in the given order; 0 for a node that does not fit.
///
/// # Errors
/// [`Unjudged`] as for `/filter`.
pub fn prioritize<'a>(snapshot: &Snapshot, args: &'a Args<'_>) -> Result<Vec<HostPriority<'a>>, Unjudged> {
    let asked = asked(snapshot, &args.pod)?;
    let nodes = given(snapshot, args.node_names.as_deref().unwrap_or_default());
    let best = best(&asked, &nodes);
    let score = |offer: Option<&Offer>| {
        let place = best
            .iter()
            .position(|best| offer.is_some_and(|offer| std::ptr::eq(*best, offer)));
        place.map_or(0, |place| BEST_SCORE - place)
    };
    let scored = nodes.into_iter().map(|(host, offer)| HostPriority {
        host,
        score: score(offer),
    });
    Ok(scored.collect())
}

/// The offers with a score above 0, best first.
fn best<'s>(asked: &Asked<'_>, nodes: &[Given<'s, '_>]) -> Vec<&'s Offer> {
    let offers = nodes.iter().filter_map(|(_, offer)| *offer);
    let fitting = offers.filter(|offer| exclude(&asked.requirement, offer).is_none());
    best_offers_first(&asked.requirement, &asked.weights, fitting, BEST_SCORE)
}
