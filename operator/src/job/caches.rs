//! Watch caches with projections of what is needed, and the hints that their changes give.
//!
//! A hint is sent after the cache took the change in: whoever follows it sees at least that.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedSender;
use futures::{StreamExt, pin_mut};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use spillway_crds::{GpuProvider, InferenceJob, Settlement, SpendPolicy, names};

use super::held::Held;
use super::made_pods::MadePods;
use super::market::{Market, MarketKeeper};
use super::projections::{SlimAssignment, SlimPod};

pub(super) struct Caches {
    pub jobs: Store<InferenceJob>,
    pub policies: Store<SpendPolicy>,
    pub providers: Store<GpuProvider>,
    pub assignments: Store<SlimAssignment>,
    pub held: Arc<Held>,
    pub made: Arc<MadePods>,
    pub market: Arc<MarketKeeper>,
    pub settlements: Store<Settlement>,
    pods: Store<SlimPod>,
}

/// A job that should be looked at again, or all of them.
#[derive(Clone, Debug)]
pub(super) enum Hint {
    Job(ObjectRef<InferenceJob>),
    AllJobs,
}

impl Caches {
    /// The offers of now. Asked before the cache of assignments, it never counts one that the cache does not show.
    pub(super) fn market(&self) -> Arc<Market> {
        self.market.current(|| self.providers.state(), &self.held)
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<SlimPod>> {
        self.pods.get(&ObjectRef::new(name).within(namespace))
    }

    /// Waits until every cache holds a complete list.
    pub(super) async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.jobs.wait_until_ready().await?;
        self.policies.wait_until_ready().await?;
        self.providers.wait_until_ready().await?;
        self.assignments.wait_until_ready().await?;
        self.settlements.wait_until_ready().await?;
        self.pods.wait_until_ready().await
    }
}

/// Caches, and the future that fills them for as long as it is polled.
pub(super) fn watch_all(
    client: &Client,
    namespace: &str,
    hints: &UnboundedSender<Hint>,
) -> (Caches, impl Future<Output = ()> + Send + use<>) {
    let all = watcher::Config::default;
    let (held, market) = (Arc::new(Held::default()), Arc::new(MarketKeeper::default()));
    let made = Arc::new(MadePods::default());
    let shown = made.clone();
    let (holding, offering) = (held.clone(), market.clone());
    let any = |_: &_| Hint::AllJobs;
    let jobs = Watched::new(Api::all(client.clone()), all(), shrink_metadata);
    let (jobs, watch_jobs) = jobs.watch(|_| {}, job_itself, hints);
    let policies = Watched::new(Api::all(client.clone()), all(), shrink_metadata);
    let (policies, watch_policies) = policies.watch(|_| {}, |_: &SpendPolicy| Hint::AllJobs, hints);
    let providers = Watched::new(Api::all(client.clone()), all(), shrink_metadata);
    let (providers, watch_providers) = providers.watch(move |_| offering.providers_changed(), any, hints);
    let assignments = Watched::new(Api::all(client.clone()), all(), shrink_metadata);
    let (assignments, watch_assignments) =
        assignments.watch(move |event| holding.note(event), job_of_assignment, hints);
    let settlements = Watched::new(Api::namespaced(client.clone(), namespace), all(), shrink_settlement);
    let (settlements, watch_settlements) = settlements.watch(|_| {}, |_: &Settlement| Hint::AllJobs, hints);
    let of_jobs = all().labels(names::LABEL_JOB_UID);
    let pods = Watched::new(Api::all(client.clone()), of_jobs, shrink_metadata);
    let (pods, watch_pods) = pods.watch(move |event| was_shown(&shown, event), job_of_pod, hints);
    let watching = async move {
        tokio::join!(
            watch_jobs,
            watch_policies,
            watch_providers,
            watch_assignments,
            watch_settlements,
            watch_pods
        );
    };
    (
        Caches {
            jobs,
            policies,
            providers,
            assignments,
            held,
            made,
            market,
            settlements,
            pods,
        },
        watching,
    )
}

/// What is watched, and the fields of it that are not kept.
struct Watched<K> {
    api: Api<K>,
    config: watcher::Config,
    shrink: fn(&mut K),
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    fn new(api: Api<K>, config: watcher::Config, shrink: fn(&mut K)) -> Self {
        Self { api, config, shrink }
    }

    /// A cache, and the future that fills it. `note` sees each event after the cache took it in, and before the hint.
    fn watch<N, H>(
        self,
        note: N,
        hint: H,
        hints: &UnboundedSender<Hint>,
    ) -> (Store<K>, impl Future<Output = ()> + Send + use<K, N, H>)
    where
        N: Fn(&Event<K>) + Send + 'static,
        H: Fn(&K) -> Hint + Send + 'static,
    {
        let writer = reflector::store::Writer::default();
        let store = writer.as_reader();
        let hints = hints.clone();
        let watching = async move {
            let events = watcher(self.api, self.config).default_backoff();
            let events = events.modify(self.shrink).reflect(writer);
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let hint = event.map(|event| {
                    note(&event);
                    hint_of(&event, &hint)
                });
                match hint {
                    // The receiver ends with the controller, and this task with both.
                    Ok(Some(hint)) => drop(hints.unbounded_send(hint)),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "watch interrupted; it is resumed"),
                }
            }
        };
        (store, watching)
    }
}

fn was_shown(made: &MadePods, event: &Event<SlimPod>) {
    if let Event::Apply(pod) | Event::Delete(pod) = event {
        made.forget(&pod.namespace().unwrap_or_default(), &pod.name_any());
    }
}

fn hint_of<K>(event: &Event<K>, hint: impl Fn(&K) -> Hint) -> Option<Hint> {
    match event {
        Event::Apply(object) | Event::Delete(object) => Some(hint(object)),
        // A list becomes visible as a whole, at its end.
        Event::InitDone => Some(Hint::AllJobs),
        Event::Init | Event::InitApply(_) => None,
    }
}

fn shrink_metadata<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    object.annotations_mut().clear();
}

/// Ledger entries and calldata are for the settlement process.
fn shrink_settlement(settlement: &mut Settlement) {
    shrink_metadata(settlement);
    settlement.spec.debits = Vec::new();
    settlement.spec.credits = Vec::new();
    if let Some(status) = &mut settlement.status {
        status.calldata = None;
        status.attempts = Vec::new();
    }
}

fn job_itself(job: &InferenceJob) -> Hint {
    Hint::Job(ObjectRef::from_obj(job))
}

fn job_of_assignment(assignment: &SlimAssignment) -> Hint {
    let job = &assignment.spec.job;
    Hint::Job(ObjectRef::new(&job.name).within(&job.namespace))
}

fn job_of_pod(pod: &SlimPod) -> Hint {
    let name = pod.labels().get(names::LABEL_JOB_NAME).cloned().unwrap_or_default();
    Hint::Job(ObjectRef::new(&name).within(&pod.namespace().unwrap_or_default()))
}
