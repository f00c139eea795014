//! Everything watched, and how it becomes a snapshot. Only offers of providers that something touched are made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use spillway_core::market::Offer;
use spillway_crds::market::{gpus_held, gpus_in_use, offers_of};
use spillway_crds::{GpuProvider, InferenceJob, WorkAssignment, names};

use crate::projection::{Key, Projection, Touched};
use crate::snapshot::{JobView, Snapshot};

/// One watch event.
#[derive(Debug)]
pub enum Change {
    Provider(Box<Event<GpuProvider>>),
    Job(Box<Event<InferenceJob>>),
    Assignment(Box<Event<WorkAssignment>>),
}

/// Projection of a WorkAssignment: what it holds of which host of the provider's cluster.
#[derive(Clone, Debug)]
struct Held {
    host: String,
    gpus: u32,
}

#[derive(Debug, Default)]
pub struct World {
    providers: Projection<GpuProvider>,
    jobs: Projection<Arc<JobView>>,
    assignments: Projection<Held>,
    /// By provider name.
    offers: BTreeMap<String, Vec<Arc<Offer>>>,
    stale: Stale,
}

/// Providers whose offers must be made anew before the next snapshot.
#[derive(Debug, Default)]
struct Stale {
    all: bool,
    providers: BTreeSet<String>,
}

impl World {
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Provider(event) => {
                let touched = self.providers.apply(*event, key, without_managed_fields);
                self.stale.mark(touched, |(_, name)| Some(name));
            }
            Change::Job(event) => {
                self.jobs.apply(*event, key, |job| Arc::new(JobView::of(&job)));
            }
            Change::Assignment(event) => {
                let touched = self.assignments.apply(*event, key, held);
                self.stale.mark(touched, |(namespace, _)| provider_of(&namespace));
            }
        }
    }

    /// Whether all kinds were listed once.
    pub fn synced(&self) -> bool {
        self.providers.synced() && self.jobs.synced() && self.assignments.synced()
    }

    /// The state of all that was applied so far.
    pub fn snapshot(&mut self) -> Snapshot {
        self.refresh();
        let mut offers = Vec::with_capacity(self.offers.values().map(Vec::len).sum());
        offers.extend(self.offers.values().flatten().cloned());
        let jobs = self.jobs.iter().map(|(_, job)| job);
        Snapshot {
            offers: offers.into_iter().collect(),
            jobs: jobs.map(|job| (job.uid.clone(), Arc::clone(job))).collect(),
        }
    }

    fn refresh(&mut self) {
        let mut stale = std::mem::take(&mut self.stale);
        if stale.all {
            stale.providers = self.providers.iter().map(|((_, name), _)| name.clone()).collect();
            self.offers.clear();
        }
        for name in stale.providers {
            let offers = self.offers_of(&name);
            if offers.is_empty() {
                self.offers.remove(&name)
            } else {
                self.offers.insert(name, offers)
            };
        }
    }

    fn offers_of(&self, name: &str) -> Vec<Arc<Offer>> {
        let Some(provider) = self.providers.get(&(String::new(), name.to_owned())) else {
            return Vec::new();
        };
        let namespace = names::provider_namespace(name);
        let held = self
            .assignments
            .in_namespace(&namespace)
            .map(|held| (held.host.as_str(), held.gpus));
        let in_use = gpus_in_use(provider, held);
        offers_of(provider, &in_use).into_iter().map(Arc::new).collect()
    }
}

impl Stale {
    fn mark(&mut self, touched: Touched, provider: impl Fn(Key) -> Option<String>) {
        match touched {
            Touched::Nothing => {}
            Touched::One(key) => self.providers.extend(provider(key)),
            Touched::All => self.all = true,
        }
    }
}

fn key<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn held(assignment: WorkAssignment) -> Held {
    Held {
        gpus: gpus_held(&assignment),
        host: assignment.spec.host,
    }
}

fn provider_of(namespace: &str) -> Option<String> {
    namespace
        .strip_prefix(names::PROVIDER_NAMESPACE_PREFIX)
        .map(str::to_owned)
}

fn without_managed_fields(mut provider: GpuProvider) -> GpuProvider {
    provider.metadata.managed_fields = None;
    provider
}
