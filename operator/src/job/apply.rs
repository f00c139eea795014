//! Carries a plan out: what must be true before the status says it, the status, then the rest in order.
//!
//! The first failure ends the pass; the next one plans anew from what is there. Every write is fenced: by a name
//! (AlreadyExists), a UID, or a resourceVersion.

mod assignments;
mod metadata_only;
mod objects;
mod publication;
mod stored;

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::json;
use spillway_crds::{AttemptStatus, InferenceJob, InferenceJobStatus, ShardStatus};

use super::plan::{Action, JOB_FINALIZER, JobPlan, day_limits, spent_on, utc_date};
use super::{Context, ReconcileError};
use crate::dispatch::OrderKey;
use assignments::Handovers;

/// Pods made in one pass: a large job lets its bound pods be handed over in between.
const PODS_PER_PASS: usize = 128;
/// Requests of one pass on their way at the same time; jobs share [`super::WRITES_AT_ONCE`].
const ABREAST: usize = 8;
/// The next pass, when this one left something to do.
const SOON: Duration = Duration::from_millis(1);

/// `job` is no older than our own last write. Says when to go on if the plan was too much for one pass.
///
/// The plan is used up on the way: many jobs wait here, and records of candidates are large.
pub(super) async fn apply(
    context: &Context,
    job: &InferenceJob,
    plan: JobPlan,
) -> Result<Option<Duration>, ReconcileError> {
    let is_news = job.status.as_ref() != Some(&plan.status);
    let mut current = InferenceJob {
        metadata: job.metadata.clone(),
        spec: job.spec.clone(),
        status: Some(plan.status),
    };
    let (first, mut then): (Vec<Action>, Vec<Action>) = plan.actions.into_iter().partition(Action::precedes_status);
    execute_all(context, &current, &first).await?;
    drop(first);
    let started = Instant::now();
    if is_news {
        claim(context, job, &current)?;
        current = write_status(context, current).await?;
        context.reservations.written(&current);
    }
    context.progress.rest(uid(job), started.elapsed());
    let all = then.len();
    keep_one_pass(&mut then);
    execute_all(context, &current, &then).await?;
    context.answers.forget_pods(attempts_of(&current));
    Ok((then.len() < all).then_some(SOON))
}

fn keep_one_pass(actions: &mut Vec<Action>) {
    let mut pods = 0;
    actions.retain(|action| {
        let makes_a_pod = matches!(action, Action::CreatePod { .. });
        pods += usize::from(makes_a_pod);
        !makes_a_pod || pods <= PODS_PER_PASS
    });
}

fn attempts_of(job: &InferenceJob) -> impl Iterator<Item = &AttemptStatus> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    shards.flat_map(|shard| &shard.attempts)
}

/// In order, but for neighbours that may run abreast. Those on their way are awaited even when one failed.
async fn execute_all(context: &Context, job: &InferenceJob, actions: &[Action]) -> Result<(), ReconcileError> {
    let handovers = Handovers::new(context, job);
    for group in actions.chunk_by(|one, other| one.runs_abreast() && other.runs_abreast()) {
        let (mut waiting, mut running) = (group.iter(), FuturesUnordered::new());
        let mut outcome = Ok(());
        loop {
            // Each begins when its turn comes: a request takes some KiB, and a group may have thousands.
            let free = ABREAST.saturating_sub(running.len());
            running.extend(
                waiting
                    .by_ref()
                    .take(free)
                    .map(|action| execute(context, job, &handovers, action)),
            );
            let Some(result) = running.next().await else { break };
            outcome = outcome.and(result);
        }
        outcome?;
    }
    Ok(())
}

fn jobs(context: &Context, job: &InferenceJob) -> Api<InferenceJob> {
    Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default())
}

/// Sets aside what the plan adds to the day's sum. When others took the room meanwhile, the job is planned anew.
fn claim(context: &Context, before: &InferenceJob, planned: &InferenceJob) -> Result<(), ReconcileError> {
    let today = utc_date(Timestamp::now());
    let sum = |job: &InferenceJob| job.status.as_ref().map(|status| spent_on(status, today));
    let payer = planned.status.as_ref().and_then(|status| status.payer.as_ref());
    let policy = payer.and_then(|payer| context.caches.policies.get(&ObjectRef::new(&payer.spend_policy)));
    let Some(limits) = policy.and_then(|policy| day_limits(&policy)) else {
        return Ok(());
    };
    if sum(planned) <= sum(before) {
        return Ok(());
    }
    let jobs = context.caches.jobs.state();
    let jobs = jobs.iter().map(std::convert::AsRef::as_ref);
    if context.reservations.claim(planned, jobs, limits, today) {
        Ok(())
    } else {
        Err(ReconcileError::Outdated)
    }
}

/// A replace with the resourceVersion that was planned on: a plan made on an older picture is refused whole.
async fn write_status(context: &Context, mut job: InferenceJob) -> Result<InferenceJob, ReconcileError> {
    let written = metadata_only::replace_status(&context.client, &job).await;
    let written = written.map_err(|error| match error {
        kube::Error::Api(status) if status.is_conflict() || status.is_not_found() => ReconcileError::Outdated,
        error => error.into(),
    })?;
    context.progress.wrote(uid(&job), &written);
    job.metadata.resource_version = written.resource_version;
    Ok(job)
}

async fn execute(
    context: &Context,
    job: &InferenceJob,
    handovers: &Handovers<'_>,
    action: &Action,
) -> Result<(), ReconcileError> {
    tracing::info!(namespace = job.namespace(), job = job.name_any(), %action, "apply");
    match action {
        Action::AddFinalizer => set_finalizers(context, job, with_finalizer(job)).await,
        Action::RemoveFinalizer => remove_finalizer(context, job).await,
        Action::DeleteJob => delete_job(context, job).await,
        Action::SplitInline => stored::split_inline(context, job).await,
        Action::PublishInHub => publication::publish(&context.store, job).await,
        Action::DeleteStored => Ok(context.store.delete_prefix(&crate::keys::job_prefix(uid(job))).await?),
        Action::RecordVerdict { shard, attempt, .. } => stored::record(context, job, *shard, *attempt).await,
        Action::CreateSplitter => objects::create_splitter(context, job).await,
        Action::CreatePublisher => objects::create_publisher(context, job).await,
        Action::DeleteSplitter => objects::delete_runner(context, job, &crate::pods::split_name(&job.name_any())).await,
        Action::DeletePublisher => {
            objects::delete_runner(context, job, &crate::pods::publish_name(&job.name_any())).await
        }
        Action::StoreCandidates(record) => stored::candidates(context, job, record).await,
        Action::CreatePod { shard, attempt } => objects::create_attempt_pod(context, job, *shard, *attempt).await,
        Action::DeletePod {
            name,
            uid,
            resource_version,
            ..
        } => objects::delete_pod(context, job, name, uid, resource_version).await,
        Action::MirrorPod { shard, attempt, state } => {
            objects::mirror_pod(context, job, *shard, *attempt, *state).await
        }
        Action::CreateAssignment { shard, attempt } => handovers.hand_over(*shard, *attempt).await,
        Action::DeleteAssignment { namespace, name, uid } => assignments::delete(context, namespace, name, uid).await,
        Action::ReleaseAssignment { namespace, name, uid } => assignments::release(context, namespace, name, uid).await,
        Action::Event { warning, reason, note } => {
            publish_event(context, job, *warning, reason, note).await;
            Ok(())
        }
    }
}

/// An event that cannot be written is no reason to hold the job up.
pub(super) async fn publish_event(context: &Context, job: &InferenceJob, warning: bool, reason: &str, note: &str) {
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.chars().take(128).collect(),
        note: Some(note.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &job.object_ref(&())).await {
        tracing::warn!(%error, reason, "event not written");
    }
}

fn uid(job: &InferenceJob) -> &str {
    job.metadata.uid.as_deref().unwrap_or_default()
}

fn with_finalizer(job: &InferenceJob) -> Vec<String> {
    let mut finalizers = job.finalizers().to_vec();
    finalizers.push(JOB_FINALIZER.to_owned());
    finalizers
}

async fn set_finalizers(context: &Context, job: &InferenceJob, finalizers: Vec<String>) -> Result<(), ReconcileError> {
    let version = job.resource_version();
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": version } });
    let done = jobs(context, job)
        .patch(&job.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await;
    match done {
        Ok(written) => {
            context.progress.wrote(uid(job), &written.metadata);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_conflict() => Err(ReconcileError::Outdated),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// This very version of the job: whoever changed its time to live meanwhile is heard.
async fn delete_job(context: &Context, job: &InferenceJob) -> Result<(), ReconcileError> {
    let seen = only(job.uid(), job.resource_version());
    deleted(jobs(context, job).delete(&job.name_any(), &seen).await)
}

/// The caches said that nothing is left; before the job goes, the API server is asked.
async fn remove_finalizer(context: &Context, job: &InferenceJob) -> Result<(), ReconcileError> {
    if assignments::any_left(context, job).await? || objects::any_attempt_pod_left(context, job).await? {
        return Err(ReconcileError::Outdated);
    }
    let others = job
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != JOB_FINALIZER)
        .cloned()
        .collect();
    set_finalizers(context, job, others).await?;
    context.reservations.forget(uid(job));
    context
        .answers
        .forget_job(&job.namespace().unwrap_or_default(), &job.name_any(), uid(job));
    Ok(())
}

/// The shard and attempt that an action names, from the status that was written.
fn found(
    job: &InferenceJob,
    shard: u32,
    attempt: u16,
) -> Result<(&InferenceJobStatus, &ShardStatus, &AttemptStatus), ReconcileError> {
    let missing = ReconcileError::Unplanned { shard, attempt };
    let Some(status) = &job.status else { return Err(missing) };
    let found = status.shards.iter().find(|candidate| candidate.index == shard);
    let found = found.and_then(|shard| Some((shard, shard.attempts.iter().find(|one| one.number == attempt)?)));
    found.map(|(shard, attempt)| (status, shard, attempt)).ok_or(missing)
}

/// The key that signs for the job's payer, read anew each time.
async fn order_key(context: &Context, status: &InferenceJobStatus) -> Result<OrderKey, ReconcileError> {
    let name = status
        .payer
        .as_ref()
        .map(|payer| payer.spend_policy.as_str())
        .unwrap_or_default();
    let policy = context.caches.policies.get(&ObjectRef::new(name));
    let policy = policy.ok_or_else(|| ReconcileError::NoSpendPolicy(name.to_owned()))?;
    Ok(OrderKey::load(
        context.client.clone(),
        &context.namespace,
        &policy.spec.order_signing_key,
    )
    .await?)
}

/// Turns "exists already" into `None`.
fn created<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
        result => result.map(Some),
    }
}

/// Deletes the object of this UID alone, and in that version where one is given.
fn only(uid: Option<String>, resource_version: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions { uid, resource_version })
}

/// Turns "gone already" into success; a conflict says that the picture was old.
fn deleted<T>(result: kube::Result<T>) -> Result<(), ReconcileError> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(kube::Error::Api(status)) if status.is_conflict() => Err(ReconcileError::Outdated),
        Err(error) => Err(error.into()),
    }
}
