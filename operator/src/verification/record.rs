//! What outlives the job: the accepted receipt with its order, and one object per verdict.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spillway_core::batch::Leaf;
use spillway_core::order::Order;
use spillway_crds::{AttemptKind, AttemptStatus, Payer, Receipt};

use super::examination::core_receipt;
use crate::dispatch::{ChainPlace, Incomplete, kind_code, order_of};
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
    pub chain_id: u64,
    pub contract: String,
    pub payer: String,
    pub payout: String,
    pub unit_price_micro: u64,
    pub upper_bound_micro: u64,
    /// Unix seconds.
    pub order_expiry: u64,
    pub receipt: Receipt,
    /// What is owed.
    pub amount_micro: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("stored receipt: not the JSON that was written")]
    Json(#[from] serde_json::Error),
    #[error("stored receipt: {0} does not match the job's status")]
    Differs(&'static str),
}

/// Writes the receipt of an accepted attempt (before the status says so) and its verdict; repeating it writes the same.
///
/// `attempt` carries the verdict and, when accepted, `amount_micro`.
///
/// # Errors
/// `Store`: it is not known whether it was written; call again before the status is.
pub async fn record_verdict(
    store: &HubStore,
    place: &ChainPlace,
    job_uid: &str,
    payer: &Payer,
    shard: u32,
    attempt: &AttemptStatus,
) -> Result<(), RecordError> {
    let verdict = attempt.verdict.as_ref().ok_or(Incomplete::new("attempt.verdict"))?;
    let provider = attempt.provider.as_deref().ok_or(Incomplete::new("attempt.provider"))?;
    if verdict.accepted {
        let stored = StoredReceipt::of(place, job_uid, payer, shard, attempt)?;
        store.put(&keys::receipt(job_uid, shard, attempt.number), serde_json::to_vec(&stored)?).await?;
    }
    let key = keys::verdict(provider, verdict.accepted, job_uid, shard, attempt.number);
    Ok(store.put(&key, Bytes::from(serde_json::to_vec(verdict)?)).await?)
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
    let bytes = store.get(&keys::receipt(job_uid, shard, attempt), RECEIPT_LIMIT).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

impl StoredReceipt {
    fn of(
        place: &ChainPlace,
        job_uid: &str,
        payer: &Payer,
        shard: u32,
        attempt: &AttemptStatus,
    ) -> Result<Self, Incomplete> {
        let missing = Incomplete::new;
        Ok(Self {
            version: VERSION,
            job_uid: job_uid.to_owned(),
            shard,
            attempt: attempt.number,
            kind: attempt.kind,
            provider: attempt.provider.clone().ok_or(missing("attempt.provider"))?,
            chain_id: place.chain_id,
            contract: place.contract.to_string(),
            payer: payer.address.clone(),
            payout: attempt.payout.clone().ok_or(missing("attempt.payout"))?,
            unit_price_micro: attempt.unit_price_micro.ok_or(missing("attempt.unitPriceMicro"))?,
            upper_bound_micro: attempt.upper_bound_micro,
            order_expiry: attempt.order_expiry.ok_or(missing("attempt.orderExpiry"))?,
            receipt: attempt.receipt.clone().ok_or(missing("attempt.receipt"))?,
            amount_micro: attempt.amount_micro.ok_or(missing("attempt.amountMicro"))?,
        })
    }

    /// The leaf that pays this receipt. It must say what the job's status says: the amount is compared.
    ///
    /// # Errors
    /// When a field is malformed, or the status owes another amount.
    pub fn leaf(&self, amount_micro: u64) -> Result<Leaf, RecordError> {
        if self.amount_micro != amount_micro {
            return Err(RecordError::Differs("amountMicro"));
        }
        let order = self.order()?;
        let hash = order.hash();
        let (receipt, _) = core_receipt(&self.receipt, hash).map_err(Incomplete::new)?;
        Ok(Leaf {
            job: order.job,
            shard: order.shard,
            attempt: order.attempt,
            kind: kind_code(self.kind).code(),
            payer: order.payer,
            provider: order.provider,
            amount: u128::from(amount_micro),
            order: hash,
            receipt: receipt.hash(),
        })
    }

    fn order(&self) -> Result<Order, Incomplete> {
        let payer = Payer { spend_policy: String::new(), address: self.payer.clone() };
        let terms = AttemptStatus {
            number: self.attempt,
            kind: self.kind,
            payout: Some(self.payout.clone()),
            unit_price_micro: Some(self.unit_price_micro),
            upper_bound_micro: self.upper_bound_micro,
            order_expiry: Some(self.order_expiry),
            ..AttemptStatus::default()
        };
        order_of(&self.job_uid, &payer, self.shard, &terms)
    }
}
