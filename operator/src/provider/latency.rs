//! From claimed round trips to facts: each claim is held against what the other end saw. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use spillway_core::knowledge::Knowledge;
use spillway_core::latency::{Dispute, Evidence, HUB, LIFETIME, Verdict, check_hub, check_target, lower_median};
use spillway_crds::{LatencyClaim, LatencyFact, ProbeTarget};

/// An agent's clock may run ahead of ours by this much.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);

/// What is known of one provider's paths besides its claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Least round trip of the hub's pings to its agent, in microseconds.
    pub pinged: Knowledge<u64>,
    /// The targets that it is asked to measure.
    pub targets: Vec<Path>,
}

/// One probe target, seen by others than the claimant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub target: ProbeTarget,
    /// Median of the operator's own round trips, in microseconds.
    pub hub: Knowledge<u64>,
    /// Median that the provider at the target claims to the claimant's probe address.
    pub way_back: Knowledge<u64>,
}

/// Facts, and what kept other claims from becoming one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// One per location, by location.
    pub facts: Vec<LatencyFact>,
    pub disputes: Vec<(String, Dispute)>,
}

/// Judges all claims. A claim that could not be checked leaves the stored fact of its location until that is too old.
pub fn judge(claims: &[LatencyClaim], stored: &[LatencyFact], paths: &Paths, now: &Time) -> Judged {
    let mut confirmed = BTreeMap::<&str, Vec<&LatencyClaim>>::new();
    let mut disputes = Vec::new();
    for claim in claims.iter().filter(|claim| is_current(&claim.measured_at, now)) {
        match verdict(claim, paths) {
            Some(Verdict::Confirmed) => confirmed.entry(&claim.to).or_default().push(claim),
            Some(Verdict::Disputed(dispute)) => disputes.push((claim.to.clone(), dispute)),
            Some(Verdict::Unchecked) | None => {}
        }
    }
    let mut facts = BTreeMap::new();
    let disputed: BTreeSet<&str> = disputes.iter().map(|(to, _)| to.as_str()).collect();
    for fact in stored.iter().filter(|fact| is_current(&fact.measured_at, now)) {
        if !disputed.contains(fact.to.as_str()) {
            facts.insert(fact.to.clone(), fact.clone());
        }
    }
    for (to, claims) in confirmed {
        if let Some(claim) = lower_median(claims, |claim| claim.median_micros) {
            facts.insert(to.to_owned(), fact(claim));
        }
    }
    Judged {
        facts: facts.into_values().collect(),
        disputes,
    }
}

/// `None` for a claim to a place that nobody asked about.
fn verdict(claim: &LatencyClaim, paths: &Paths) -> Option<Verdict> {
    let Some(address) = &claim.target else {
        return (claim.to == HUB).then(|| check_hub(claim.median_micros, paths.pinged));
    };
    let asked = |path: &&Path| path.target.location == claim.to && path.target.address == *address;
    let path = paths.targets.iter().find(asked)?;
    let evidence = Evidence {
        hub_to_claimant: paths.pinged,
        hub_to_target: path.hub,
        way_back: path.way_back,
    };
    Some(check_target(claim.median_micros, &evidence))
}

/// Neither too old nor from the future.
fn is_current(measured_at: &Time, now: &Time) -> bool {
    let age = now.0.duration_since(measured_at.0);
    let lifetime = SignedDuration::try_from(LIFETIME).unwrap_or(SignedDuration::MAX);
    age <= lifetime && -age <= CLOCK_SKEW
}

fn fact(claim: &LatencyClaim) -> LatencyFact {
    LatencyFact {
        to: claim.to.clone(),
        target: claim.target.clone(),
        median_micros: claim.median_micros,
        p95_micros: claim.p95_micros,
        jitter_micros: claim.jitter_micros,
        samples: claim.samples,
        measured_at: claim.measured_at.clone(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(NOW + second).unwrap())
    }

    fn claim(to: &str, target: Option<&str>, milliseconds: u64, measured: i64) -> LatencyClaim {
        LatencyClaim {
            to: to.to_owned(),
            target: target.map(str::to_owned),
            median_micros: milliseconds * 1_000,
            p95_micros: milliseconds * 2_000,
            jitter_micros: 100,
            samples: 64,
            measured_at: at(measured),
        }
    }

    fn path(location: &str, address: &str, hub: Option<u64>, back: Option<u64>) -> Path {
        let micros = |milliseconds: Option<u64>| milliseconds.map(|value| value * 1_000).into();
        Path {
            target: ProbeTarget {
                location: location.to_owned(),
                address: address.to_owned(),
            },
            hub: micros(hub),
            way_back: micros(back),
        }
    }

    fn paths(pinged: Option<u64>, targets: Vec<Path>) -> Paths {
        Paths {
            pinged: pinged.map(|milliseconds| milliseconds * 1_000).into(),
            targets,
        }
    }

    fn known(judged: &Judged) -> Vec<(&str, u64)> {
        let facts = judged.facts.iter();
        facts
            .map(|fact| (fact.to.as_str(), fact.median_micros / 1_000))
            .collect()
    }

    #[test]
    fn a_claim_that_the_hub_s_pings_bear_out_is_a_fact() {
        let judged = judge(&[claim("hub", None, 40, -10)], &[], &paths(Some(45), vec![]), &at(0));
        assert_eq!((known(&judged), judged.disputes.len()), (vec![("hub", 40)], 0));
        assert_eq!(
            (judged.facts[0].p95_micros, judged.facts[0].jitter_micros),
            (80_000, 100)
        );
    }

    #[test]
    fn a_disputed_claim_is_unknown_and_takes_the_stored_fact_with_it() {
        let stored = judge(&[claim("hub", None, 100, -10)], &[], &paths(Some(100), vec![]), &at(0)).facts;
        let judged = judge(&[claim("hub", None, 5, -5)], &stored, &paths(Some(100), vec![]), &at(0));
        assert_eq!(known(&judged), []);
        let expected = Dispute::NearerThanPings {
            claimed: 5_000,
            pinged: 100_000,
        };
        assert_eq!(judged.disputes, [("hub".to_owned(), expected)]);
    }

    #[test]
    fn what_cannot_be_checked_confirms_nothing_and_takes_nothing_away() {
        let claims = [claim("hub", None, 40, -10)];
        assert_eq!(judge(&claims, &[], &paths(None, vec![]), &at(0)), Judged::default());
        let stored = judge(&claims, &[], &paths(Some(45), vec![]), &at(0)).facts;
        let later = [claim("hub", None, 60, 300)];
        // The operator has just started: it has not pinged yet.
        assert_eq!(
            known(&judge(&later, &stored, &paths(None, vec![]), &at(310))),
            [("hub", 40)]
        );
    }

    #[test]
    fn a_figure_that_is_too_old_or_from_the_future_is_unknown() {
        let pinged = paths(Some(45), vec![]);
        for (measured, expected) in [(-900, 1), (-901, 0), (60, 1), (61, 0)] {
            let judged = judge(&[claim("hub", None, 40, measured)], &[], &pinged, &at(0));
            assert_eq!(judged.facts.len(), expected, "measured at {measured}");
        }
        let stored = judge(&[claim("hub", None, 40, 0)], &[], &pinged, &at(0)).facts;
        assert_eq!(judge(&[], &stored, &pinged, &at(900)).facts, stored);
        assert_eq!(judge(&[], &stored, &pinged, &at(901)).facts, []);
    }

    #[test]
    fn a_location_has_the_lower_median_of_its_confirmed_targets() {
        let targets = |back| {
            let hub = Some(50);
            vec![
                path("eu", "a:1", hub, None),
                path("eu", "b:1", hub, back),
                path("eu", "c:1", hub, None),
                path("us", "d:1", None, None),
            ]
        };
        let claims = [
            claim("eu", Some("a:1"), 10, 0),
            claim("eu", Some("b:1"), 12, 0),
            claim("eu", Some("c:1"), 90, 0),
            // Nobody else has measured it.
            claim("us", Some("d:1"), 1, 0),
            // Nobody asked for it.
            claim("eu", Some("e:1"), 1, 0),
            claim("moon", None, 1, 0),
        ];
        let judged = judge(&claims, &[], &paths(Some(50), targets(Some(14))), &at(0));
        assert_eq!((known(&judged), judged.disputes.len()), (vec![("eu", 12)], 0));
        assert_eq!(judged.facts[0].target.as_deref(), Some("b:1"));
        // The owner at b:1 sees another distance: the others of the location remain.
        let judged = judge(&claims, &[], &paths(Some(50), targets(Some(80))), &at(0));
        assert_eq!(known(&judged), [("eu", 10)]);
        assert_eq!(judged.disputes.len(), 1);
    }
}
