//! Liveness of providers from their heartbeat Leases, counted on the operator's own monotonic clock.
//!
//! A provider is silent only while our own reads succeed and somebody else is heard; after a start or a gap in our
//! reads everybody gets a full grace. Pure: the caller says what time it is and what it read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// No change of the Lease for this long: the provider is silent.
pub const STALE_AFTER: Duration = Duration::from_secs(20);
/// Grace for all after a start, a leader change or a gap in our reads.
pub const GRACE: Duration = Duration::from_secs(60);
/// Reads further apart than this are a gap.
pub const READ_GAP: Duration = Duration::from_secs(15);
/// When nobody at all is heard, the fault is likely ours: nothing is called silent for this long.
pub const NOBODY_HEARD_LIMIT: Duration = Duration::from_mins(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Fresh,
    /// Proven silent: its attempts are lost.
    Silent,
    /// Not heard, but we cannot say whose fault it is; nothing new is placed there, nothing is ended.
    Unknown,
}

/// What one read of all heartbeat Leases showed: provider → resourceVersion, and whether it was ever renewed.
pub type Read = BTreeMap<String, Option<String>>;

#[derive(Debug)]
pub struct Heartbeats {
    grace_until: Instant,
    last_read: Instant,
    /// Since when no provider has been heard.
    nobody_since: Option<Instant>,
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    version: String,
    /// When we saw this version first; absent until a change was seen by this process.
    changed: Option<Instant>,
}

impl Heartbeats {
    pub fn new(now: Instant) -> Self {
        Self {
            grace_until: now + GRACE,
            last_read: now,
            nobody_since: None,
            seen: BTreeMap::new(),
        }
    }

    /// Takes in one successful read. A failed read is simply not taken in.
    pub fn record(&mut self, now: Instant, read: &Read) {
        if now.duration_since(self.last_read) > READ_GAP {
            self.grace_until = now + GRACE;
        }
        self.last_read = now;
        self.seen.retain(|provider, _| read.contains_key(provider));
        for (provider, version) in read {
            if let Some(version) = version {
                self.record_version(now, provider, version);
            }
        }
        let heard = self.seen.values().any(|seen| is_fresh(seen, now));
        self.nobody_since = if heard { None } else { self.nobody_since.or(Some(now)) };
    }

    fn record_version(&mut self, now: Instant, provider: &str, version: &str) {
        match self.seen.get_mut(provider) {
            Some(seen) if seen.version == version => {}
            Some(seen) => {
                *seen = Seen {
                    version: version.to_owned(),
                    changed: Some(now),
                }
            }
            None => {
                // The first version that we see may be old: only a change proves life.
                self.seen.insert(
                    provider.to_owned(),
                    Seen {
                        version: version.to_owned(),
                        changed: None,
                    },
                );
            }
        }
    }

    pub fn liveness(&self, provider: &str, now: Instant) -> Liveness {
        let Some(seen) = self.seen.get(provider) else {
            return Liveness::Unknown;
        };
        if is_fresh(seen, now) {
            return Liveness::Fresh;
        }
        let reads_are_current = now.duration_since(self.last_read) <= READ_GAP;
        let nobody_heard_briefly = self
            .nobody_since
            .is_some_and(|since| now.duration_since(since) < NOBODY_HEARD_LIMIT);
        if now < self.grace_until || !reads_are_current || nobody_heard_briefly {
            Liveness::Unknown
        } else {
            Liveness::Silent
        }
    }
}

fn is_fresh(seen: &Seen, now: Instant) -> bool {
    seen.changed
        .is_some_and(|changed| now.duration_since(changed) <= STALE_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, u32)]) -> Read {
        entries
            .iter()
            .map(|(provider, version)| ((*provider).to_owned(), Some(version.to_string())))
            .collect()
    }

    /// Reads every second from `from` to `to`; `versions(second)` says what is read.
    fn run(heartbeats: &mut Heartbeats, start: Instant, from: u64, to: u64, versions: impl Fn(u64) -> Read) {
        for second in from..=to {
            heartbeats.record(start + Duration::from_secs(second), &versions(second));
        }
    }

    #[test]
    fn a_renewing_provider_is_fresh_and_a_silent_one_is_found_within_the_limit() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        let both = |second: u64| read(&[("a", second as u32), ("b", second as u32)]);
        run(&mut heartbeats, start, 0, 100, both);
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(100)),
            Liveness::Fresh
        );
        run(&mut heartbeats, start, 101, 125, |second| {
            read(&[("a", 100), ("b", second as u32)])
        });
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(120)),
            Liveness::Fresh
        );
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(121)),
            Liveness::Silent
        );
        assert_eq!(
            heartbeats.liveness("b", start + Duration::from_secs(125)),
            Liveness::Fresh
        );
    }

    #[test]
    fn a_restart_gives_everybody_a_full_grace() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        run(&mut heartbeats, start, 0, 59, |second| {
            read(&[("a", 1), ("b", second as u32)])
        });
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(59)),
            Liveness::Unknown
        );
        run(&mut heartbeats, start, 60, 61, |second| {
            read(&[("a", 1), ("b", second as u32)])
        });
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(61)),
            Liveness::Silent
        );
    }

    #[test]
    fn a_gap_in_our_reads_ends_nothing() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        run(&mut heartbeats, start, 0, 100, |second| {
            read(&[("a", second as u32), ("b", second as u32)])
        });
        // No read for ten minutes: nobody can be called silent, before or just after the next read.
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(700)),
            Liveness::Unknown
        );
        run(&mut heartbeats, start, 700, 740, |second| {
            read(&[("a", 100), ("b", second as u32)])
        });
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(740)),
            Liveness::Unknown
        );
    }

    #[test]
    fn when_nobody_is_heard_nobody_is_silent_for_a_quarter_of_an_hour() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        run(&mut heartbeats, start, 0, 100, |second| {
            read(&[("a", second as u32), ("b", second as u32)])
        });
        run(&mut heartbeats, start, 101, 900, |_| read(&[("a", 100), ("b", 100)]));
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(900)),
            Liveness::Unknown
        );
        run(&mut heartbeats, start, 901, 1100, |_| read(&[("a", 100), ("b", 100)]));
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(1100)),
            Liveness::Silent
        );
    }

    #[test]
    fn a_provider_that_never_renewed_is_unknown() {
        let start = Instant::now();
        let mut heartbeats = Heartbeats::new(start);
        let mut never = read(&[("b", 1)]);
        never.insert("a".to_owned(), None);
        heartbeats.record(start, &never);
        assert_eq!(
            heartbeats.liveness("a", start + Duration::from_secs(100)),
            Liveness::Unknown
        );
    }
}
