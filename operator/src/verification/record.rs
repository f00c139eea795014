//! What outlives the job: the accepted receipt with its order, and one object per verdict.

use serde::{Deserialize, Serialize};
use spillway_core::batch::Leaf;
use spillway_crds::money::{ConversionError, address};
use spillway_crds::{AttemptKind, AttemptStatus, InferenceJobStatus, Receipt, SignedOrder};

use crate::dispatch::{ChainPlace, DispatchError, OrderKey, sign_order};
use crate::keys;
use crate::store::{HubStore, StoreError};

const VERSION: u32 = 1;
/// A stored receipt has about 2 KiB.
const RECEIPT_LIMIT: u64 = 64 << 10;

/// `receipts/<job uid>/<shard>-<attempt>.json`: all that is needed to pay an accepted attempt, and to prove why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredReceipt {
    pub version: u32,
    pub job_uid: String,
    pub shard: u32,
    pub attempt: u16,
    pub kind: AttemptKind,
    /// Name of the GpuProvider.
    pub provider: String,
    pub order: SignedOrder,
    pub receipt: Receipt,
    /// What is owed.
    pub amount_micro: u64,
}

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
    let stored = StoredReceipt::of(job_uid, shard, attempt, order)?;
    store
        .put(
            &keys::receipt(job_uid, shard, attempt.number),
            serde_json::to_vec(&stored)?,
        )
        .await?;
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
    let bytes = store
        .get(&keys::receipt(job_uid, shard, attempt), RECEIPT_LIMIT)
        .await?;
    Ok(serde_json::from_slice(&bytes)?)
}

impl StoredReceipt {
    fn of(job_uid: &str, shard: u32, attempt: &AttemptStatus, order: SignedOrder) -> Result<Self, ConversionError> {
        Ok(Self {
            version: VERSION,
            job_uid: job_uid.to_owned(),
            shard,
            attempt: attempt.number,
            kind: attempt.kind,
            provider: attempt.provider.clone().ok_or_else(|| missing("attempt.provider"))?,
            order,
            receipt: attempt.receipt.clone().ok_or_else(|| missing("attempt.receipt"))?,
            amount_micro: attempt.amount_micro.ok_or_else(|| missing("attempt.amountMicro"))?,
        })
    }

    /// The leaf that pays this receipt, computed from what was stored at acceptance.
    ///
    /// # Errors
    /// When a field is malformed, or the receipt belongs to another chain or contract.
    pub fn leaf(&self, place: &ChainPlace) -> Result<Leaf, RecordError> {
        let contract = address("order.contract", &self.order.contract)?;
        if self.version != VERSION || self.order.chain_id != place.chain_id || contract != place.contract {
            return Err(RecordError::Differs("version, chain or contract"));
        }
        let order = self.order.order(&self.job_uid, self.shard, self.attempt, self.kind)?;
        let hash = order.hash();
        Ok(Leaf {
            job: order.job,
            shard: order.shard,
            attempt: order.attempt,
            kind: order.kind,
            payer: order.payer,
            provider: order.provider,
            amount: self.amount_micro.into(),
            order: hash,
            receipt: self.receipt.signed_part(hash)?.hash(),
        })
    }
}

#[cfg(test)]
mod tests;
