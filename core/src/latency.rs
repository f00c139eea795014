//! Round trips: how they are summed up, and when what somebody claims about them becomes a fact.
//!
//! In: measured times, claims, what the other end saw. Out: [`LatencyMicros`], a [`Verdict`] per claim. A figure that
//! nobody could check, or that is older than [`LIFETIME`], is unknown, never zero.

mod check;
mod window;

use std::time::Duration;

pub use check::{Dispute, Evidence, Verdict, check_hub, check_target};
pub use window::{Measured, Window};

/// The location that every agent measures: the hub's API server.
pub const HUB: &str = "hub";
/// A figure that was not confirmed again for this long is unknown. Agents repeat an unchanged claim every 5 min.
pub const LIFETIME: Duration = Duration::from_mins(15);

/// Round trip to a named location, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyMicros {
    pub median: u64,
    pub p95: u64,
    /// Mean difference between one round trip and the next (RFC 3393's variation, without its sign).
    pub jitter: u64,
}

/// The lower median of several figures for one location: no single probe target can move it past its neighbours.
pub fn lower_median<T>(mut figures: Vec<T>, median_micros: impl Fn(&T) -> u64) -> Option<T> {
    figures.sort_by_key(median_micros);
    let middle = figures.len().checked_sub(1)? / 2;
    Some(figures.swap_remove(middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_liar_among_three_does_not_move_the_figure_of_a_location() {
        let figure = |figures: &[u64]| lower_median(figures.to_vec(), |micros| *micros);
        assert_eq!(figure(&[]), None);
        assert_eq!(figure(&[7]), Some(7));
        assert_eq!(figure(&[900_000, 7]), Some(7));
        assert_eq!(figure(&[900_000, 7, 8]), Some(8));
        assert_eq!(figure(&[0, 7, 8]), Some(7));
    }
}
