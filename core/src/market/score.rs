//! How good a fitting offer is: three terms in [0, 1], weighted by the placement policy.
//!
//! | term | formula | 1 | 0 | unknown |
//! |---|---|---|---|---|
//! | price | 1 − price / cap | free | at the job's cap | never: an offer has a price |
//! | latency | 50 ms / (50 ms + p95) | no delay | endless | 0.25, as if p95 were 150 ms |
//! | reputation | lower 5 % bound of the Beta posterior ([`crate::reputation`]) | | | 0.05, the bound before any check |
//!
//! score = Σ weight × term, weights sum to 1. The terms of an offer depend on that offer and the job alone, so
//! placement, extender and `plan` agree whatever set of offers each of them looks at.
//!
//! Unknown has a utility, neutral to pessimistic, so that an offer can be ranked; it is not a fact: every report says
//! `unknown`, and a bound on latency excludes it.

use crate::knowledge::Knowledge;
use crate::market::{LatencyMicros, Offer, Requirement};
use crate::money::UnitPrice;
use crate::reputation::Reputation;

/// p95 round trip at which the latency term is one half.
const HALF_LATENCY_MICROS: f64 = 50_000.0;
/// Utility of a latency that nobody measured.
pub const UNKNOWN_LATENCY_TERM: f64 = 0.25;
/// Utility of a reputation without checks.
pub const UNKNOWN_REPUTATION_TERM: f64 = 0.05;

/// What matters most among the offers that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    Cost,
    Latency,
    #[default]
    Balanced,
}

/// Weights of the three terms; they sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    price: f64,
    latency: f64,
    reputation: f64,
}

impl Weights {
    pub const fn of(policy: Policy) -> Self {
        match policy {
            Policy::Cost => Self {
                price: 0.80,
                latency: 0.05,
                reputation: 0.15,
            },
            Policy::Latency => Self {
                price: 0.15,
                latency: 0.70,
                reputation: 0.15,
            },
            Policy::Balanced => Self {
                price: 0.40,
                latency: 0.30,
                reputation: 0.30,
            },
        }
    }
}

impl From<Policy> for Weights {
    fn from(policy: Policy) -> Self {
        Self::of(policy)
    }
}

/// Each in [0, 1], more is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub price: f64,
    pub latency: f64,
    pub reputation: f64,
}

impl Terms {
    pub fn of(requirement: &Requirement, offer: &Offer) -> Self {
        Self {
            price: price_term(offer.price, requirement.max_price),
            latency: latency_term(offer.latency),
            reputation: reputation_term(offer.reputation),
        }
    }

    /// Weighted sum, in [0, 1].
    pub fn weighted(&self, weights: &Weights) -> f64 {
        let sum = weights.price * self.price + weights.latency * self.latency + weights.reputation * self.reputation;
        sum.clamp(0.0, 1.0)
    }
}

/// Score of an offer, in [0, 1]. Says nothing about whether it fits: ask [`crate::market::exclude`] first.
pub fn score(requirement: &Requirement, weights: &Weights, offer: &Offer) -> f64 {
    Terms::of(requirement, offer).weighted(weights)
}

fn price_term(price: UnitPrice, cap: UnitPrice) -> f64 {
    match (price.0, cap.0) {
        (0, _) => 1.0,
        (price, cap) if price >= cap => 0.0,
        (price, cap) => 1.0 - price as f64 / cap as f64,
    }
}

fn latency_term(latency: Knowledge<LatencyMicros>) -> f64 {
    match latency {
        Knowledge::Known(latency) => HALF_LATENCY_MICROS / (HALF_LATENCY_MICROS + latency.p95 as f64),
        Knowledge::Unknown => UNKNOWN_LATENCY_TERM,
    }
}

fn reputation_term(reputation: Knowledge<Reputation>) -> f64 {
    reputation
        .known()
        .map_or(UNKNOWN_REPUTATION_TERM, |reputation| reputation.lower_bound())
}
