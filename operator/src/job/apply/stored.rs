//! What the operator itself writes into the hub store.

use futures::{StreamExt, TryStreamExt};
use spillway_core::shard;
use spillway_crds::InferenceJob;

use super::{ReconcileError, found, order_key, uid};
use crate::job::Context;
use crate::job::plan::CandidatesRecord;
use crate::keys;
use crate::verification::{record_accepted, record_rejected};

const PUTS_AT_ONCE: usize = 16;

/// The same cut that the plan made; the manifest last, for it says that the shards are there.
pub(super) async fn split_inline(context: &Context, job: &InferenceJob) -> Result<(), ReconcileError> {
    let count = spillway_crds::market::validate(&job.spec)?.shards;
    let input = job.spec.input.inline.as_deref().unwrap_or_default();
    let (manifest, bodies) = shard::split(input.as_bytes(), count)?;
    let inputs: Vec<_> = manifest
        .shards
        .iter()
        .map(|entry| keys::shard_input(uid(job), entry.index))
        .zip(bodies)
        .collect();
    let puts = futures::stream::iter(inputs).map(|(key, body)| async move { context.store.put(&key, body).await });
    puts.buffer_unordered(PUTS_AT_ONCE).try_collect::<()>().await?;
    Ok(context
        .store
        .put(&keys::manifest(uid(job)), serde_json::to_vec(&manifest)?)
        .await?)
}

/// Receipt and verdict of an attempt whose verdict is about to be written.
pub(super) async fn record(
    context: &Context,
    job: &InferenceJob,
    shard: u32,
    attempt: u16,
) -> Result<(), ReconcileError> {
    let (status, shard, attempt) = found(job, shard, attempt)?;
    if attempt.verdict.as_ref().is_some_and(|verdict| verdict.accepted) {
        let key = order_key(context, status).await?;
        let Context { store, place, .. } = context;
        return Ok(record_accepted(store, place, &key, uid(job), status, shard.index, attempt).await?);
    }
    Ok(record_rejected(&context.store, uid(job), shard.index, attempt).await?)
}

/// A plan made again writes its own picture over the earlier one, until its attempts are in the status.
pub(super) async fn candidates(
    context: &Context,
    job: &InferenceJob,
    record: &CandidatesRecord,
) -> Result<(), ReconcileError> {
    let key = keys::candidates(uid(job), &record.name());
    Ok(context.store.put(&key, serde_json::to_vec(record)?).await?)
}
