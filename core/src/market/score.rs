//! How good a fitting offer is: three terms in [0, 1], weighted by the placement policy.
//!
//! | term | formula | 1 | 0 | unknown |
//! |---|---|---|---|---|
//! | price | 1 USD / (1 USD + effective price per GPU-hour) | free | endless | never: an offer has a price |
//! | latency, to the job's location | 50 ms / (50 ms + p95) | no delay | endless | 0.25, as if p95 were 150 ms |
//! | reputation | lower 5 % bound of the Beta posterior ([`crate::reputation`]) | | | 0.05, the bound before any check |
//!
//! score = Σ weight × term, weights sum to 1. The terms of an offer depend on that offer and the job alone, so
//! placement, extender and `plan` agree whatever set of offers each of them looks at. The price term does not look at
//! the job's cap: with a generous cap as yardstick every offer would look cheap. The effective price
//! ([`Offer::effective_price`]) counts the paid start of an elastic host.
//!
//! An owner whom nobody checked would never be chosen while others have a record. So one Work attempt in
//! [`EXPLORATION_ONE_IN`] explores ([`explores`]): its reputation term is min(1, mean + 2 standard deviations) of the
//! posterior, which is 1 for every record that does not speak against its owner, the empty one included.
//!
//! Unknown has a utility, neutral to pessimistic, so that an offer can be ranked; it is not a fact: every report says
//! `unknown`, and a bound on latency excludes it.

use sha2::{Digest, Sha256};

use crate::knowledge::Knowledge;
use crate::market::{LatencyMicros, Offer, Requirement};
use crate::money::UnitPrice;
use crate::reputation::Reputation;

/// p95 round trip at which the latency term is one half.
const HALF_LATENCY_MICROS: f64 = 50_000.0;
/// Price per GPU-hour at which the price term is one half.
const HALF_PRICE_MICRO_USD: f64 = 1_000_000.0;
/// Utility of a latency that nobody measured.
pub const UNKNOWN_LATENCY_TERM: f64 = 0.25;
/// Utility of a reputation without checks.
pub const UNKNOWN_REPUTATION_TERM: f64 = 0.05;

/// Of so many Work attempts one explores.
pub const EXPLORATION_ONE_IN: u8 = 16;

/// Whether a Work attempt explores: drawn by a hash, so that everyone who asks gets the same answer.
pub fn explores(job_uid: &str, shard: u32, attempt: u16) -> bool {
    let digest = Sha256::digest(format!("explore/{job_uid}/{shard}/{attempt}"));
    digest[0] % EXPLORATION_ONE_IN == 0
}

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
    /// Records that do not speak against their owner count in full.
    explores: bool,
}

impl Weights {
    pub const fn of(policy: Policy) -> Self {
        match policy {
            Policy::Cost => Self {
                price: 0.94,
                latency: 0.01,
                reputation: 0.05,
                explores: false,
            },
            Policy::Latency => Self {
                price: 0.15,
                latency: 0.70,
                reputation: 0.15,
                explores: false,
            },
            Policy::Balanced => Self {
                price: 0.40,
                latency: 0.30,
                reputation: 0.30,
                explores: false,
            },
        }
    }
}

impl Weights {
    /// Weights in the given proportions; `None` when all are 0.
    pub fn relative(price: u32, latency: u32, reputation: u32) -> Option<Self> {
        let [price, latency, reputation] = [price, latency, reputation].map(f64::from);
        let sum = price + latency + reputation;
        (sum > 0.0).then(|| Self {
            price: price / sum,
            latency: latency / sum,
            reputation: reputation / sum,
            explores: false,
        })
    }

    /// The same weights for one Work attempt, which may explore.
    pub fn for_attempt(self, job_uid: &str, shard: u32, attempt: u16) -> Self {
        Self {
            explores: explores(job_uid, shard, attempt),
            ..self
        }
    }

    /// Whether they rank as exploring attempts do.
    pub fn explore(&self) -> bool {
        self.explores
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
    pub fn of(requirement: &Requirement, weights: &Weights, offer: &Offer) -> Self {
        let reputation = if weights.explores {
            offer
                .reputation
                .known()
                .map_or(1.0, |reputation| reputation.optimistic())
        } else {
            reputation_term(offer.reputation)
        };
        Self {
            price: price_term(offer.effective_price(requirement.work_time)),
            latency: latency_term(offer.latencies.to(&requirement.latency_to)),
            reputation,
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
    Terms::of(requirement, weights, offer).weighted(weights)
}

fn price_term(price: UnitPrice) -> f64 {
    HALF_PRICE_MICRO_USD / (HALF_PRICE_MICRO_USD + price.0 as f64)
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
