//! WorkAssignments: created under the last check of capacity, deleted by UID, released when nothing is left.

use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use rand::SeedableRng;
use serde_json::json;
use spillway_crds::market::gpus_held;
use spillway_crds::{ASSIGNMENT_FINALIZER, GpuProvider, InferenceJob, WorkAssignment, names};

use super::{ReconcileError, created, deleted, found, order_key, uid};
use crate::dispatch::{Handover, build_assignment};
use crate::job::Context;

/// Hands an attempt over. One at a time in this process: the GPUs counted are still free when the assignment is written.
pub(super) async fn create(
    context: &Context,
    job: &InferenceJob,
    shard: u32,
    attempt: u16,
) -> Result<(), ReconcileError> {
    let (status, shard, attempt) = found(job, shard, attempt)?;
    let provider_name = attempt.provider.as_deref().unwrap_or_default();
    let provider = context
        .caches
        .providers
        .get(&ObjectRef::new(provider_name))
        .ok_or(ReconcileError::Outdated)?;
    let key = order_key(context, status).await?;
    let handover = Handover {
        job,
        shard,
        attempt,
        provider: &provider,
    };
    let mut random = rand::rngs::StdRng::from_seed(rand::random());
    let assignment = build_assignment(
        &context.store,
        &context.place,
        &key,
        handover,
        Timestamp::now(),
        &mut random,
    )
    .await?;
    let api: Api<WorkAssignment> = Api::namespaced(context.client.clone(), &names::provider_namespace(provider_name));
    let _one_at_a_time = context.dispatching.lock().await;
    check_capacity(&api, &provider, &assignment).await?;
    created(api.create(&PostParams::default(), &assignment).await)?;
    Ok(())
}

/// S4 with the API server's own list: GPUs held on the host, and these, are at most those offered.
async fn check_capacity(
    api: &Api<WorkAssignment>,
    provider: &GpuProvider,
    wanted: &WorkAssignment,
) -> Result<(), ReconcileError> {
    let offered = provider
        .status
        .iter()
        .flat_map(|status| &status.hosts)
        .find(|host| host.name == wanted.spec.host);
    let offered = offered.map_or(0, |host| host.gpus);
    let others = api.list(&ListParams::default()).await?.items.into_iter();
    let on_host = others.filter(|other| other.spec.host == wanted.spec.host && other.name_any() != wanted.name_any());
    let held: u32 = on_host.map(|other| gpus_held(&other)).sum();
    if held.saturating_add(wanted.spec.gpus) <= offered {
        Ok(())
    } else {
        Err(ReconcileError::Outdated)
    }
}

pub(super) async fn delete(context: &Context, namespace: &str, name: &str, uid: &str) -> Result<(), ReconcileError> {
    let api: Api<WorkAssignment> = Api::namespaced(context.client.clone(), namespace);
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    deleted(api.delete(name, &parameters).await)
}

/// Takes the finalizer off; the object must be the one that was seen, and still be on its way out.
pub(super) async fn release(context: &Context, namespace: &str, name: &str, uid: &str) -> Result<(), ReconcileError> {
    let api: Api<WorkAssignment> = Api::namespaced(context.client.clone(), namespace);
    let Some(current) = api.get_opt(name).await? else {
        return Ok(());
    };
    if current.uid().as_deref() != Some(uid) || current.metadata.deletion_timestamp.is_none() {
        return Err(ReconcileError::Outdated);
    }
    let others: Vec<&String> = current
        .finalizers()
        .iter()
        .filter(|held| *held != ASSIGNMENT_FINALIZER)
        .collect();
    let patch = json!({ "metadata": { "finalizers": others, "resourceVersion": current.resource_version() } });
    deleted(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
}

pub(super) async fn any_left(context: &Context, job: &InferenceJob) -> Result<bool, ReconcileError> {
    let api: Api<WorkAssignment> = Api::all(context.client.clone());
    let own = ListParams::default()
        .labels(&format!("{}={}", names::LABEL_JOB_UID, uid(job)))
        .limit(1);
    Ok(!api.list_metadata(&own).await?.items.is_empty())
}
