//! One run: a fresh hub, a load, and the time until its last pod is bound.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, ListParams, Patch, PatchParams, PostParams};
use kube::core::Object;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spillway_core::market::rank;
use spillway_crds::market::validate;
use spillway_crds::{AttemptStatus, InferenceJob, WorkAssignment, names};
use spillway_e2e_control_plane::eventually;
use spillway_operator::pods::attempt_pod;

use crate::ground::{CLASSES, Ground, class_of};
use crate::hub::{Hub, TEAM};
use crate::processes::{self, peak_mebibytes, processor_seconds};
use crate::requests::Requests;

const LIMIT: Duration = Duration::from_secs(900);
/// Nodes that the operator pins an attempt to.
const CANDIDATES: usize = 16;
const CANARY: &str = "canary";

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub pods: usize,
    pub seconds: f64,
    /// Node of each pod.
    pub nodes: BTreeMap<String, String>,
    /// Processor milliseconds per pod, by program.
    pub cost: BTreeMap<String, f64>,
    /// The dearest requests to the API server.
    pub requests: Vec<String>,
    /// Shards that nobody replaces when all their candidates are taken.
    pub unplaced: usize,
    pub operator_mebibytes: Option<u64>,
    /// Assignments that were written when the last pod was bound.
    pub handed_over: usize,
}

impl Outcome {
    pub(crate) fn pods_per_second(&self) -> f64 {
        self.pods as f64 / self.seconds
    }
}

/// InferenceJobs, with job controller, extender and our profile.
pub(crate) async fn ours(ground: &Ground) -> anyhow::Result<Outcome> {
    let hub = Hub::start(ground).await?;
    let (_extender, address) = processes::extender(&hub.kubeconfig).await?;
    let _scheduler = processes::our_scheduler(hub.folder(), &hub.kubeconfig, address)?;
    let operator = processes::operator(hub.folder(), &hub.kubeconfig)?;
    scheduler_is_up(&hub, names::SCHEDULER_NAME).await?;
    operator_is_up(&hub).await?;
    let bound = Bound::watch(&hub);
    let clock = Clock::start(&hub).await?;
    let jobs: Api<InferenceJob> = Api::namespaced(hub.client.clone(), TEAM);
    hub.create_all(&jobs, ground.jobs.clone()).await?;
    let mut outcome = clock.until(&bound, shards(ground)).await?;
    outcome.operator_mebibytes = peak_mebibytes(operator.id());
    let assignments: Api<WorkAssignment> = Api::all(hub.client.clone());
    outcome.handed_over = assignments.list_metadata(&ListParams::default()).await?.items.len();
    Ok(outcome)
}

/// Pods with the same needs, made by a plain client, and kube-scheduler as it comes.
pub(crate) async fn stock(ground: &Ground) -> anyhow::Result<Outcome> {
    let hub = Hub::start(ground).await?;
    let _scheduler = processes::stock_scheduler(hub.folder(), &hub.kubeconfig)?;
    scheduler_is_up(&hub, "default-scheduler").await?;
    let bound = Bound::watch(&hub);
    let mut pods = Vec::new();
    for (name, job) in shard_names(ground) {
        let class = class_of(&name).context("a job of no class")?;
        let mut pod = attempt_pod(&identified(job), 0, &AttemptStatus::default())?;
        pod.metadata.name = Some(name);
        pod.metadata.owner_references = None;
        let spec = pod.spec.as_mut().context("a pod without a spec")?;
        spec.scheduler_name = None;
        spec.affinity = Some(CLASSES[class].affinity()?);
        pods.push(pod);
    }
    let clock = Clock::start(&hub).await?;
    let api: Api<Pod> = Api::namespaced(hub.client.clone(), TEAM);
    hub.create_all(&api, pods).await?;
    clock.until(&bound, shards(ground)).await
}

/// Our profile and extender over pods that a plain client makes, pinned as the operator would. Nobody plans, writes
/// assignments or keeps a status: what any operator with a pod per attempt could reach at most.
pub(crate) async fn no_operator(ground: &Ground) -> anyhow::Result<Outcome> {
    let hub = Hub::start(ground).await?;
    let (_extender, address) = processes::extender(&hub.kubeconfig).await?;
    let _scheduler = processes::our_scheduler(hub.folder(), &hub.kubeconfig, address)?;
    let pods = pinned_pods(&hub, ground).await?;
    scheduler_is_up(&hub, names::SCHEDULER_NAME).await?;
    let bound = Bound::watch(&hub);
    let clock = Clock::start(&hub).await?;
    let api: Api<Pod> = Api::namespaced(hub.client.clone(), TEAM);
    hub.create_all(&api, pods).await?;
    clock.until_judged(&bound, shards(ground)).await
}

/// Our profile and extender over pods that are there already, pinned as the operator would.
pub(crate) async fn scheduler_alone(ground: &Ground) -> anyhow::Result<Outcome> {
    let hub = Hub::start(ground).await?;
    let pods = pinned_pods(&hub, ground).await?;
    let api: Api<Pod> = Api::namespaced(hub.client.clone(), TEAM);
    hub.create_all(&api, pods).await?;
    let (_extender, address) = processes::extender(&hub.kubeconfig).await?;
    let bound = Bound::watch(&hub);
    let clock = Clock::start(&hub).await?;
    let _scheduler = processes::our_scheduler(hub.folder(), &hub.kubeconfig, address)?;
    let mut outcome = clock.until_judged(&bound, shards(ground)).await?;
    // Its start is no part of its speed.
    let (first, last) = bound.span().context("nothing was bound")?;
    outcome.seconds = last.duration_since(first).as_secs_f64();
    Ok(outcome)
}

/// A job with what the operator writes when it accepts one: without it the extender waits.
async fn accepted(jobs: &Api<InferenceJob>, job: &InferenceJob) -> anyhow::Result<InferenceJob> {
    jobs.create(&PostParams::default(), job).await?;
    let status = Patch::Merge(json!({"status": {"dataClass": "Public"}}));
    Ok(jobs
        .patch_status(&job.name_any(), &PatchParams::default(), &status)
        .await?)
}

/// A pod for each shard of jobs that it creates.
async fn pinned_pods(hub: &Hub, ground: &Ground) -> anyhow::Result<Vec<Pod>> {
    let jobs: Api<InferenceJob> = Api::namespaced(hub.client.clone(), TEAM);
    let offers = ground.offers.iter();
    let mut free = offers.map(|offer| (offer.node.as_str(), offer.gpus_total)).collect();
    let mut pods = Vec::new();
    for job in &ground.jobs {
        let made = accepted(&jobs, job).await?;
        pods.extend(pods_of(ground, &made, &mut free)?);
    }
    Ok(pods)
}

fn pods_of<'a>(ground: &'a Ground, job: &InferenceJob, free: &mut HashMap<&'a str, u32>) -> anyhow::Result<Vec<Pod>> {
    let valid = validate(&job.spec)?;
    let ranking = rank(&valid.requirement, &valid.weights, &ground.offers);
    let mut pods = Vec::new();
    for (shard, _) in (0..).zip(lines(job)) {
        let has_room = |node: &&String| free.get(node.as_str()).is_some_and(|free| *free > 0);
        let nodes = ranking.candidates.iter().map(|candidate| &candidate.node);
        let candidates: Vec<String> = nodes.filter(has_room).take(CANDIDATES).cloned().collect();
        let first = candidates.first().context("no GPU is left")?;
        *free.get_mut(first.as_str()).context("an unknown node")? -= 1;
        let attempt = AttemptStatus {
            candidates,
            ..AttemptStatus::default()
        };
        pods.push(attempt_pod(job, shard, &attempt)?);
    }
    Ok(pods)
}

fn lines(job: &InferenceJob) -> impl Iterator<Item = &str> {
    job.spec.input.inline.iter().flat_map(|inline| inline.lines())
}

fn shards(ground: &Ground) -> usize {
    ground.jobs.iter().map(|job| lines(job).count()).sum()
}

/// `<job>-<shard>-0` of every shard.
fn shard_names(ground: &Ground) -> Vec<(String, &InferenceJob)> {
    let names = ground.jobs.iter().flat_map(|job| {
        let name = job.name_any();
        (0..)
            .zip(lines(job))
            .map(move |(shard, _)| (names::attempt_pod(&name, shard, 0), job))
    });
    names.collect()
}

/// With a UID, as if the API server had given one.
fn identified(job: &InferenceJob) -> InferenceJob {
    let mut job = job.clone();
    job.metadata.uid = Some("00000000-0000-0000-0000-000000000000".to_owned());
    job
}

/// A pod that needs nothing is bound: the scheduler has listed the nodes.
async fn scheduler_is_up(hub: &Hub, scheduler: &str) -> anyhow::Result<()> {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": CANARY}, "spec": {
        "schedulerName": scheduler, "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "canary", "image": "canary"}],
    }}))?;
    let pods: Api<Pod> = Api::namespaced(hub.client.clone(), "default");
    pods.create(&PostParams::default(), &pod).await?;
    eventually("the canary is bound", LIMIT, || async {
        pods.get(CANARY).await.ok()?.spec?.node_name
    })
    .await?;
    Ok(())
}

/// A job that nobody pays for is told so.
async fn operator_is_up(hub: &Hub) -> anyhow::Result<()> {
    let mut job: InferenceJob = serde_json::from_value(json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "metadata": {"name": CANARY},
        "spec": {"engine": {"image": "engine"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
            "price": {"maxPerGpuHour": "1", "budget": "1"}},
    }))?;
    job.metadata.namespace = Some("default".to_owned());
    let jobs: Api<InferenceJob> = Api::namespaced(hub.client.clone(), "default");
    jobs.create(&PostParams::default(), &job).await?;
    eventually("the canary job is judged", LIMIT, || async {
        let conditions = jobs.get(CANARY).await.ok()?.status?.conditions;
        (!conditions.is_empty()).then_some(())
    })
    .await
}

/// From the first create.
struct Clock {
    client: Client,
    asked: Requests,
    started: Instant,
    before: BTreeMap<String, f64>,
}

impl Clock {
    async fn start(hub: &Hub) -> anyhow::Result<Self> {
        Ok(Self {
            client: hub.client.clone(),
            asked: Requests::so_far(&hub.client).await?,
            before: processor_seconds(),
            started: Instant::now(),
        })
    }

    /// Every shard has a node.
    async fn until(self, bound: &Bound, pods: usize) -> anyhow::Result<Outcome> {
        eventually("every pod is bound", LIMIT, || async {
            (bound.count() >= pods).then_some(())
        })
        .await
        .with_context(|| format!("{} of {pods} are bound", bound.count()))?;
        self.stop(bound, pods).await
    }

    /// Every pod has a node or was told that none of its candidates has room.
    async fn until_judged(self, bound: &Bound, pods: usize) -> anyhow::Result<Outcome> {
        let full = eventually("every pod is judged", LIMIT, || async {
            let before = bound.count();
            if before == pods {
                return Some(0);
            }
            let full = unschedulable(&self.client).await.ok()?;
            (bound.count() == before && before + full >= pods).then_some(full)
        })
        .await
        .with_context(|| format!("{} of {pods} are bound", bound.count()))?;
        let mut outcome = self.stop(bound, pods - full).await?;
        outcome.unplaced = full;
        Ok(outcome)
    }

    async fn stop(self, bound: &Bound, pods: usize) -> anyhow::Result<Outcome> {
        let after = processor_seconds();
        let asked = Requests::so_far(&self.client).await?;
        let (_, last) = bound.span().context("nothing was bound")?;
        let nodes = bound.nodes();
        ensure!(
            nodes.len() == pods,
            "{} shards are bound instead of {pods}",
            nodes.len()
        );
        let spent = |name: &String, after: f64| after - self.before.get(name).copied().unwrap_or_default();
        Ok(Outcome {
            pods,
            seconds: last.duration_since(self.started).as_secs_f64(),
            cost: after
                .iter()
                .map(|(name, after)| (name.clone(), spent(name, *after) * 1000.0 / pods as f64))
                .collect(),
            nodes,
            requests: asked.since(&self.asked, pods),
            ..Outcome::default()
        })
    }
}

/// Pods without a node that kube-scheduler has said so of.
async fn unschedulable(client: &Client) -> anyhow::Result<usize> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), TEAM);
    let found = pods.list(&ListParams::default().fields("spec.nodeName=")).await?;
    let told = |pod: &&Pod| {
        let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
    };
    Ok(found.items.iter().filter(told).count())
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BoundTo {
    node_name: Option<String>,
}

type SlimPod = Object<BoundTo, Value>;

/// Node and time of binding, by shard: job and index, whichever attempt it is.
#[derive(Clone, Default)]
struct Bound(Arc<Mutex<HashMap<String, (String, Instant)>>>);

impl Bound {
    /// Watches bound pods of the team until the hub goes away.
    fn watch(hub: &Hub) -> Self {
        let bound = Self::default();
        let pods: Api<SlimPod> = Api::namespaced_with(hub.client.clone(), TEAM, &ApiResource::erase::<Pod>(&()));
        let selected = watcher::Config::default().fields("spec.nodeName!=");
        let seen = bound.clone();
        tokio::spawn(async move {
            let mut events = watcher(pods, selected).default_backoff().boxed();
            while let Some(event) = events.next().await {
                // Errors come when the API server ends, and are retried until this program does.
                if let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event {
                    seen.note(&pod);
                }
            }
        });
        bound
    }

    fn note(&self, pod: &SlimPod) {
        let name = pod.name_any();
        if let (Some(node), Some((shard, _))) = (&pod.spec.node_name, name.rsplit_once('-')) {
            let mut bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            bound
                .entry(shard.to_owned())
                .or_insert_with(|| (node.clone(), Instant::now()));
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn span(&self) -> Option<(Instant, Instant)> {
        let bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = || bound.values().map(|(_, time)| *time);
        Some((times().min()?, times().max()?))
    }

    fn nodes(&self) -> BTreeMap<String, String> {
        let bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bound
            .iter()
            .map(|(shard, (node, _))| (shard.clone(), node.clone()))
            .collect()
    }
}
