//! The market: offers of GPUs, what a job asks for, and which offer serves it best.
//!
//! One code for placement, the scheduler extender and `plan`. In: [`Offer`]s and a [`Requirement`] as plain values.
//! Out: an [`Exclusion`] for each offer that does not fit, a [`Ranking`] of those that do. Hard needs exclude, terms
//! only rank: no weight can make an offer eligible.

mod class;
mod compute_capability;
mod estimate;
mod exclusion;
mod explain;
mod offer;
mod rank;
mod relax;
mod requirement;
mod score;
mod share;
mod smallest_change;
#[cfg(test)]
mod tests;

pub use crate::latency::LatencyMicros;
pub use class::{DataClass, Isolation, ProviderClass};
pub use compute_capability::{ComputeCapability, ComputeCapabilityError};
pub use estimate::{Estimate, Expected, Limit, ShardTime, Workload, checked_part, estimate};
pub use exclusion::{Exclusion, exclude, exclusions};
pub use offer::{Latencies, Offer};
pub use rank::{Candidate, Ranking, best_offers_first, rank};
pub use relax::{Cap, Direction, Relaxation};
pub use requirement::Requirement;
pub use score::{
    EXPLORATION_ONE_IN, Policy, Terms, UNKNOWN_LATENCY_TERM, UNKNOWN_REPUTATION_TERM, Weights, explores, score,
};
pub use share::{Waiting, ranked_positions, shares};
pub use smallest_change::{Capacity, Need, SmallestChange, smallest_change};
