//! Round trips to a list of addresses that may change: one connection per address and period.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};
use spillway_core::latency::{Measured, Window};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::round_trip::{Reach, RoundTripError, round_trip};

/// Addresses measured at the same time: few, so that they do not disturb each other.
const AT_ONCE: usize = 8;
/// This many failures in a row: what was measured before no longer says how far the address is.
const FORGET_AFTER: u32 = 3;

/// What is known, by address `host:port`.
pub type Distances = BTreeMap<String, Measured>;

#[derive(Debug)]
pub struct Prober {
    addresses: watch::Receiver<BTreeSet<String>>,
    distances: watch::Sender<Distances>,
    reach: Reach,
    period: Duration,
}

/// The other end of a [`Prober`]: what it is to measure, and what it knows.
#[derive(Debug)]
pub struct Probes {
    pub addresses: watch::Sender<BTreeSet<String>>,
    /// Published after each pass.
    pub distances: watch::Receiver<Distances>,
}

impl Probes {
    /// Asks for these addresses from the next pass on.
    pub fn ask_for(&self, wanted: BTreeSet<String>) {
        self.addresses.send_if_modified(|known| {
            let changed = *known != wanted;
            *known = wanted;
            changed
        });
    }
}

#[derive(Debug, Default)]
struct Record {
    window: Window,
    failures: u32,
}

impl Prober {
    /// Measures nothing yet; `period` lies between two round trips to one address.
    pub fn new(reach: Reach, period: Duration) -> (Self, Probes) {
        let (asked, addresses) = watch::channel(BTreeSet::new());
        let (distances, known) = watch::channel(Distances::new());
        let prober = Self {
            addresses,
            distances,
            reach,
            period,
        };
        let probes = Probes {
            addresses: asked,
            distances: known,
        };
        (prober, probes)
    }

    /// Measures until `cancelled`.
    ///
    /// # Errors
    /// Never; an address that does not answer is unknown.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut records = BTreeMap::new();
        let mut ticks = tokio::time::interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                () = async { ticks.tick().await; self.pass(&mut records).await } => {},
            }
        }
    }

    async fn pass(&self, records: &mut BTreeMap<String, Record>) {
        let addresses = self.addresses.borrow().clone();
        records.retain(|address, _| addresses.contains(address));
        let measured = stream::iter(addresses).map(|address| async {
            let outcome = round_trip(&address, self.reach).await;
            (address, outcome)
        });
        let outcomes: Vec<_> = measured.buffer_unordered(AT_ONCE).collect().await;
        for (address, outcome) in outcomes {
            if let Err(error) = &outcome {
                tracing::debug!(address, %error, "probe failed");
            }
            records.entry(address).or_default().take(outcome);
        }
        self.distances.send_replace(distances(records));
    }
}

impl Record {
    fn take(&mut self, outcome: Result<Duration, RoundTripError>) {
        match outcome {
            Ok(round_trip) => {
                self.failures = 0;
                self.window.push(round_trip);
            }
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FORGET_AFTER {
                    self.window.clear();
                }
            }
        }
    }
}

fn distances(records: &BTreeMap<String, Record>) -> Distances {
    let known = records
        .iter()
        .filter_map(|(address, record)| Some((address.clone(), record.window.measured()?)));
    known.collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::echo;

    const LIMIT: Duration = Duration::from_secs(20);

    struct Ground {
        probes: Probes,
        cancelled: CancellationToken,
    }

    fn prober(reach: Reach) -> Ground {
        let (prober, probes) = Prober::new(reach, Duration::from_millis(20));
        let cancelled = CancellationToken::new();
        tokio::spawn(prober.run(cancelled.clone()));
        Ground { probes, cancelled }
    }

    impl Ground {
        async fn until(&mut self, holds: impl FnMut(&Distances) -> bool) -> Distances {
            let waited = tokio::time::timeout(LIMIT, self.probes.distances.wait_for(holds)).await;
            waited.unwrap().unwrap().clone()
        }
    }

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    #[tokio::test]
    async fn an_address_is_known_while_it_answers_and_unknown_soon_after() {
        let mut ground = prober(Reach::Anywhere);
        let (near, near_address) = listener().await;
        let serving = CancellationToken::new();
        let server = tokio::spawn(echo(near, serving.clone()));
        // Nobody listens there any more.
        let (_, closed) = listener().await;
        ground.probes.ask_for([near_address.clone(), closed].into());

        let known = ground.until(|known| known.values().any(|one| one.samples >= 3)).await;
        assert_eq!(known.keys().collect::<Vec<_>>(), [&near_address]);
        assert!(known[&near_address].least > 0, "a round trip takes time: {known:?}");

        serving.cancel();
        server.await.unwrap().unwrap();
        assert_eq!(ground.until(BTreeMap::is_empty).await, Distances::new());
        ground.cancelled.cancel();
    }

    #[tokio::test]
    async fn what_nobody_asks_for_any_more_is_forgotten() {
        let mut ground = prober(Reach::Anywhere);
        let (_listening, address) = listener().await;
        ground.probes.ask_for([address].into());
        ground.until(|known| known.len() == 1).await;
        ground.probes.ask_for(BTreeSet::new());
        ground.until(BTreeMap::is_empty).await;
    }

    #[tokio::test]
    async fn a_hub_cannot_look_around_in_a_provider_s_network() {
        let mut ground = prober(Reach::Public);
        let (inside, address) = listener().await;
        ground.probes.ask_for([address].into());
        // Two whole passes have asked, or rather have not.
        for _ in 0..2 {
            tokio::time::timeout(LIMIT, ground.probes.distances.changed())
                .await
                .unwrap()
                .unwrap();
        }
        assert!(ground.probes.distances.borrow().is_empty());
        let came = tokio::time::timeout(Duration::from_millis(50), inside.accept()).await;
        assert!(came.is_err(), "somebody connected");
    }

    /// A server behind a slow line: the handshake itself cannot be delayed on loopback, so the accept queue is full.
    #[tokio::test]
    async fn a_server_that_does_not_answer_is_unknown_not_near() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(connection)) =
            tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
        {
            held.push(connection);
            assert!(held.len() < 64, "the queue never fills");
        }
        let outcome = round_trip(&address.to_string(), Reach::Anywhere).await;
        assert!(matches!(outcome, Err(RoundTripError::Silent)), "{outcome:?}");
    }

    /// Failures in between do not forget, three in a row do.
    #[test]
    fn three_failures_in_a_row_forget() {
        let mut record = Record::default();
        let samples = |record: &Record| record.window.measured().map_or(0, |measured| measured.samples);
        for (works, expected) in [
            (true, 1),
            (false, 1),
            (false, 1),
            (true, 2),
            (false, 2),
            (false, 2),
            (false, 0),
        ] {
            let outcome = if works {
                Ok(Duration::from_millis(1))
            } else {
                Err(RoundTripError::Silent)
            };
            record.take(outcome);
            assert_eq!(samples(&record), expected);
        }
    }
}
