//! WorkAssignments: created once their GPUs are reserved, deleted by UID, released when nothing is left.

use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use rand::SeedableRng;
use serde_json::json;
use spillway_crds::{ASSIGNMENT_FINALIZER, GpuProvider, InferenceJob, WorkAssignment, names};
use tokio::sync::OnceCell;

use super::{ReconcileError, created, deleted, found, metadata_only, only, order_key, uid};
use crate::dispatch::{Handover, OrderKey, build_assignment};
use crate::job::Context;

/// Hands attempts of one job over, within one pass. The order-signing key is read once, when it is first needed.
pub(super) struct Handovers<'a> {
    context: &'a Context,
    job: &'a InferenceJob,
    key: OnceCell<OrderKey>,
}

impl<'a> Handovers<'a> {
    pub(super) fn new(context: &'a Context, job: &'a InferenceJob) -> Self {
        let key = OnceCell::new();
        Self { context, job, key }
    }

    pub(super) async fn hand_over(&self, shard: u32, attempt: u16) -> Result<(), ReconcileError> {
        let (context, job) = (self.context, self.job);
        let (status, shard, attempt) = found(job, shard, attempt)?;
        let provider_name = attempt.provider.as_deref().unwrap_or_default();
        let name = names::assignment(uid(job), shard.index, attempt.number);
        if context
            .caches
            .held
            .was_written(&(names::provider_namespace(provider_name), name))
        {
            return Ok(());
        }
        let provider = context.caches.providers.get(&ObjectRef::new(provider_name));
        let provider = provider.ok_or(ReconcileError::Outdated)?;
        let key = self.key.get_or_try_init(|| order_key(context, status)).await?;
        let handover = Handover {
            job,
            shard,
            attempt,
            provider: &provider,
        };
        let mut random = rand::rngs::StdRng::from_seed(rand::random());
        let now = Timestamp::now();
        let assignment = build_assignment(&context.store, &context.place, key, handover, now, &mut random).await?;
        create(context, &provider, &assignment).await
    }
}

/// S4: the GPUs are reserved before the assignment is written, and stay reserved unless the API server refuses it.
async fn create(context: &Context, provider: &GpuProvider, assignment: &WorkAssignment) -> Result<(), ReconcileError> {
    let (namespace, spec) = (assignment.namespace().unwrap_or_default(), &assignment.spec);
    let name = (namespace.clone(), assignment.name_any());
    let host = (namespace.clone(), spec.host.clone());
    if !context
        .caches
        .held
        .reserve(name.clone(), host, spec.gpus, offered(provider, &spec.host))
    {
        return Err(ReconcileError::Outdated);
    }
    let _writing = context.writing.acquire().await;
    let answer = metadata_only::create(&context.client, assignment).await;
    match &answer {
        Ok(_) => context.caches.held.written(&name),
        Err(kube::Error::Api(status)) if status.is_already_exists() => context.caches.held.written(&name),
        Err(kube::Error::Api(_)) => context.caches.held.release(&name),
        // Not known: it stays counted, and is written again.
        Err(_) => {}
    }
    created(answer)?;
    Ok(())
}

fn offered(provider: &GpuProvider, host: &str) -> u32 {
    let mut hosts = provider.status.iter().flat_map(|status| &status.hosts);
    hosts.find(|fact| fact.name == host).map_or(0, |fact| fact.gpus)
}

pub(super) async fn delete(context: &Context, namespace: &str, name: &str, uid: &str) -> Result<(), ReconcileError> {
    let api: Api<WorkAssignment> = Api::namespaced(context.client.clone(), namespace);
    deleted(api.delete(name, &only(Some(uid.to_owned()), None)).await)
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
