//! `Receipt`: a provider's account of one finished attempt (EIP-712), and the checks that turn it into an amount.

mod checks;
#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256};
use alloy_sol_types::{Eip712Domain, SolStruct};

use crate::money::MicroUsd;
use crate::order::Order;
use crate::signature::{self, SignatureError};

/// How far a provider's clock may be off before its times are refused.
pub const CLOCK_SKEW_SECONDS: u64 = 120;

alloy_sol_types::sol! {
    /// `order` is the hash of the order; digests are SHA-256; `started` and `finished` Unix seconds;
    /// `meteredMillis` GPU-milliseconds over all GPUs of the attempt.
    #[derive(Debug, PartialEq, Eq)]
    struct Receipt {
        bytes32 order;
        bytes32 inputDigest;
        bytes32 outputDigest;
        uint64 started;
        uint64 finished;
        uint64 meteredMillis;
        uint64 promptTokens;
        uint64 completionTokens;
    }
}

impl Receipt {
    /// EIP-712 `hashStruct`, without the domain: what leaves name.
    pub fn hash(&self) -> B256 {
        self.eip712_hash_struct()
    }

    /// What the provider's receipt key signs.
    pub fn signing_hash(&self, domain: &Eip712Domain) -> B256 {
        self.eip712_signing_hash(domain)
    }

    /// Address of the key that signed this receipt.
    ///
    /// # Errors
    /// As [`signature::recover`].
    pub fn recover(&self, domain: &Eip712Domain, signature: &[u8]) -> Result<Address, SignatureError> {
        signature::recover(self.signing_hash(domain), signature)
    }
}

/// What the hub itself knows of an attempt, against which a receipt is held.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub domain: &'a Eip712Domain,
    pub order: &'a Order,
    /// Receipt key of the provider, pinned when it joined.
    pub signer: Address,
    /// SHA-256 of the shard's input bytes, from the manifest.
    pub input_digest: B256,
    /// SHA-256 of the result object as it lies in the hub's store.
    pub output_digest: B256,
    pub gpus: u32,
    /// Unix seconds when the hub wrote the assignment.
    pub assigned_at: u64,
    /// Unix seconds when the hub saw it completed.
    pub completed_at: u64,
}

/// GPU-milliseconds between assignment and completion (Unix seconds of the hub's clock).
pub fn wall_gpu_millis(assigned_at: u64, completed_at: u64, gpus: u32) -> u64 {
    // Both times are cut to whole seconds: one more, so that no honest millisecond is lost.
    let seconds = completed_at.saturating_sub(assigned_at).saturating_add(1);
    seconds.saturating_mul(1000).saturating_mul(u64::from(gpus))
}

/// A receipt that passed every check, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub order_hash: B256,
    pub receipt_hash: B256,
    /// min(runner's meter, wall time that the hub saw × GPUs, what the order's bound pays for).
    pub billed_millis: u64,
    /// `billed_millis` at the order's unit price, rounded up once, at most the order's bound.
    pub amount: MicroUsd,
}

/// Why a receipt is not accepted; `field` is the receipt's or the order's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Rejection {
    pub field: &'static str,
    pub message: String,
}

/// Holds a receipt against what the hub knows and computes the amount owed.
///
/// # Errors
/// The first check that fails.
pub fn check(receipt: &Receipt, signature: &[u8], evidence: &Evidence<'_>) -> Result<Accepted, Rejection> {
    checks::order(receipt, evidence)?;
    checks::input(receipt, evidence)?;
    checks::output(receipt, evidence)?;
    checks::times(receipt, evidence)?;
    checks::expiry(receipt, evidence)?;
    checks::signature(receipt, signature, evidence)?;
    let wall = wall_gpu_millis(evidence.assigned_at, evidence.completed_at, evidence.gpus);
    let (billed_millis, amount) = checks::bill(receipt.meteredMillis.min(wall), evidence.order)?;
    Ok(Accepted {
        order_hash: receipt.order,
        receipt_hash: receipt.hash(),
        billed_millis,
        amount,
    })
}

/// Bytes of a `sha256:<64 hex digits>` digest; `None` when the text is anything else.
pub fn parse_digest(text: &str) -> Option<B256> {
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64)?;
    hex::decode(digits).ok().map(|bytes| B256::from_slice(&bytes))
}

/// `sha256:<64 hex digits>`.
pub fn format_digest(digest: B256) -> String {
    format!("sha256:{}", hex::encode(digest))
}
