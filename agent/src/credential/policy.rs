//! Which token mints the next one, and when: pure.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

const ROTATION_PERIOD: SignedDuration = SignedDuration::from_hours(24);

/// A token of the hub and its times by our clock and the hub's.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub token: Zeroizing<String>,
    pub minted: Timestamp,
    pub expires: Timestamp,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("minted", &self.minted)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// After a day, or at half life when that comes first.
    pub fn rotation(&self) -> Timestamp {
        let half_life = self.expires.duration_since(self.minted) / 2;
        self.minted
            .saturating_add(half_life.min(ROTATION_PERIOD))
            .unwrap_or(self.expires)
    }
}

/// A token that may mint the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Own,
    JoinToken,
}

/// The sources to try, in order; empty when nothing is due.
///
/// `rejected` says that the hub answered 401 to the credential; that may pass, so it is still tried first.
pub(super) fn sources(credential: Option<&Credential>, rejected: bool, now: Timestamp) -> Vec<Source> {
    match credential {
        None => vec![Source::JoinToken],
        Some(credential) if credential.expires <= now => vec![Source::JoinToken],
        Some(credential) if rejected || credential.rotation() <= now => vec![Source::Own, Source::JoinToken],
        Some(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn credential(minted: i64, expires: i64) -> Credential {
        Credential {
            token: "t".to_owned().into(),
            minted: at(minted),
            expires: at(expires),
        }
    }

    #[test]
    fn a_first_start_joins() {
        assert_eq!(sources(None, false, at(0)), [Source::JoinToken]);
    }

    #[test]
    fn a_week_long_token_rotates_daily_and_a_short_one_at_half_life() {
        let week = credential(0, 168);
        assert_eq!(sources(Some(&week), false, at(23)), []);
        assert_eq!(sources(Some(&week), false, at(24)), [Source::Own, Source::JoinToken]);
        let short = credential(0, 2);
        assert_eq!(sources(Some(&short), false, at(0)), []);
        assert_eq!(sources(Some(&short), false, at(1)), [Source::Own, Source::JoinToken]);
    }

    #[test]
    fn an_expired_token_is_not_tried() {
        assert_eq!(sources(Some(&credential(0, 168)), true, at(168)), [Source::JoinToken]);
    }

    #[test]
    fn a_rejected_token_gets_a_second_chance_before_the_join_token() {
        assert_eq!(
            sources(Some(&credential(0, 168)), true, at(1)),
            [Source::Own, Source::JoinToken]
        );
    }

    #[test]
    fn the_token_is_not_printed() {
        let shown = format!(
            "{:?}",
            Credential {
                token: "secret-token".to_owned().into(),
                ..credential(0, 1)
            }
        );
        assert!(!shown.contains("secret-token"), "{shown}");
    }
}
