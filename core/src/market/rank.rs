//! All offers against one requirement: who fits, in which order, and why the others do not.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::knowledge::Knowledge;
use crate::market::{Exclusion, LatencyMicros, Offer, Requirement, Terms, Weights, exclude, score};
use crate::money::UnitPrice;
use crate::reputation::Reputation;

/// An offer that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub node: String,
    pub provider: String,
    pub host: String,
    pub price: UnitPrice,
    /// With the paid start of an elastic host.
    pub effective_price: UnitPrice,
    pub revision: u64,
    /// To the location that the job names.
    pub latency: Knowledge<LatencyMicros>,
    pub reputation: Knowledge<Reputation>,
    pub terms: Terms,
    /// In [0, 1], more is better.
    pub score: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// Best first; equal scores by effective price, then by node name.
    pub candidates: Vec<Candidate>,
    /// Offers per reason.
    pub excluded: BTreeMap<Exclusion, u32>,
    /// Offers looked at.
    pub offers: u32,
}

/// Ranks `offers`: a pure function, independent of the order in which they are given.
pub fn rank(requirement: &Requirement, weights: &Weights, offers: &[Offer]) -> Ranking {
    let mut ranking = Ranking {
        offers: u32::try_from(offers.len()).unwrap_or(u32::MAX),
        ..Ranking::default()
    };
    for offer in offers {
        match exclude(requirement, offer) {
            Some(exclusion) => *ranking.excluded.entry(exclusion).or_default() += 1,
            None => ranking.candidates.push(Candidate::new(requirement, weights, offer)),
        }
    }
    ranking
        .candidates
        .sort_by(|left, right| best_first(left.standing(), right.standing()));
    ranking
}

/// The first `most` of the offers in the order of [`rank`], without asking whether they fit and without copying them.
pub fn best_offers_first<'a>(
    requirement: &Requirement,
    weights: &Weights,
    offers: impl IntoIterator<Item = &'a Offer>,
    most: usize,
) -> Vec<&'a Offer> {
    let scored = offers
        .into_iter()
        .map(|offer| (score(requirement, weights, offer), offer));
    let mut scored: Vec<(f64, &Offer)> = scored.collect();
    let standing = |(score, offer): &(f64, &'a Offer)| {
        (
            *score,
            offer.effective_price(requirement.work_time),
            offer.node.as_str(),
        )
    };
    let order = |left: &_, right: &_| best_first(standing(left), standing(right));
    // Of thousands only the first few are asked for: those are found in linear time, then sorted.
    if most < scored.len() {
        scored.select_nth_unstable_by(most, order);
        scored.truncate(most);
    }
    scored.sort_unstable_by(order);
    scored.into_iter().map(|(_, offer)| offer).collect()
}

/// Score, effective price and node name: all that the order depends on.
pub(super) type Standing<'a> = (f64, UnitPrice, &'a str);

pub(super) fn best_first(left: Standing<'_>, right: Standing<'_>) -> Ordering {
    right
        .0
        .total_cmp(&left.0)
        .then_with(|| left.1.cmp(&right.1))
        .then_with(|| left.2.cmp(right.2))
}

impl Candidate {
    fn new(requirement: &Requirement, weights: &Weights, offer: &Offer) -> Self {
        let terms = Terms::of(requirement, weights, offer);
        Self {
            node: offer.node.clone(),
            provider: offer.provider.clone(),
            host: offer.host.clone(),
            price: offer.price,
            effective_price: offer.effective_price(requirement.work_time),
            revision: offer.revision,
            latency: offer.latencies.to(&requirement.latency_to),
            reputation: offer.reputation,
            terms,
            score: terms.weighted(weights),
        }
    }

    fn standing(&self) -> Standing<'_> {
        (self.score, self.effective_price, &self.node)
    }
}

impl Ranking {
    /// The dearest of the first `count` candidates: what an attempt pinned to them may cost per GPU-hour.
    pub fn dearest(&self, count: usize) -> Option<UnitPrice> {
        self.candidates
            .iter()
            .take(count)
            .map(|candidate| candidate.price)
            .max()
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
