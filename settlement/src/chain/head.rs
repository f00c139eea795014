//! The block at which one view is read: the highest that most endpoints have. It goes down only when nothing higher was
//! heard for a while: an endpoint behind a balancer may answer from a node that lags.

use std::time::{Duration, Instant};

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::B256;
use alloy::providers::{DynProvider, Provider};

use super::endpoint::AskError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub number: u64,
    pub hash: B256,
    /// Unix seconds.
    pub timestamp: u64,
}

/// Number, hash and time of a block.
pub(super) async fn block(provider: &DynProvider, number: BlockNumberOrTag) -> Result<Head, AskError> {
    let block = provider.get_block_by_number(number).await?;
    let header = block
        .ok_or_else(|| AskError::Malformed(format!("no block {number}")))?
        .header;
    Ok(Head {
        number: header.number,
        hash: header.hash,
        timestamp: header.timestamp,
    })
}

/// The highest height that more than half of `asked` endpoints have reached.
pub(super) fn common_height(mut heights: Vec<u64>, asked: usize) -> Option<u64> {
    heights.sort_unstable_by(|one, other| other.cmp(one));
    heights.get(asked / 2).copied()
}

/// Whether an endpoint's head is too old to ask it for anything: behind the newest head by more than `age_max`, or
/// behind the clock by as much. Zero means no limit.
pub(super) fn is_stale(head: &Head, newest: u64, clock: u64, age_max: Duration) -> bool {
    let age = newest.max(clock).saturating_sub(head.timestamp);
    !age_max.is_zero() && age > age_max.as_secs()
}

/// The height below which no head is believed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    height: u64,
    lower_since: Option<Instant>,
}

impl Floor {
    /// Whether a head of this height is believed: a higher one at once, a lower one after `lag` of nothing higher.
    pub(super) fn admits(&mut self, height: u64, now: Instant, lag: Duration) -> bool {
        if height < self.height {
            let since = *self.lower_since.get_or_insert(now);
            if now.saturating_duration_since(since) < lag {
                return false;
            }
        }
        *self = Self {
            height,
            lower_since: None,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_height_is_reached_by_most() {
        assert_eq!(common_height(vec![7], 1), Some(7));
        assert_eq!(common_height(vec![9, 7], 2), Some(7), "two of two");
        assert_eq!(common_height(vec![9, 2, 8], 3), Some(8), "two of three");
        assert_eq!(common_height(vec![9], 3), None, "one of three is no quorum");
        assert_eq!(common_height(vec![], 1), None);
    }

    #[test]
    fn a_head_is_stale_by_the_clock_or_by_its_peers() {
        let head = |timestamp| Head {
            number: 1,
            hash: B256::ZERO,
            timestamp,
        };
        let minute = Duration::from_secs(60);
        assert!(!is_stale(&head(1_000), 1_000, 1_060, minute));
        assert!(is_stale(&head(1_000), 1_000, 1_061, minute), "the clock");
        assert!(is_stale(&head(1_000), 1_061, 1_000, minute), "another endpoint");
        assert!(!is_stale(&head(1_000), 9_000, 9_000, Duration::ZERO), "no limit");
        assert!(
            !is_stale(&head(5_000), 1_000, 1_000, minute),
            "a slow clock is no fault of the head"
        );
    }

    #[test]
    fn heads_go_down_only_after_a_while() {
        let (start, lag) = (Instant::now(), Duration::from_secs(30));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut floor = Floor::default();
        assert!(floor.admits(10, at(0), lag));
        assert!(!floor.admits(9, at(1), lag), "a lagging node");
        assert!(floor.admits(10, at(2), lag));
        assert!(!floor.admits(8, at(3), lag), "the clock of lower heads starts anew");
        assert!(!floor.admits(8, at(32), lag));
        assert!(
            floor.admits(8, at(33), lag),
            "nothing higher for 30 s: the chain went back"
        );
        assert!(floor.admits(9, at(34), lag));
    }
}
