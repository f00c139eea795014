//! A watched kind, reduced to what accrual needs of each object: memory grows with what is owed, not with the jobs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, pin_mut};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

/// Projections by `namespace/name`. What it holds may lag behind the API server, and never runs ahead of it.
#[derive(Debug)]
pub struct Projection<V> {
    known: Mutex<BTreeMap<String, V>>,
    synced: watch::Sender<bool>,
    changed: Arc<Notify>,
}

impl<V> Projection<V> {
    /// `changed` is told of every change.
    pub fn new(changed: Arc<Notify>) -> Self {
        Self {
            known: Mutex::default(),
            synced: watch::Sender::new(false),
            changed,
        }
    }

    /// Waits until a whole list was seen.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Looks at all that is known; nothing changes meanwhile, so be quick.
    pub fn look<T>(&self, look: impl FnOnce(&BTreeMap<String, V>) -> T) -> T {
        look(&self.lock())
    }

    /// Makes each smaller in place.
    pub fn each(&self, shrink: impl FnMut(&mut V)) {
        self.lock().values_mut().for_each(shrink);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, V>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: String, value: Option<V>) {
        let mut known = self.lock();
        match value {
            Some(value) => known.insert(key, value),
            None => known.remove(&key),
        };
        drop(known);
        self.changed.notify_one();
    }

    /// Follows the objects of `api` for as long as it is polled; what projects to `None` is not kept.
    pub async fn follow<K>(&self, api: Api<K>, project: impl Fn(K) -> Option<V>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let events = watcher(api, watcher::Config::default()).default_backoff();
        pin_mut!(events);
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    let key = key(&object);
                    listed.extend(project(object).map(|value| (key, value)));
                }
                Ok(Event::InitDone) => {
                    *self.lock() = std::mem::take(&mut listed);
                    self.synced.send_replace(true);
                    self.changed.notify_one();
                }
                Ok(Event::Apply(object)) => self.put(key(&object), project(object)),
                Ok(Event::Delete(object)) => self.put(key(&object), None),
                Err(error) => tracing::warn!(%error, "watch interrupted; it is resumed"),
            }
        }
    }
}

fn key<K: Resource>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
