//! Reputation that anyone can recompute from settled checks.
//!
//! After `accepted` and `rejected` checks the posterior of a provider's honesty, from the uniform prior Beta(1, 1), is
//! Beta(accepted + 1, rejected + 1). The score is its 5 % quantile: the share of good results that the record supports
//! with 95 % confidence. One accepted check gives 0.22, ten give 0.76, a hundred 0.97; one rejection among a hundred
//! costs 0.02, alone it leaves 0.025. Without checks nothing is known.

mod beta;

use crate::knowledge::Knowledge;

const LOWER_QUANTILE: f64 = 0.05;
/// Longer records are scaled to this length, ratio kept: the bound stays on the safe side and cheap to compute.
const MOST_CHECKS: f64 = 100_000.0;

/// The record of a provider with at least one check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reputation {
    accepted: u64,
    rejected: u64,
    lower_bound: f64,
}

impl Reputation {
    /// Reads a record; `Unknown` without a check.
    pub fn of(accepted: u64, rejected: u64) -> Knowledge<Self> {
        if accepted == 0 && rejected == 0 {
            return Knowledge::Unknown;
        }
        let lower_bound = lower_bound(accepted, rejected);
        Knowledge::Known(Self { accepted, rejected, lower_bound })
    }

    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// 5 % quantile of the posterior, in [0, 1].
    pub fn lower_bound(&self) -> f64 {
        self.lower_bound
    }
}

fn lower_bound(accepted: u64, rejected: u64) -> f64 {
    let (accepted, rejected) = (accepted as f64, rejected as f64);
    let scale = (MOST_CHECKS / (accepted + rejected)).min(1.0);
    beta::quantile(LOWER_QUANTILE, accepted * scale + 1.0, rejected * scale + 1.0)
}
