//! What the operator itself writes into the hub store.

use futures::{StreamExt, TryStreamExt};
use spillway_core::shard::{self, PublishedReport};
use spillway_crds::InferenceJob;

use super::{ReconcileError, found, order_key, uid};
use crate::job::Context;
use crate::job::plan::CandidatesRecord;
use crate::keys;
use crate::verification::{RESULTS_LIMIT, record_accepted, record_rejected};

const PUTS_AT_ONCE: usize = 16;

/// The same cut that the plan made; the manifest last, for it says that the shards are there.
pub(super) async fn split_inline(context: &Context, job: &InferenceJob) -> Result<(), ReconcileError> {
    let count = spillway_crds::market::validate(&job.spec)?.shards;
    let input = job.spec.input.inline.as_deref().unwrap_or_default();
    let (manifest, bodies) = shard::split(input.as_bytes(), count)?;
    let mut puts = Vec::new();
    for (entry, body) in manifest.shards.iter().zip(bodies) {
        let key = keys::shard_input(uid(job), entry.index);
        puts.push(async move { context.store.put(&key, body).await });
    }
    let puts = futures::stream::iter(puts).buffer_unordered(PUTS_AT_ONCE);
    puts.try_collect::<()>().await?;
    Ok(context
        .store
        .put(&keys::manifest(uid(job)), serde_json::to_vec(&manifest)?)
        .await?)
}

/// Shard, attempt and digest of every accepted result, in order.
pub(super) fn accepted_results(job: &InferenceJob) -> Vec<(u32, u16, String)> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    let accepted = shards.filter_map(|shard| {
        let number = shard.accepted_attempt?;
        let attempt = shard.attempts.iter().find(|attempt| attempt.number == number)?;
        Some((shard.index, number, attempt.receipt.as_ref()?.output_digest.clone()))
    });
    accepted.collect()
}

/// Joins the accepted results into one object; the report last, for it says that the results are there.
pub(super) async fn publish(context: &Context, job: &InferenceJob) -> Result<(), ReconcileError> {
    let mut results = Vec::new();
    for (shard, attempt, digest) in accepted_results(job) {
        let key = keys::attempt_results(uid(job), shard, attempt);
        let bytes = context.store.get(&key, RESULTS_LIMIT).await?;
        if shard::digest(&bytes) != digest {
            return Err(ReconcileError::Altered(key));
        }
        results.extend_from_slice(&bytes);
    }
    let key = keys::job_results(uid(job));
    let lines = results
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .count();
    let report = PublishedReport {
        uri: format!("hub://{key}"),
        digest: shard::digest(&results),
        lines: u64::try_from(lines).unwrap_or(u64::MAX),
    };
    context.store.put(&key, results).await?;
    Ok(context
        .store
        .put(&keys::published(uid(job)), serde_json::to_vec(&report)?)
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
