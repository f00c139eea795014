//! How often an endpoint may be asked: a token bucket, and the pauses that the endpoint itself asks for.

use std::time::{Duration, Instant};

/// A pause that an endpoint asks for is honoured up to this.
const PAUSE_MAX: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    Read,
    /// May use what reads have to leave.
    Send,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Now,
    /// A token will be there.
    After(Duration),
    /// The endpoint asked for silence.
    Paused(Duration),
}

/// The generic cell rate algorithm: `free_at` is when the bucket would be full again.
#[derive(Debug)]
pub(super) struct Limiter {
    interval: Duration,
    burst: u32,
    free_at: Instant,
    paused_until: Instant,
}

impl Limiter {
    /// `per_second` requests in the long run, two seconds' worth at once, of which reads leave half.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = per_second.max(1);
        Self {
            interval: Duration::from_secs(1) / per_second,
            burst: per_second.saturating_mul(2),
            free_at: now,
            paused_until: now,
        }
    }

    pub(super) fn take(&mut self, urgency: Urgency, now: Instant) -> Admission {
        if now < self.paused_until {
            return Admission::Paused(self.paused_until - now);
        }
        let burst = match urgency {
            Urgency::Read => self.burst / 2,
            Urgency::Send => self.burst,
        };
        let start = self.free_at.max(now);
        let allowed = self.interval * burst.saturating_sub(1);
        match (start - now).checked_sub(allowed) {
            Some(wait) if !wait.is_zero() => Admission::After(wait),
            _ => {
                self.free_at = start + self.interval;
                Admission::Now
            }
        }
    }

    /// An earlier, longer pause stays.
    pub(super) fn pause(&mut self, asked: Duration, now: Instant) {
        self.paused_until = self.paused_until.max(now + asked.min(PAUSE_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_wait_for_tokens_and_leave_some_to_sends() {
        let now = Instant::now();
        let mut limiter = Limiter::new(10, now);
        let reads = (0..30)
            .filter(|_| limiter.take(Urgency::Read, now) == Admission::Now)
            .count();
        let sends = (0..30)
            .filter(|_| limiter.take(Urgency::Send, now) == Admission::Now)
            .count();
        assert_eq!((reads, sends), (10, 10));
        let Admission::After(wait) = limiter.take(Urgency::Send, now) else {
            panic!("the bucket is empty")
        };
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(limiter.take(Urgency::Send, now + wait), Admission::Now);
    }

    #[test]
    fn the_long_run_keeps_the_rate() {
        let start = Instant::now();
        let mut limiter = Limiter::new(10, start);
        let at = |millis| start + Duration::from_millis(millis);
        let taken = (0..10_000)
            .filter(|millis| limiter.take(Urgency::Read, at(*millis)) == Admission::Now)
            .count();
        assert!((100..=110).contains(&taken), "{taken}");
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let now = Instant::now();
        let mut limiter = Limiter::new(10, now);
        limiter.pause(Duration::from_secs(7), now);
        limiter.pause(Duration::from_secs(1), now);
        assert_eq!(
            limiter.take(Urgency::Send, now),
            Admission::Paused(Duration::from_secs(7))
        );
        assert_eq!(
            limiter.take(Urgency::Read, now + Duration::from_secs(7)),
            Admission::Now
        );
        limiter.pause(Duration::from_secs(100_000), now);
        assert_eq!(limiter.take(Urgency::Read, now), Admission::Paused(PAUSE_MAX));
    }
}
