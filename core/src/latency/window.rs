//! Median, 95th percentile and jitter of the last round trips: pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::LatencyMicros;

const LENGTH: usize = 64;

/// What a window says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    pub latency: LatencyMicros,
    /// Smallest round trip of the window, in microseconds.
    pub least: u64,
    pub samples: u32,
}

/// The last 64 round trips, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Window {
    micros: VecDeque<u64>,
}

impl Window {
    pub fn push(&mut self, round_trip: Duration) {
        if self.micros.len() == LENGTH {
            self.micros.pop_front();
        }
        self.micros
            .push_back(u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn clear(&mut self) {
        self.micros.clear();
    }

    /// `None` before the first round trip.
    pub fn measured(&self) -> Option<Measured> {
        let mut sorted: Vec<u64> = self.micros.iter().copied().collect();
        sorted.sort_unstable();
        Some(Measured {
            latency: LatencyMicros {
                median: nearest_rank(&sorted, 50)?,
                p95: nearest_rank(&sorted, 95)?,
                jitter: self.jitter(),
            },
            least: *sorted.first()?,
            samples: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
        })
    }

    /// Mean difference between neighbours; 0 for a single round trip.
    fn jitter(&self) -> u64 {
        let steps = self.micros.iter().zip(self.micros.iter().skip(1));
        let sum: u128 = steps.map(|(one, next)| u128::from(one.abs_diff(*next))).sum();
        let count = self.micros.len().saturating_sub(1).max(1);
        u64::try_from(sum / count as u128).unwrap_or(u64::MAX)
    }
}

/// The smallest value that at least `percent` of all values do not exceed.
fn nearest_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(micros: impl IntoIterator<Item = u64>) -> Window {
        let mut window = Window::default();
        micros
            .into_iter()
            .for_each(|micros| window.push(Duration::from_micros(micros)));
        window
    }

    fn summary(micros: impl IntoIterator<Item = u64>) -> (u64, u64, u64, u64, u32) {
        let Measured {
            latency,
            least,
            samples,
        } = window(micros).measured().unwrap();
        (latency.median, latency.p95, latency.jitter, least, samples)
    }

    #[test]
    fn an_empty_window_knows_nothing() {
        assert_eq!(Window::default().measured(), None);
        let mut cleared = window([7]);
        cleared.clear();
        assert_eq!(cleared.measured(), None);
    }

    #[test]
    fn nearest_ranks_and_jitter_of_a_known_window() {
        assert_eq!(summary(1..=20), (10, 19, 1, 1, 20));
        assert_eq!(summary([7]), (7, 7, 0, 7, 1));
        assert_eq!(summary([10, 40, 10, 40]), (10, 40, 30, 10, 4));
        assert_eq!(summary([0, u64::MAX, 0]), (0, u64::MAX, u64::MAX, 0, 3));
    }

    #[test]
    fn forgets_what_is_older_than_64_round_trips() {
        let micros = std::iter::repeat_n(1_000_000, 10).chain(std::iter::repeat_n(5, 64));
        assert_eq!(summary(micros), (5, 5, 0, 5, 64));
    }

    proptest! {
        #[test]
        fn median_and_p95_are_ordered_samples(micros in proptest::collection::vec(0u64..1_000_000, 1..100)) {
            let (median, p95, jitter, least, _) = summary(micros.clone());
            prop_assert!(least <= median && median <= p95);
            prop_assert!(micros.contains(&median) && micros.contains(&p95));
            let widest = micros.iter().max().unwrap() - micros.iter().min().unwrap();
            prop_assert!(jitter <= widest);
        }
    }
}
