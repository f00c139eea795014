//! When a new latency claim is worth a write: pure.

use jiff::{SignedDuration, Timestamp};
use spillway_core::latency::Measured;
use spillway_crds::{LatencyClaim, Time};

/// Fewer round trips say little: the first one contains the connection's set-up.
const FEWEST_SAMPLES: u32 = 3;
/// Before it, only a big change is told.
const QUIET: SignedDuration = SignedDuration::from_secs(60);
/// After it, an unchanged claim is told again, so that readers see it is alive.
const REFRESH: SignedDuration = SignedDuration::from_mins(5);
/// Differences below it are noise of any network.
const NOISE_MICROS: u64 = 1_000;

/// What was measured to one location, or one of its probe targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) to: String,
    pub(super) target: Option<String>,
    pub(super) measured: Measured,
}

/// The claims to publish: of what is measured now, and of the hub's distance until the window fills after a restart. A
/// target that does not answer is not claimed.
pub(super) fn claims(previous: &[LatencyClaim], figures: &[Figure], now: Timestamp) -> Vec<LatencyClaim> {
    let claims = figures.iter().filter_map(|figure| {
        let told = previous
            .iter()
            .find(|claim| (&claim.to, &claim.target) == (&figure.to, &figure.target));
        claim(told, figure, now)
    });
    let mut claims: Vec<LatencyClaim> = claims.collect();
    if !figures.iter().any(|figure| figure.target.is_none()) {
        claims.extend(previous.iter().find(|claim| claim.target.is_none()).cloned());
    }
    claims.sort_by(|left, right| (&left.to, &left.target).cmp(&(&right.to, &right.target)));
    claims
}

/// The previous claim unless it is old or wrong enough.
fn claim(previous: Option<&LatencyClaim>, figure: &Figure, now: Timestamp) -> Option<LatencyClaim> {
    let measured = figure.measured;
    if measured.samples < FEWEST_SAMPLES {
        return previous.cloned();
    }
    match previous {
        Some(previous) if !is_due(previous, measured, now) => Some(previous.clone()),
        _ => Some(LatencyClaim {
            to: figure.to.clone(),
            target: figure.target.clone(),
            median_micros: measured.latency.median,
            p95_micros: measured.latency.p95,
            jitter_micros: measured.latency.jitter,
            samples: measured.samples,
            measured_at: Time(now),
        }),
    }
}

/// Jitter alone is never worth a write.
fn is_due(previous: &LatencyClaim, measured: Measured, now: Timestamp) -> bool {
    let age = now.duration_since(previous.measured_at.0);
    let pairs = [
        (previous.median_micros, measured.latency.median),
        (previous.p95_micros, measured.latency.p95),
    ];
    let differs = |percent: u64| pairs.iter().any(|(old, new)| moved(*old, *new, percent));
    age >= REFRESH || (age >= QUIET && differs(25)) || differs(100)
}

/// Whether the larger exceeds the smaller by more than `percent` and by more than noise.
fn moved(old: u64, new: u64, percent: u64) -> bool {
    let difference = old.abs_diff(new);
    difference > NOISE_MICROS && u128::from(difference) * 100 > u128::from(old.min(new)) * u128::from(percent)
}

#[cfg(test)]
mod tests {
    use spillway_core::latency::{HUB, LatencyMicros};

    use super::*;

    fn to(location: &str, target: Option<&str>, median: u64, samples: u32) -> Figure {
        let latency = LatencyMicros {
            median,
            p95: median * 2,
            jitter: median / 4,
        };
        Figure {
            to: location.to_owned(),
            target: target.map(str::to_owned),
            measured: Measured {
                latency,
                least: median,
                samples,
            },
        }
    }

    fn hub(median: u64, samples: u32) -> [Figure; 1] {
        [to(HUB, None, median, samples)]
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn told(median: u64) -> Vec<LatencyClaim> {
        claims(&[], &hub(median, 64), at(0))
    }

    #[test]
    fn nothing_is_claimed_before_it_was_measured() {
        assert_eq!(claims(&[], &[], at(0)), []);
        assert_eq!(claims(&[], &hub(4_000, 2), at(0)), []);
        let claim = told(4_000).remove(0);
        assert_eq!(
            (claim.median_micros, claim.p95_micros, claim.jitter_micros),
            (4_000, 8_000, 1_000)
        );
    }

    #[test]
    fn a_restart_keeps_the_claim_until_the_window_fills() {
        for figures in [Vec::new(), hub(90_000, 1).to_vec()] {
            assert_eq!(claims(&told(4_000), &figures, at(600)), told(4_000));
        }
    }

    #[test]
    fn a_target_that_no_longer_answers_is_claimed_no_more() {
        let paris = to("paris", Some("a:1"), 7_000, 64);
        let both = claims(&told(4_000), &[hub(4_000, 64)[0].clone(), paris], at(1));
        assert_eq!(
            both.iter().map(|claim| claim.to.as_str()).collect::<Vec<_>>(),
            ["hub", "paris"]
        );
        assert_eq!(claims(&both, &hub(4_000, 64), at(2)), told(4_000));
    }

    #[test]
    fn small_moves_wait_a_minute_and_noise_waits_for_the_refresh() {
        let previous = told(10_000);
        let next = |median, seconds| claims(&previous, &hub(median, 64), at(seconds))[0].median_micros;
        assert_eq!(next(14_000, 59), 10_000);
        assert_eq!(next(14_000, 60), 14_000);
        assert_eq!(next(10_400, 299), 10_000);
        assert_eq!(next(10_400, 300), 10_400);
        assert_eq!(next(40_000, 5), 40_000);
    }

    #[test]
    fn sub_millisecond_networks_are_quiet() {
        assert_eq!(claims(&told(200), &hub(600, 64), at(120)), told(200));
    }
}
