//! What outlives the job: the accepted receipt with its order, and one object per verdict.

use spillway_crds::money::ConversionError;
use spillway_crds::{AttemptStatus, InferenceJobStatus, SignedOrder, StoredReceipt};

use crate::dispatch::{ChainPlace, DispatchError, OrderKey, sign_order};
use crate::keys;
use crate::store::{HubStore, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Terms(#[from] ConversionError),
    #[error(transparent)]
    Order(#[from] DispatchError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("stored receipt: not the JSON that was written")]
    Json(#[from] serde_json::Error),
    #[error("stored receipt: {0} does not match the job's status")]
    Differs(&'static str),
}

/// Writes order, receipt and signatures of an accepted attempt, and its verdict, before the status says so.
///
/// `status` is the one about to be written; `attempt` carries `verdict` and `amount_micro`. Repeating it writes the same
/// bytes. A rejected attempt takes [`record_rejected`].
///
/// # Errors
/// `Store`: it is not known whether it was written; call again before the status is.
pub async fn record_accepted(
    store: &HubStore,
    place: &ChainPlace,
    key: &OrderKey,
    job_uid: &str,
    status: &InferenceJobStatus,
    shard: u32,
    attempt: &AttemptStatus,
) -> Result<(), RecordError> {
    let order = sign_order(place, key, job_uid, status, shard, attempt)?;
    let stored = stored(job_uid, shard, attempt, order)?;
    let key = StoredReceipt::key(job_uid, shard, attempt.number);
    store.put(&key, serde_json::to_vec(&stored)?).await?;
    record_verdict(store, true, job_uid, shard, attempt).await
}

/// Writes the verdict over an attempt that is not accepted.
///
/// # Errors
/// As [`record_accepted`].
pub async fn record_rejected(
    store: &HubStore,
    job_uid: &str,
    shard: u32,
    attempt: &AttemptStatus,
) -> Result<(), RecordError> {
    record_verdict(store, false, job_uid, shard, attempt).await
}

async fn record_verdict(
    store: &HubStore,
    accepted: bool,
    job_uid: &str,
    shard: u32,
    attempt: &AttemptStatus,
) -> Result<(), RecordError> {
    let provider = attempt.provider.as_deref().ok_or_else(|| missing("attempt.provider"))?;
    let key = keys::verdict(provider, accepted, job_uid, shard, attempt.number);
    Ok(store.put(&key, serde_json::to_vec(&attempt.verdict)?).await?)
}

fn missing(field: &'static str) -> ConversionError {
    ConversionError {
        field,
        message: "is not set yet".to_owned(),
    }
}

/// Reads the receipt of an accepted attempt.
///
/// # Errors
/// `Store` with `NotFound` when it was never written.
pub async fn stored_receipt(
    store: &HubStore,
    job_uid: &str,
    shard: u32,
    attempt: u16,
) -> Result<StoredReceipt, RecordError> {
    let key = StoredReceipt::key(job_uid, shard, attempt);
    let bytes = store.get(&key, StoredReceipt::SIZE_MAX).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn stored(
    job_uid: &str,
    shard: u32,
    attempt: &AttemptStatus,
    order: SignedOrder,
) -> Result<StoredReceipt, ConversionError> {
    Ok(StoredReceipt {
        version: StoredReceipt::VERSION,
        job_uid: job_uid.to_owned(),
        shard,
        attempt: attempt.number,
        kind: attempt.kind,
        provider: attempt.provider.clone().ok_or_else(|| missing("attempt.provider"))?,
        order,
        receipt: *attempt.receipt.clone().ok_or_else(|| missing("attempt.receipt"))?,
        amount_micro: attempt.amount_micro.ok_or_else(|| missing("attempt.amountMicro"))?,
    })
}

#[cfg(test)]
mod tests;
