//! All offers against one requirement: who fits, in which order, and why the others do not.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::knowledge::Knowledge;
use crate::market::{Exclusion, LatencyMicros, Offer, Requirement, Terms, Weights, exclude};
use crate::money::UnitPrice;
use crate::reputation::Reputation;

/// An offer that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub node: String,
    pub provider: String,
    pub host: String,
    pub price: UnitPrice,
    pub revision: u64,
    pub latency: Knowledge<LatencyMicros>,
    pub reputation: Knowledge<Reputation>,
    pub terms: Terms,
    /// In [0, 1], more is better.
    pub score: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// Best first; equal scores by price, then by node name.
    pub candidates: Vec<Candidate>,
    /// Offers per reason.
    pub excluded: BTreeMap<Exclusion, u32>,
    /// Offers looked at.
    pub offers: u32,
}

/// Ranks `offers`: a pure function, independent of the order in which they are given.
pub fn rank(requirement: &Requirement, weights: &Weights, offers: &[Offer]) -> Ranking {
    let mut ranking = Ranking { offers: u32::try_from(offers.len()).unwrap_or(u32::MAX), ..Ranking::default() };
    for offer in offers {
        match exclude(requirement, offer) {
            Some(exclusion) => *ranking.excluded.entry(exclusion).or_default() += 1,
            None => ranking.candidates.push(Candidate::new(requirement, weights, offer)),
        }
    }
    ranking.candidates.sort_by(best_first);
    ranking
}

fn best_first(left: &Candidate, right: &Candidate) -> Ordering {
    let by_score = right.score.total_cmp(&left.score);
    by_score.then_with(|| left.price.cmp(&right.price)).then_with(|| left.node.cmp(&right.node))
}

impl Candidate {
    fn new(requirement: &Requirement, weights: &Weights, offer: &Offer) -> Self {
        let terms = Terms::of(requirement, offer);
        Self {
            node: offer.node.clone(),
            provider: offer.provider.clone(),
            host: offer.host.clone(),
            price: offer.price,
            revision: offer.revision,
            latency: offer.latency,
            reputation: offer.reputation,
            terms,
            score: terms.weighted(weights),
        }
    }
}

impl Ranking {
    /// The dearest of the first `count` candidates: what an attempt pinned to them may cost per GPU-hour.
    pub fn dearest(&self, count: usize) -> Option<UnitPrice> {
        self.candidates.iter().take(count).map(|candidate| candidate.price).max()
    }

    /// Counts per reason word, for `status.placement.excluded`.
    pub fn excluded_by_reason(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for (exclusion, count) in &self.excluded {
            *counts.entry(exclusion.reason().to_owned()).or_default() += count;
        }
        counts
    }
}
