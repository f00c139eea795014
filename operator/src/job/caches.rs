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
use super::projections::{SlimAssignment, SlimPod, controlling_job};

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
    let jobs = Watched::new(Api::all(client.clone()), all(), shrink_job);
    let (jobs, watch_jobs) = jobs.watch(|_| {}, job_itself, hints);
    let policies = Watched::new(Api::all(client.clone()), all(), shrink_metadata);
    let (policies, watch_policies) = policies.watch(|_| {}, |_: &SpendPolicy| Hint::AllJobs, hints);
    let providers = Watched::new(Api::all(client.clone()), all(), shrink_metadata);
    let (providers, watch_providers) = providers.watch(move |_| offering.providers_changed(), any, hints);
    let assignments = Watched::new(Api::all(client.clone()), all(), shrink_assignment);
    let (assignments, watch_assignments) =
        assignments.watch(move |event| holding.note(event), job_of_assignment, hints);
    let settlements = Watched::new(Api::namespaced(client.clone(), namespace), all(), shrink_settlement);
    let (settlements, watch_settlements) = settlements.watch(|_| {}, |_: &Settlement| Hint::AllJobs, hints);
    let of_jobs = all().labels(names::LABEL_JOB_UID);
    let pods = Watched::new(Api::all(client.clone()), of_jobs, shrink_pod);
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

/// Lists grow by doubling while they are read, from four elements on: of a shard with one attempt, three quarters are air.
fn shrink_job(job: &mut InferenceJob) {
    shrink_metadata(job);
    if let Some(status) = &mut job.status {
        status.shards.shrink_to_fit();
        status
            .shards
            .iter_mut()
            .for_each(|shard| shard.attempts.shrink_to_fit());
    }
}

fn shrink_assignment(assignment: &mut SlimAssignment) {
    shrink_metadata(assignment);
    assignment.labels_mut().clear();
    assignment.metadata.finalizers = None;
}

/// Labels of a job's pod say what its owner says.
fn shrink_pod(pod: &mut SlimPod) {
    shrink_metadata(pod);
    if controlling_job(&pod.metadata).is_some() {
        pod.labels_mut().clear();
    }
    if let Some(owners) = &mut pod.metadata.owner_references {
        owners.shrink_to_fit();
    }
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
    let owner = controlling_job(&pod.metadata).map(|owner| &owner.name);
    let name = owner.or_else(|| pod.labels().get(names::LABEL_JOB_NAME));
    let name = name.map(String::as_str).unwrap_or_default();
    Hint::Job(ObjectRef::new(name).within(&pod.namespace().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shrunk(owners: Value) -> SlimPod {
        let labels = json!({names::LABEL_JOB_NAME: "by-label", names::LABEL_JOB_UID: "u"});
        let pod = json!({"metadata": {"name": "p", "namespace": "team-a", "labels": labels, "ownerReferences": owners},
            "spec": {}});
        let mut pod = serde_json::from_value(pod).unwrap();
        shrink_pod(&mut pod);
        pod
    }

    fn owner(kind: &str, controller: bool) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": "by-owner", "uid": "u", "controller": controller}])
    }

    #[test]
    fn a_pod_is_of_the_job_that_controls_it_and_anyone_elses_of_the_one_that_it_names() {
        let job = |pod: &SlimPod| match job_of_pod(pod) {
            Hint::Job(job) => (job.name, job.namespace),
            Hint::AllJobs => panic!("one job was to be looked at"),
        };
        let of = |name: &str| (name.to_owned(), Some("team-a".to_owned()));
        let ours = shrunk(owner("InferenceJob", true));
        assert_eq!((job(&ours), ours.labels().len()), (of("by-owner"), 0));
        for strange in [owner("InferenceJob", false), owner("ReplicaSet", true), json!([])] {
            assert_eq!(job(&shrunk(strange)), of("by-label"));
        }
    }
}
