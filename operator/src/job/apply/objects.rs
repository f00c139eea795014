//! Pods and Secrets in the job's own namespace.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use spillway_core::shard::{PublishPlan, PublishedShard, ShardCount, SplitPlan, Unfinished};
use spillway_crds::{AttemptState, InferenceJob, names};

use super::{ReconcileError, created, deleted, found, metadata_only, only, publish_event, uid};
use crate::dispatch::mirror;
use crate::job::Context;
use crate::job::observed::PodFact;
use crate::job::projections::is_controlled_by;
use crate::keys;
use crate::pods::{attempt_pod, publish_pod, publish_secret, same_attempt_pod, split_pod, split_secret};

/// A splitter or publisher that takes longer fails, and is made anew with new URLs.
const PLAN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

fn pods(context: &Context, job: &InferenceJob) -> Api<Pod> {
    Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default())
}

fn secrets(context: &Context, job: &InferenceJob) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default())
}

/// The name is the fence of an attempt. A pod that exists is adopted when it is the one we would make, else remembered
/// as a stranger's: the next plan gives the number up.
pub(super) async fn create_attempt_pod(
    context: &Context,
    job: &InferenceJob,
    shard: u32,
    attempt: u16,
) -> Result<(), ReconcileError> {
    let pod = attempt_pod(job, shard, found(job, shard, attempt)?.2)?;
    let (api, name) = (pods(context, job), pod.name_any());
    let _writing = context.writing.acquire().await;
    if let Some(made) = created(metadata_only::create(&context.client, &pod).await)? {
        let made = just_made(made);
        context.answers.remember_pod(&made.uid, true);
        let namespace = job.namespace().unwrap_or_default();
        context.caches.made.remember(&namespace, &name, made);
        return Ok(());
    }
    let Some(there) = api.get_opt(&name).await? else {
        return Err(ReconcileError::Outdated);
    };
    let ours = same_attempt_pod(&pod, &there);
    context.answers.remember_pod(&there.uid().unwrap_or_default(), ours);
    if !ours {
        context
            .answers
            .remember_stranger(&job.namespace().unwrap_or_default(), &name, stranger(&there));
        return Err(ReconcileError::Outdated);
    }
    Ok(())
}

fn just_made(pod: ObjectMeta) -> PodFact {
    PodFact {
        uid: pod.uid.unwrap_or_default(),
        resource_version: pod.resource_version.unwrap_or_default(),
        ours: true,
        node: None,
        deleting: false,
        phase: "Pending".to_owned(),
    }
}

fn stranger(pod: &Pod) -> PodFact {
    PodFact {
        uid: pod.uid().unwrap_or_default(),
        resource_version: pod.resource_version().unwrap_or_default(),
        ours: false,
        node: None,
        deleting: pod.metadata.deletion_timestamp.is_some(),
        phase: String::new(),
    }
}

/// At once, and only the very version that was seen: a pod that was bound meanwhile is looked at again.
pub(super) async fn delete_pod(
    context: &Context,
    job: &InferenceJob,
    name: &str,
    uid: &str,
    resource_version: &str,
) -> Result<(), ReconcileError> {
    let parameters = only(Some(uid.to_owned()), Some(resource_version.to_owned())).grace_period(0);
    deleted(pods(context, job).delete(name, &parameters).await)?;
    context.caches.made.forget(&job.namespace().unwrap_or_default(), name);
    Ok(())
}

pub(super) async fn mirror_pod(
    context: &Context,
    job: &InferenceJob,
    shard: u32,
    attempt: u16,
    state: AttemptState,
) -> Result<(), ReconcileError> {
    let (_, _, attempt) = found(job, shard, attempt)?;
    let name = names::attempt_pod(&job.name_any(), shard, attempt.number);
    let api = pods(context, job);
    let Some(pod) = api.get_opt(&name).await?.filter(|pod| pod.uid() == attempt.pod_uid) else {
        return Ok(());
    };
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.clone())
        .unwrap_or_default();
    let since = [&attempt.finished_at, &attempt.assigned_at, &attempt.created_at]
        .into_iter()
        .flatten()
        .next();
    let since = since.map_or_else(jiff::Timestamp::now, |time| time.0);
    let Some(patch) = mirror(
        &phase,
        state,
        attempt.reason.as_deref(),
        attempt.message.as_deref(),
        since,
    ) else {
        return Ok(());
    };
    deleted(
        api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch))
            .await,
    )
}

pub(super) async fn any_attempt_pod_left(context: &Context, job: &InferenceJob) -> Result<bool, ReconcileError> {
    let own = ListParams::default().labels(&format!("{}={}", names::LABEL_JOB_UID, uid(job)));
    let left = pods(context, job).list_metadata(&own).await?.items;
    let attempts = job.status.iter().flat_map(|status| &status.shards).flat_map(|shard| {
        shard
            .attempts
            .iter()
            .map(|attempt| names::attempt_pod(&job.name_any(), shard.index, attempt.number))
    });
    let attempts: std::collections::BTreeSet<String> = attempts.collect();
    Ok(left
        .iter()
        .any(|pod| attempts.contains(&pod.name_any()) && is_controlled_by(&pod.metadata, uid(job))))
}

pub(super) async fn create_splitter(context: &Context, job: &InferenceJob) -> Result<(), ReconcileError> {
    let shards = spillway_crds::market::validate(&job.spec)?.shards;
    let count = match shards {
        ShardCount::Auto => 256,
        ShardCount::Count(count) => count,
    };
    let mut shard_urls = Vec::new();
    for shard in 0..count {
        shard_urls.push(
            context
                .store
                .presign_put(&keys::shard_input(uid(job), shard), PLAN_LIFETIME)
                .await?
                .into(),
        );
    }
    let manifest_url = context
        .store
        .presign_put(&keys::manifest(uid(job)), PLAN_LIFETIME)
        .await?
        .into();
    let input_uri = job.spec.input.uri.clone().unwrap_or_default();
    let plan = SplitPlan {
        input_uri,
        shards,
        shard_urls,
        manifest_url,
    };
    create_runner(
        context,
        job,
        split_secret(job, &plan)?,
        split_pod(job, &context.runner_image)?,
    )
    .await
}

pub(super) async fn create_publisher(context: &Context, job: &InferenceJob) -> Result<(), ReconcileError> {
    let mut shards = Vec::new();
    for (shard, attempt, digest) in super::publication::accepted_results(job) {
        let key = keys::attempt_results(uid(job), shard, attempt);
        shards.push(PublishedShard {
            url: context.store.presign_get(&key, PLAN_LIFETIME).await?.into(),
            digest,
        });
    }
    let unfinished = unfinished(context, job).await?;
    let report_url = context
        .store
        .presign_put(&keys::published(uid(job)), PLAN_LIFETIME)
        .await?
        .into();
    let plan = PublishPlan {
        output_uri: job.spec.output.uri.clone(),
        shards,
        unfinished,
        report_url,
    };
    create_runner(
        context,
        job,
        publish_secret(job, &plan)?,
        publish_pod(job, &context.runner_image)?,
    )
    .await
}

async fn unfinished(context: &Context, job: &InferenceJob) -> Result<Option<Unfinished>, ReconcileError> {
    let Some((shards, error)) = super::publication::unfinished(job) else {
        return Ok(None);
    };
    let mut input_urls = Vec::new();
    for shard in shards {
        let key = keys::shard_input(uid(job), shard);
        input_urls.push(context.store.presign_get(&key, PLAN_LIFETIME).await?.into());
    }
    Ok(Some(Unfinished { input_urls, error }))
}

/// The Secret first: the pod waits for it otherwise.
async fn create_runner(context: &Context, job: &InferenceJob, secret: Secret, pod: Pod) -> Result<(), ReconcileError> {
    created(secrets(context, job).create(&PostParams::default(), &secret).await)?;
    let api = pods(context, job);
    if created(api.create(&PostParams::default(), &pod).await)?.is_some() {
        return Ok(());
    }
    let there = api.get_opt(&pod.name_any()).await?;
    if there.is_some_and(|there| !is_controlled_by(&there.metadata, uid(job))) {
        let note = format!("pod {} exists and is not this job's: delete it", pod.name_any());
        publish_event(context, job, true, "NameTaken", &note).await;
        return Err(ReconcileError::NameTaken(pod.name_any()));
    }
    Ok(())
}

/// Pod and Secret, each only when it is this job's.
pub(super) async fn delete_runner(context: &Context, job: &InferenceJob, name: &str) -> Result<(), ReconcileError> {
    let secrets = secrets(context, job);
    if let Some(secret) = secrets
        .get_metadata_opt(name)
        .await?
        .filter(|secret| is_controlled_by(&secret.metadata, uid(job)))
    {
        deleted(secrets.delete(name, &only(secret.uid(), None)).await)?;
    }
    let pods = pods(context, job);
    if let Some(pod) = pods
        .get_metadata_opt(name)
        .await?
        .filter(|pod| is_controlled_by(&pod.metadata, uid(job)))
    {
        deleted(pods.delete(name, &only(pod.uid(), None)).await)?;
    }
    Ok(())
}
