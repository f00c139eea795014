//! Pods with our schedulerName that no accepted job asked for: each gets one Event, and nothing else is done with them.
//!
//! In: a watch of pods, cut down to a few fields, and the jobs that they name. Out: Events `NotExpected`. Dispatch never
//! reads these pods; the Event tells their author why nothing happens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event as PodEvent, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};
use kube::api::{ApiResource, ObjectMeta, PostParams};
use kube::core::Object;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use spillway_crds::{AttemptState, AttemptStatus, InferenceJob, names};
use tokio_util::sync::CancellationToken;

const REASON: &str = "NotExpected";
/// A younger pod that is not bound yet may still be withdrawn by its author.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
const PERIOD: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BoundTo {
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Nothing {}

/// A pod without the fields that we never look at.
type SlimPod = Object<BoundTo, Nothing>;

#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    namespace: String,
    name: String,
    uid: String,
    created: Timestamp,
    bound: bool,
    owner: Option<OwnerReference>,
}

/// Pods by UID: those to be judged, and those that were.
#[derive(Debug, Default)]
struct Ledger {
    waiting: HashMap<String, Candidate>,
    judged: HashSet<String>,
}

impl Ledger {
    fn note(&mut self, event: Event<SlimPod>) {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => self.note_pod(&pod),
            Event::Delete(pod) => self.forget(&pod.uid().unwrap_or_default()),
            Event::Init | Event::InitDone => {}
        }
    }

    fn note_pod(&mut self, pod: &SlimPod) {
        let Some(candidate) = Candidate::of(pod) else { return };
        if pod.metadata.deletion_timestamp.is_some() {
            self.waiting.remove(&candidate.uid);
        } else if !self.judged.contains(&candidate.uid) {
            self.waiting.insert(candidate.uid.clone(), candidate);
        }
    }

    fn forget(&mut self, uid: &str) {
        self.waiting.remove(uid);
        self.judged.remove(uid);
    }

    fn settle(&mut self, uid: &str) {
        self.waiting.remove(uid);
        self.judged.insert(uid.to_owned());
    }

    fn due(&self, now: Timestamp) -> Vec<Candidate> {
        self.waiting
            .values()
            .filter(|pod| pod.bound || now.duration_since(pod.created) > PATIENCE)
            .cloned()
            .collect()
    }
}

impl Candidate {
    fn of(pod: &SlimPod) -> Option<Self> {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        Some(Self {
            namespace: pod.namespace()?,
            name: pod.name_any(),
            uid: pod.uid()?,
            created: pod.metadata.creation_timestamp.as_ref()?.0,
            bound: pod.spec.node_name.is_some(),
            owner: owners.iter().find(|owner| owner.controller == Some(true)).cloned(),
        })
    }

    /// Name of the InferenceJob that the pod says it belongs to.
    fn job_name(&self) -> Option<&str> {
        let owner = self.owner.as_ref()?;
        let ours = owner.kind == InferenceJob::kind(&()) && owner.api_version == InferenceJob::api_version(&());
        ours.then_some(owner.name.as_str())
    }
}

/// Whether the job's status asked for this very pod.
fn is_expected(pod: &Candidate, job: Option<&InferenceJob>) -> bool {
    let (Some(job), Some(owner)) = (job, pod.owner.as_ref()) else {
        return false;
    };
    let Some(status) = job
        .status
        .as_ref()
        .filter(|_| job.metadata.uid.as_ref() == Some(&owner.uid))
    else {
        return false;
    };
    let job_name = job.name_any();
    let is_named =
        |shard: u32, attempt: &AttemptStatus| names::attempt_pod(&job_name, shard, attempt.number) == pod.name;
    let mut attempts = status
        .shards
        .iter()
        .flat_map(|shard| shard.attempts.iter().map(move |one| (shard.index, one)));
    attempts.any(|(shard, attempt)| is_pod_of(attempt, pod) && is_named(shard, attempt))
}

/// Before its UID is written down, a pod is expected by name alone; whether it is ours is then the job controller's check.
fn is_pod_of(attempt: &AttemptStatus, pod: &Candidate) -> bool {
    match attempt.pod_uid.as_deref() {
        Some(uid) => uid == pod.uid,
        None => attempt.state == AttemptState::Expected,
    }
}

/// Watches until cancelled. `jobs` is a cache: what it does not show, the API server is asked for.
///
/// # Errors
/// When the watch ends for good.
pub async fn run(client: Client, jobs: Store<InferenceJob>, cancelled: CancellationToken) -> anyhow::Result<()> {
    let pods: Api<SlimPod> = Api::all_with(client.clone(), &ApiResource::erase::<Pod>(&()));
    let selected = watcher::Config::default().fields(&format!("spec.schedulerName={}", names::SCHEDULER_NAME));
    let mut events = watcher(pods, selected).default_backoff().boxed();
    let mut ticks = tokio::time::interval(PERIOD);
    let mut ledger = Ledger::default();
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            event = events.next() => match event {
                Some(Ok(event)) => ledger.note(event),
                Some(Err(error)) => tracing::warn!(%error, "watch of pods interrupted"),
                None => anyhow::bail!("the watch of pods ended"),
            },
            _ = ticks.tick() => judge_all(&client, &jobs, &mut ledger).await,
        }
    }
}

async fn judge_all(client: &Client, cached: &Store<InferenceJob>, ledger: &mut Ledger) {
    let mut jobs: HashMap<(String, String), Option<InferenceJob>> = HashMap::new();
    for pod in ledger.due(Timestamp::now()) {
        if is_expected(&pod, cached_job(cached, &pod).as_deref()) {
            ledger.settle(&pod.uid);
            continue;
        }
        match judge(client, &mut jobs, &pod).await {
            Ok(()) => ledger.settle(&pod.uid),
            // Not known is not "not expected": the next tick asks again.
            Err(error) => tracing::warn!(%error, pod = pod.name, "cannot judge a pod now"),
        }
    }
}

fn cached_job(cached: &Store<InferenceJob>, pod: &Candidate) -> Option<Arc<InferenceJob>> {
    cached.get(&ObjectRef::new(pod.job_name()?).within(&pod.namespace))
}

async fn judge(
    client: &Client,
    jobs: &mut HashMap<(String, String), Option<InferenceJob>>,
    pod: &Candidate,
) -> Result<(), kube::Error> {
    let job = match pod.job_name() {
        Some(name) => {
            let key = (pod.namespace.clone(), name.to_owned());
            if !jobs.contains_key(&key) {
                let api: Api<InferenceJob> = Api::namespaced(client.clone(), &pod.namespace);
                jobs.insert(key.clone(), api.get_opt(name).await?);
            }
            jobs.get(&key).and_then(Option::as_ref)
        }
        None => None,
    };
    if is_expected(pod, job) {
        Ok(())
    } else {
        report(client, pod).await
    }
}

/// The Event's name holds the pod's UID: a second one cannot be made, not even after a restart.
async fn report(client: &Client, pod: &Candidate) -> Result<(), kube::Error> {
    let events: Api<PodEvent> = Api::namespaced(client.clone(), &pod.namespace);
    match events
        .create(&PostParams::default(), &event(pod, Timestamp::now()))
        .await
    {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        // The namespace is going away, and the pod with it.
        Err(kube::Error::Api(status)) if status.is_forbidden() && status.message.contains("being terminated") => Ok(()),
        created => created.map(|_| tracing::info!(namespace = pod.namespace, pod = pod.name, "pod not expected")),
    }
}

fn event(pod: &Candidate, now: Timestamp) -> PodEvent {
    let note = format!(
        "no accepted InferenceJob asked for this pod, so it is handed to no provider: \
         schedulerName {} is for pods that the Spillway operator creates; apply an InferenceJob instead",
        names::SCHEDULER_NAME
    );
    PodEvent {
        metadata: ObjectMeta {
            name: Some(format!("{}.not-expected", pod.uid)),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some(REASON.to_owned()),
        message: Some(note),
        action: Some("Dispatch".to_owned()),
        source: Some(EventSource {
            component: Some(names::OPERATOR_FIELD_MANAGER.to_owned()),
            host: None,
        }),
        reporting_component: Some(names::OPERATOR_FIELD_MANAGER.to_owned()),
        reporting_instance: Some(names::OPERATOR_FIELD_MANAGER.to_owned()),
        event_time: Some(MicroTime(now)),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..PodEvent::default()
    }
}

#[cfg(test)]
mod tests;
