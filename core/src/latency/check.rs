//! Both ends of a path against each other: pure.
//!
//! What an agent says of its own distance is a claim. It becomes a fact when the other end saw nothing that
//! contradicts it. Only "nearer than it is" pays, so most checks look one way.

use std::fmt;

use crate::knowledge::Knowledge;

/// Figures of two ends agree when they differ by less than this …
const TOLERANCE_MICROS: u64 = 20_000;
/// … or by less than this part of the larger.
const TOLERANCE_DIVISOR: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Confirmed,
    Disputed(Dispute),
    /// The other end could not be asked: neither a fact nor a lie.
    Unchecked,
}

/// Why a claim is not believed; microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispute {
    /// Nearer to the hub than the hub's own pings.
    NearerThanPings { claimed: u64, pinged: u64 },
    /// Nearer to a target than the hub's distance to both of them allows.
    NearerThanPossible { claimed: u64, least: u64 },
    /// The target measured the same path.
    EndsDisagree { there: u64, back: u64 },
}

impl fmt::Display for Dispute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        match *self {
            Self::NearerThanPings { claimed, pinged } => write!(
                formatter,
                "the agent claims {:.1} ms, the hub's pings took at least {:.1} ms",
                ms(claimed),
                ms(pinged)
            ),
            Self::NearerThanPossible { claimed, least } => write!(
                formatter,
                "the agent claims {:.1} ms, by the hub's distance to both ends it is at least {:.1} ms",
                ms(claimed),
                ms(least)
            ),
            Self::EndsDisagree { there, back } => write!(
                formatter,
                "the agent measured {:.1} ms, the other end {:.1} ms",
                ms(there),
                ms(back)
            ),
        }
    }
}

/// What is known of a path to a probe target besides the claim; microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Least round trip of the hub's pings to the claimant.
    pub hub_to_claimant: Knowledge<u64>,
    /// Median of the hub's own round trips to the target.
    pub hub_to_target: Knowledge<u64>,
    /// Median that the provider at the target claims of the way back.
    pub way_back: Knowledge<u64>,
}

/// A claimed median to the hub against the least round trip of the hub's own pings. A ping cannot be answered before
/// it arrived, so nobody looks nearer than they are.
pub fn check_hub(claimed: u64, pinged: Knowledge<u64>) -> Verdict {
    match pinged {
        Knowledge::Unknown => Verdict::Unchecked,
        Knowledge::Known(pinged) if is_below(claimed, pinged) => {
            Verdict::Disputed(Dispute::NearerThanPings { claimed, pinged })
        }
        Knowledge::Known(_) => Verdict::Confirmed,
    }
}

/// A claimed median to a probe target. Round trips obey the triangle inequality closely enough: the claimant cannot be
/// nearer to the target than the difference of their distances to the hub.
pub fn check_target(claimed: u64, evidence: &Evidence) -> Verdict {
    if let Knowledge::Known(back) = evidence.way_back
        && (is_below(claimed, back) || is_below(back, claimed))
    {
        return Verdict::Disputed(Dispute::EndsDisagree { there: claimed, back });
    }
    let (Knowledge::Known(claimant), Knowledge::Known(target)) = (evidence.hub_to_claimant, evidence.hub_to_target)
    else {
        return Verdict::Unchecked;
    };
    let least = claimant.abs_diff(target);
    if is_below(claimed, least) {
        Verdict::Disputed(Dispute::NearerThanPossible { claimed, least })
    } else {
        Verdict::Confirmed
    }
}

/// Whether `less` is below `more` by more than measurement can explain.
fn is_below(less: u64, more: u64) -> bool {
    let tolerance = TOLERANCE_MICROS.max(more / TOLERANCE_DIVISOR);
    less.saturating_add(tolerance) < more
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(micros: u64) -> Knowledge<u64> {
        Knowledge::Known(micros)
    }

    #[test]
    fn a_claim_to_the_hub_stands_against_its_pings() {
        for (claimed, pinged, confirmed) in [
            (4_000, 6_000, true),
            (4_000, 24_000, true),
            (4_000, 24_001, false),
            // Farther than pinged harms only the claimant.
            (900_000, 6_000, true),
            (90_000, 110_000, true),
            (60_000, 110_000, false),
            (300_000, 400_000, true),
            (299_999, 400_000, false),
            (0, u64::MAX, false),
        ] {
            let verdict = check_hub(claimed, known(pinged));
            assert_eq!(
                verdict == Verdict::Confirmed,
                confirmed,
                "{claimed} {pinged}: {verdict:?}"
            );
        }
        assert_eq!(check_hub(0, Knowledge::Unknown), Verdict::Unchecked);
    }

    #[test]
    fn nobody_is_nearer_to_a_target_than_the_hub_s_distances_allow() {
        let evidence = |claimant, target| Evidence {
            hub_to_claimant: known(claimant),
            hub_to_target: known(target),
            way_back: Knowledge::Unknown,
        };
        // The claimant is 100 ms from the hub, the target 5 ms: at least 95 ms lie between them.
        let verdict = check_target(2_000, &evidence(100_000, 5_000));
        let dispute = Dispute::NearerThanPossible {
            claimed: 2_000,
            least: 95_000,
        };
        assert_eq!(verdict, Verdict::Disputed(dispute));
        assert_eq!(
            dispute.to_string(),
            "the agent claims 2.0 ms, by the hub's distance to both ends it is at least 95.0 ms"
        );
        assert_eq!(check_target(2_000, &evidence(5_000, 100_000)), verdict);
        assert_eq!(check_target(80_000, &evidence(100_000, 5_000)), Verdict::Confirmed);
        assert_eq!(check_target(2_000, &evidence(100_000, 100_000)), Verdict::Confirmed);
    }

    #[test]
    fn both_ends_of_a_path_must_agree() {
        let evidence = |back| Evidence {
            hub_to_claimant: known(50_000),
            hub_to_target: known(50_000),
            way_back: known(back),
        };
        assert_eq!(check_target(30_000, &evidence(45_000)), Verdict::Confirmed);
        for (there, back) in [(30_000, 60_000), (60_000, 30_000)] {
            let dispute = Dispute::EndsDisagree { there, back };
            assert_eq!(check_target(there, &evidence(back)), Verdict::Disputed(dispute));
        }
    }

    #[test]
    fn what_could_not_be_asked_confirms_nothing() {
        let nothing = Evidence::default();
        let half = Evidence {
            hub_to_claimant: known(1),
            ..nothing
        };
        // That the other end agrees is not enough: two providers may agree on a lie.
        let agreed = Evidence {
            way_back: known(30_000),
            ..nothing
        };
        for evidence in [nothing, half, agreed] {
            assert_eq!(check_target(30_000, &evidence), Verdict::Unchecked);
        }
    }

    proptest! {
        #[test]
        fn farther_is_never_less_believable(claimed: u64, more: u64, pinged: u64, target: u64) {
            let evidence = Evidence { hub_to_claimant: known(pinged), hub_to_target: known(target), way_back: Knowledge::Unknown };
            let farther = claimed.saturating_add(more);
            if check_hub(claimed, known(pinged)) == Verdict::Confirmed {
                prop_assert_eq!(check_hub(farther, known(pinged)), Verdict::Confirmed);
            }
            if check_target(claimed, &evidence) == Verdict::Confirmed {
                prop_assert_eq!(check_target(farther, &evidence), Verdict::Confirmed);
            }
        }
    }
}
