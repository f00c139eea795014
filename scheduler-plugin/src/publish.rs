//! Watches the API server and publishes snapshots. An API server that cannot be asked changes nothing: the last
//! snapshot stays, and dispatch checks again what was decided with it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use spillway_process::Health;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::world::{Change, World};

/// Snapshots are made at most this often: it bounds the work of a burst of events, and adds as much to the lag.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(20);
const AGE_INTERVAL: Duration = Duration::from_secs(1);

/// The newest snapshot; `None` until everything was listed once.
pub type Published = Arc<ArcSwapOption<Snapshot>>;

/// A watch that failed; it is retried with backoff by itself.
#[derive(Debug, thiserror::Error)]
#[error("watch of {kind} failed: {source}")]
pub struct WatchError {
    kind: &'static str,
    source: Box<watcher::Error>,
}

#[derive(Debug, thiserror::Error)]
#[error("the watches ended although nobody cancelled them")]
pub struct WatchesEnded;

/// All changes of the three kinds over all namespaces.
pub fn changes(client: &Client) -> BoxStream<'static, Result<Change, WatchError>> {
    select_all([
        watch(client, "GpuProvider", |event| Change::Provider(Box::new(event))).boxed(),
        watch(client, "InferenceJob", |event| Change::Job(Box::new(event))).boxed(),
        watch(client, "WorkAssignment", |event| Change::Assignment(Box::new(event))).boxed(),
    ])
    .boxed()
}

fn watch<K>(
    client: &Client,
    kind: &'static str,
    change: impl Fn(Event<K>) -> Change + Send + 'static,
) -> impl Stream<Item = Result<Change, WatchError>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher(Api::<K>::all(client.clone()), Config::default()).default_backoff();
    events.map(move |event| {
        event.map(&change).map_err(|source| WatchError {
            kind,
            source: Box::new(source),
        })
    })
}

/// Publishes snapshots until `cancelled`.
///
/// # Errors
/// When the watches end by themselves.
pub async fn publish(
    mut changes: BoxStream<'static, Result<Change, WatchError>>,
    published: Published,
    health: Health,
    metrics: Metrics,
    cancelled: CancellationToken,
) -> Result<(), WatchesEnded> {
    let mut publisher = Publisher {
        world: World::default(),
        dirty: false,
        made: Instant::now(),
        published,
        health,
        metrics,
    };
    let mut publishing = interval(PUBLISH_INTERVAL);
    let mut ageing = interval(AGE_INTERVAL);
    publishing.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            change = changes.next() => publisher.apply(change.ok_or(WatchesEnded)?),
            _ = publishing.tick(), if publisher.dirty => publisher.publish(),
            _ = ageing.tick() => publisher.report_age(),
        }
    }
}

struct Publisher {
    world: World,
    dirty: bool,
    made: Instant,
    published: Published,
    health: Health,
    metrics: Metrics,
}

impl Publisher {
    fn apply(&mut self, change: Result<Change, WatchError>) {
        match change {
            Ok(change) => {
                self.world.apply(change);
                self.dirty = self.world.synced();
            }
            Err(error) => {
                self.metrics.watch_error(error.kind);
                tracing::warn!(%error, "the last snapshot stays");
            }
        }
    }

    fn publish(&mut self) {
        let snapshot = self.world.snapshot();
        self.metrics
            .snapshot_published(snapshot.offers.len(), snapshot.jobs.len());
        self.published.store(Some(Arc::new(snapshot)));
        self.health.set_ready(true);
        self.made = Instant::now();
        self.dirty = false;
    }

    fn report_age(&self) {
        self.metrics.snapshot_age(self.made.elapsed());
    }
}
