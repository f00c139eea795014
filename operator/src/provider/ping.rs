//! The hub's own measurement of its distance to each agent.
//!
//! A nonce that nobody can guess is written into the provider's Lease `ping`; the agent, who watches it, writes it back.
//! An answer cannot come before the question arrived, so an agent can look farther than it is, never nearer. (Somebody
//! who answers for it from nearby can.) In: Leases `ping`. Out: [`Pinged`] per provider.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use spillway_core::latency::Window;
use spillway_crds::names;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::provider_of;

const TICK: Duration = Duration::from_secs(1);
/// Until the window says something, pings follow quickly.
const FIRST_PERIOD: Duration = Duration::from_secs(5);
const FIRST_PINGS: u32 = 3;
const PERIOD: Duration = Duration::from_secs(60);
/// Without an answer for this long, what was measured before no longer counts.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// Least round trip per provider, in microseconds; a provider that did not answer at least three pings is missing.
pub type Pinged = BTreeMap<String, u64>;

/// An answer that was seen, and when.
#[derive(Clone, Debug)]
struct Seen {
    provider: String,
    /// Absent for a Lease that was never answered.
    pong: Option<String>,
    at: Instant,
}

/// State of all pings; pure but for the times that the caller gives.
#[derive(Debug, Default)]
struct Pings {
    providers: BTreeMap<String, Record>,
}

#[derive(Debug, Default)]
struct Record {
    window: Window,
    open: Option<Open>,
    pinged: Option<Instant>,
    answered: Option<Instant>,
}

/// A ping without an answer.
#[derive(Debug)]
struct Open {
    nonce: String,
    /// When the API server had taken it.
    written: Instant,
    /// How long such a write takes, the answer's included.
    write: Duration,
}

impl Pings {
    /// Providers that are to be pinged now.
    fn due(&self, now: Instant) -> Vec<String> {
        let is_due = |record: &Record| {
            let period = if record.samples() < FIRST_PINGS {
                FIRST_PERIOD
            } else {
                PERIOD
            };
            record.pinged.is_none_or(|at| now.duration_since(at) >= period)
        };
        let due = self.providers.iter().filter(|(_, record)| is_due(record));
        due.map(|(provider, _)| provider.clone()).collect()
    }

    fn sent(&mut self, provider: &str, nonce: String, started: Instant, written: Instant) {
        let record = self.providers.entry(provider.to_owned()).or_default();
        record.pinged = Some(started);
        record.open = Some(Open {
            nonce,
            written,
            write: written.duration_since(started),
        });
    }

    fn failed(&mut self, provider: &str, now: Instant) {
        self.providers.entry(provider.to_owned()).or_default().pinged = Some(now);
    }

    /// Takes an answer in. What it takes beyond the answer's own write is the way there and back.
    fn seen(&mut self, seen: &Seen) {
        let record = self.providers.entry(seen.provider.clone()).or_default();
        let Some(open) = record.open.take_if(|open| Some(&open.nonce) == seen.pong.as_ref()) else {
            return;
        };
        let round_trip = seen
            .at
            .saturating_duration_since(open.written)
            .saturating_sub(open.write);
        record.window.push(round_trip);
        record.answered = Some(seen.at);
    }

    fn gone(&mut self, provider: &str) {
        self.providers.remove(provider);
    }

    fn pinged(&self, now: Instant) -> Pinged {
        let known = self.providers.iter().filter_map(|(provider, record)| {
            let fresh = now.saturating_duration_since(record.answered?) <= FORGET_AFTER;
            let measured = record.window.measured()?;
            (fresh && measured.samples >= FIRST_PINGS).then(|| (provider.clone(), measured.least))
        });
        known.collect()
    }
}

impl Record {
    fn samples(&self) -> u32 {
        self.window.measured().map_or(0, |measured| measured.samples)
    }
}

/// Pings every provider until `cancelled`.
///
/// # Errors
/// Never: a ping that fails is followed by the next.
pub async fn run(client: Client, pinged: watch::Sender<Pinged>, cancelled: CancellationToken) -> anyhow::Result<()> {
    // Answers carry the time at which they came, so that a write at hand does not delay them. A full channel only loses
    // precision; one slot per provider of the largest hub.
    let (sender, mut events) = mpsc::channel(1024);
    let watching = watch_answers(client.clone(), sender);
    let mut pings = Pings::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let pinging = async {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Seen(seen)) => pings.seen(&seen),
                    Some(Event::Gone(provider)) => pings.gone(&provider),
                    None => return,
                },
                _ = ticks.tick() => ping_all(&client, &mut pings).await,
            }
            let known = pings.pinged(Instant::now());
            pinged.send_if_modified(|before| {
                let changed = *before != known;
                *before = known;
                changed
            });
        }
    };
    tokio::select! {
        () = cancelled.cancelled() => {},
        () = watching => {},
        () = pinging => {},
    }
    Ok(())
}

#[derive(Debug)]
enum Event {
    Seen(Seen),
    Gone(String),
}

async fn watch_answers(client: Client, events: mpsc::Sender<Event>) {
    let only = watcher::Config::default().fields(&format!("metadata.name={}", names::PING_LEASE));
    let mut leases = watcher(Api::<Lease>::all(client), only).default_backoff().boxed();
    loop {
        let event = match leases.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "watch of pings failed; it is tried again");
                continue;
            }
        };
        let (lease, gone) = match event {
            watcher::Event::Apply(lease) | watcher::Event::InitApply(lease) => (lease, false),
            watcher::Event::Delete(lease) => (lease, true),
            watcher::Event::Init | watcher::Event::InitDone => continue,
        };
        let Some(provider) = provider_of(&lease) else { continue };
        let event = if gone {
            Event::Gone(provider)
        } else {
            let pong = lease.annotations().get(names::PONG_ANNOTATION).cloned();
            let at = Instant::now();
            Event::Seen(Seen { provider, pong, at })
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn ping_all(client: &Client, pings: &mut Pings) {
    for provider in pings.due(Instant::now()) {
        let (nonce, started) = (format!("{:032x}", rand::random::<u128>()), Instant::now());
        match ping(client, &provider, &nonce).await {
            Ok(()) => pings.sent(&provider, nonce, started, Instant::now()),
            Err(error) => {
                tracing::debug!(provider, %error, "not pinged");
                pings.failed(&provider, started);
            }
        }
    }
}

async fn ping(client: &Client, provider: &str, nonce: &str) -> kube::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &names::provider_namespace(provider));
    let patch = Patch::Merge(json!({"metadata": {"annotations": {names::PING_ANNOTATION: nonce}}}));
    leases
        .patch(names::PING_LEASE, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Pings `a` at `at`; the write takes 5 ms, the answer is seen `after` the write.
    fn exchange(pings: &mut Pings, at: Instant, nonce: &str, pong: &str, after: Duration) {
        pings.sent("a", nonce.to_owned(), at, at + ms(5));
        pings.seen(&Seen {
            provider: "a".to_owned(),
            pong: Some(pong.to_owned()),
            at: at + ms(5) + after,
        });
    }

    #[test]
    fn three_answers_make_a_figure_less_the_time_of_a_write() {
        let (start, mut pings) = (Instant::now(), Pings::default());
        for (index, after) in [105, 45, 75].into_iter().enumerate() {
            assert_eq!(pings.pinged(start), Pinged::new());
            let nonce = index.to_string();
            exchange(&mut pings, start, &nonce, &nonce, ms(after));
        }
        assert_eq!(pings.pinged(start), [("a".to_owned(), 40_000)].into());
        // An answer that is faster than a write is as near as can be, not nearer.
        exchange(&mut pings, start, "3", "3", ms(1));
        assert_eq!(pings.pinged(start), [("a".to_owned(), 0)].into());
    }

    #[test]
    fn a_guess_or_an_old_answer_is_no_answer() {
        let (start, mut pings) = (Instant::now(), Pings::default());
        for nonce in ["1", "2", "3", "4"] {
            exchange(&mut pings, start, nonce, "0", ms(1));
        }
        assert_eq!(pings.pinged(start), Pinged::new());
        // The same answer twice counts once.
        exchange(&mut pings, start, "5", "5", ms(50));
        let again = Seen {
            provider: "a".to_owned(),
            pong: Some("5".to_owned()),
            at: start + ms(60),
        };
        pings.seen(&again);
        assert_eq!(pings.providers["a"].samples(), 1);
    }

    #[test]
    fn silence_forgets_and_a_provider_that_left_is_not_pinged() {
        let (start, mut pings) = (Instant::now(), Pings::default());
        for nonce in ["1", "2", "3"] {
            exchange(&mut pings, start, nonce, nonce, ms(50));
        }
        let answered = start + ms(55);
        assert_eq!(pings.pinged(answered + FORGET_AFTER).len(), 1);
        assert_eq!(pings.pinged(answered + FORGET_AFTER + ms(1)).len(), 0);
        pings.gone("a");
        assert_eq!(pings.due(start + PERIOD), Vec::<String>::new());
    }

    #[test]
    fn pings_follow_quickly_until_there_is_a_figure() {
        let (start, mut pings) = (Instant::now(), Pings::default());
        pings.seen(&Seen {
            provider: "a".to_owned(),
            pong: None,
            at: start,
        });
        assert_eq!(pings.due(start), ["a"]);
        pings.failed("a", start);
        assert!(pings.due(start + FIRST_PERIOD - ms(1)).is_empty());
        assert_eq!(pings.due(start + FIRST_PERIOD), ["a"]);
        for nonce in ["1", "2", "3"] {
            exchange(&mut pings, start, nonce, nonce, ms(50));
        }
        assert!(pings.due(start + PERIOD - ms(1)).is_empty());
        assert_eq!(pings.due(start + PERIOD), ["a"]);
    }
}
