//! Median and 95th percentile of the last round trips: pure.

use std::collections::VecDeque;
use std::time::Duration;

const LENGTH: usize = 64;

/// Of a window; microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub median_micros: u64,
    pub p95_micros: u64,
    pub samples: u32,
}

/// The last 64 round trips.
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

    /// `None` before the first round trip.
    pub fn latency(&self) -> Option<Latency> {
        let mut sorted: Vec<u64> = self.micros.iter().copied().collect();
        sorted.sort_unstable();
        Some(Latency {
            median_micros: nearest_rank(&sorted, 50)?,
            p95_micros: nearest_rank(&sorted, 95)?,
            samples: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
        })
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

    #[test]
    fn an_empty_window_knows_nothing() {
        assert_eq!(Window::default().latency(), None);
    }

    #[test]
    fn nearest_ranks_of_a_known_window() {
        let latency = window(1..=20).latency().unwrap();
        assert_eq!(
            latency,
            Latency {
                median_micros: 10,
                p95_micros: 19,
                samples: 20
            }
        );
        assert_eq!(
            window([7]).latency(),
            Some(Latency {
                median_micros: 7,
                p95_micros: 7,
                samples: 1
            })
        );
    }

    #[test]
    fn forgets_what_is_older_than_64_beats() {
        let latency = window(std::iter::repeat_n(1_000_000, 10).chain(std::iter::repeat_n(5, 64)))
            .latency()
            .unwrap();
        assert_eq!(
            latency,
            Latency {
                median_micros: 5,
                p95_micros: 5,
                samples: 64
            }
        );
    }

    proptest! {
        #[test]
        fn median_and_p95_are_ordered_samples(micros in proptest::collection::vec(0u64..1_000_000, 1..100)) {
            let latency = window(micros.clone()).latency().unwrap();
            prop_assert!(latency.median_micros <= latency.p95_micros);
            prop_assert!(micros.contains(&latency.median_micros) && micros.contains(&latency.p95_micros));
        }
    }
}
