//! When a new latency claim is worth a write: pure.

use jiff::{SignedDuration, Timestamp};
use spillway_crds::{LatencyClaim, Time};

use crate::heartbeat::Latency;

/// Fewer round trips say little: the first one contains the connection's set-up.
const FEWEST_SAMPLES: u32 = 3;
/// Before it, only a big change is told.
const QUIET: SignedDuration = SignedDuration::from_secs(60);
/// After it, an unchanged claim is told again, so that readers see it is alive.
const REFRESH: SignedDuration = SignedDuration::from_mins(5);
/// Differences below it are noise of any network.
const NOISE_MICROS: u64 = 1_000;

/// The claim to publish: the previous one unless it is old or wrong enough.
pub(super) fn claim(
    previous: Option<&LatencyClaim>,
    measured: Option<Latency>,
    now: Timestamp,
) -> Option<LatencyClaim> {
    let Some(measured) = measured.filter(|measured| measured.samples >= FEWEST_SAMPLES) else {
        return previous.cloned();
    };
    match previous {
        Some(previous) if !is_due(previous, measured, now) => Some(previous.clone()),
        _ => Some(LatencyClaim {
            median_micros: measured.median_micros,
            p95_micros: measured.p95_micros,
            samples: measured.samples,
            measured_at: Time(now),
        }),
    }
}

fn is_due(previous: &LatencyClaim, measured: Latency, now: Timestamp) -> bool {
    let age = now.duration_since(previous.measured_at.0);
    let pairs = [
        (previous.median_micros, measured.median_micros),
        (previous.p95_micros, measured.p95_micros),
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
    use super::*;

    fn measured(median: u64, samples: u32) -> Option<Latency> {
        Some(Latency {
            median_micros: median,
            p95_micros: median * 2,
            samples,
        })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn told(median: u64) -> LatencyClaim {
        claim(None, measured(median, 64), at(0)).unwrap()
    }

    #[test]
    fn nothing_is_claimed_before_it_was_measured() {
        assert_eq!(claim(None, None, at(0)), None);
        assert_eq!(claim(None, measured(4_000, 2), at(0)), None);
        assert_eq!(told(4_000).median_micros, 4_000);
    }

    #[test]
    fn a_restart_keeps_the_claim_until_the_window_fills() {
        assert_eq!(
            claim(Some(&told(4_000)), measured(90_000, 1), at(600)),
            Some(told(4_000))
        );
    }

    #[test]
    fn small_moves_wait_a_minute_and_noise_waits_for_the_refresh() {
        let previous = told(10_000);
        let next = |median, seconds| {
            claim(Some(&previous), measured(median, 64), at(seconds))
                .unwrap()
                .median_micros
        };
        assert_eq!(next(14_000, 59), 10_000);
        assert_eq!(next(14_000, 60), 14_000);
        assert_eq!(next(10_400, 299), 10_000);
        assert_eq!(next(10_400, 300), 10_400);
        assert_eq!(next(40_000, 5), 40_000);
    }

    #[test]
    fn sub_millisecond_networks_are_quiet() {
        let next = claim(Some(&told(200)), measured(600, 64), at(120)).unwrap();
        assert_eq!(next, told(200));
    }
}
