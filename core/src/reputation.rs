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
        Knowledge::Known(Self {
            accepted,
            rejected,
            lower_bound,
        })
    }

    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// What the record does not rule out: min(1, mean + 2 standard deviations) of the posterior, in [0, 1].
    pub fn optimistic(&self) -> f64 {
        let (good, bad) = (self.accepted as f64 + 1.0, self.rejected as f64 + 1.0);
        let sum = good + bad;
        let mean = good / sum;
        let deviation = (mean * (bad / sum) / (sum + 1.0)).sqrt();
        (mean + 2.0 * deviation).min(1.0)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(accepted: u64, rejected: u64) -> f64 {
        Reputation::of(accepted, rejected).known().unwrap().lower_bound()
    }

    #[test]
    fn no_check_is_no_knowledge() {
        assert_eq!(Reputation::of(0, 0), Knowledge::Unknown);
        let one = Reputation::of(3, 1).known().unwrap();
        assert_eq!((one.accepted(), one.rejected()), (3, 1));
    }

    #[test]
    fn agrees_with_closed_forms() {
        // Beta(n + 1, 1) has quantile p^(1/(n+1)); Beta(1, n + 1) has 1 − (1 − p)^(1/(n+1)).
        for checks in [1_u64, 2, 10, 100, 1_000, 50_000] {
            let exponent = 1.0 / (checks as f64 + 1.0);
            let (all_good, all_bad) = (0.05_f64.powf(exponent), 1.0 - 0.95_f64.powf(exponent));
            assert!((bound(checks, 0) - all_good).abs() < 1e-9, "{checks}");
            assert!((bound(0, checks) - all_bad).abs() < 1e-9, "{checks}");
        }
    }

    #[test]
    fn agrees_with_published_values() {
        // Beta(2, 2): 3x² − 2x³ = 0.05. Beta(3, 2): 4x³ − 3x⁴ = 0.05.
        let (both, two_of_three) = (bound(1, 1), bound(2, 1));
        assert!((3.0 * both.powi(2) - 2.0 * both.powi(3) - 0.05).abs() < 1e-9);
        assert!((4.0 * two_of_three.powi(3) - 3.0 * two_of_three.powi(4) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn endless_records_stay_cheap_and_finite() {
        assert!(bound(u64::MAX, 0) > 0.9999);
        assert!(bound(0, u64::MAX) < 0.0001);
        assert!((bound(u64::MAX, u64::MAX) - 0.4974).abs() < 0.001);
    }

    proptest! {
        #[test]
        fn moves_with_the_record(accepted in 0..3_000_u64, rejected in 0..3_000_u64) {
            prop_assume!(accepted + rejected > 0);
            let now = bound(accepted, rejected);
            prop_assert!((0.0..=1.0).contains(&now));
            prop_assert!(bound(accepted + 1, rejected) > now);
            prop_assert!(bound(accepted, rejected + 1) < now);
        }

        #[test]
        fn optimism_moves_with_the_record(accepted in 0..3_000_u64, rejected in 0..3_000_u64) {
            prop_assume!(accepted + rejected > 0);
            let optimistic = |accepted, rejected| Reputation::of(accepted, rejected).known().unwrap().optimistic();
            let now = optimistic(accepted, rejected);
            prop_assert!((bound(accepted, rejected)..=1.0).contains(&now));
            prop_assert!(optimistic(accepted + 1, rejected) >= now);
            prop_assert!(optimistic(accepted, rejected + 1) <= now);
            prop_assert!(rejected > 0 || now >= 1.0);
        }

        #[test]
        fn stays_below_the_observed_share(accepted in 1..3_000_u64, rejected in 0..3_000_u64) {
            let share = (accepted as f64 + 1.0) / ((accepted + rejected) as f64 + 2.0);
            prop_assert!(bound(accepted, rejected) < share);
        }

        #[test]
        fn any_record_gives_a_number(accepted: u64, rejected: u64) {
            if let Knowledge::Known(reputation) = Reputation::of(accepted, rejected) {
                prop_assert!((0.0..=1.0).contains(&reputation.lower_bound()));
            }
        }
    }
}
