//! What the hub's store keeps of every accepted attempt, for ever: the signed order and the signed receipt.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use spillway_core::batch::Leaf;

use crate::money::{ConversionError, address};
use crate::{AttemptKind, Receipt, SignedOrder};

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

impl StoredReceipt {
    pub const VERSION: u32 = 1;
    /// Of its keys, below which every job with an accepted attempt has a folder; ends in a slash.
    pub const PREFIX: &str = "receipts/";
    /// One has about 2 KiB.
    pub const SIZE_MAX: u64 = 64 << 10;

    /// Its key in the store.
    pub fn key(job_uid: &str, shard: u32, attempt: u16) -> String {
        format!("{}{job_uid}/{shard}-{attempt}.json", Self::PREFIX)
    }

    /// The leaf that pays this receipt, computed from what was stored at acceptance.
    ///
    /// # Errors
    /// When a field is malformed, or the receipt belongs to another chain or contract.
    pub fn leaf(&self, chain_id: u64, contract: Address) -> Result<Leaf, ConversionError> {
        self.require_of(chain_id, contract)?;
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

    fn require_of(&self, chain_id: u64, contract: Address) -> Result<(), ConversionError> {
        let wrong = |field, message: String| Err(ConversionError { field, message });
        if self.version != Self::VERSION {
            return wrong("version", format!("is {}, known is {}", self.version, Self::VERSION));
        }
        if self.order.chain_id != chain_id || address("order.contract", &self.order.contract)? != contract {
            return wrong(
                "order.contract",
                format!("is for another contract than {contract} on chain {chain_id}"),
            );
        }
        Ok(())
    }
}
