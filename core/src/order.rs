//! `Order`: a payer's promise for one attempt, signed with the order key that the payer authorised on chain (EIP-712).

#[cfg(test)]
mod tests;

use std::fmt;

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use serde::{Deserialize, Serialize};

use crate::money::UnitPrice;
use crate::signature::{self, SignatureError};

alloy_sol_types::sol! {
    /// `unitPrice` is micro-USD per GPU-hour, `upperBound` micro-USD, the most that the attempt may cost;
    /// `expiry` Unix seconds, the last second at which work may finish; `provider` the payout address.
    #[derive(Debug, PartialEq, Eq)]
    struct Order {
        bytes32 job;
        uint32 shard;
        uint16 attempt;
        uint8 kind;
        address payer;
        address provider;
        uint128 unitPrice;
        uint128 upperBound;
        uint64 expiry;
    }
}

/// What an attempt is for; the number is its code in orders and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    Work = 0,
    Check = 1,
    Arbitrate = 2,
    Repair = 3,
}

impl Kind {
    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Work, Self::Check, Self::Arbitrate, Self::Repair]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Identity of a job in orders and leaves: keccak256 of its `metadata.uid`.
pub fn job_id(uid: &str) -> B256 {
    keccak256(uid.as_bytes())
}

/// EIP-712 domain of orders and receipts: `contract` is the settlement contract.
pub fn domain(chain_id: u64, contract: Address) -> Eip712Domain {
    alloy_sol_types::eip712_domain! {
        name: "Spillway",
        version: "1",
        chain_id: chain_id,
        verifying_contract: contract,
    }
}

impl Order {
    /// EIP-712 `hashStruct`, without the domain: what receipts and leaves name.
    pub fn hash(&self) -> B256 {
        self.eip712_hash_struct()
    }

    /// What the payer's order key signs.
    pub fn signing_hash(&self, domain: &Eip712Domain) -> B256 {
        self.eip712_signing_hash(domain)
    }

    /// Address of the key that signed this order.
    ///
    /// # Errors
    /// As [`signature::recover`].
    pub fn recover(&self, domain: &Eip712Domain, signature: &[u8]) -> Result<Address, SignatureError> {
        signature::recover(self.signing_hash(domain), signature)
    }
}

/// What a provider's agent knows when it is handed an order.
#[derive(Debug)]
pub struct Acceptance<'a> {
    pub domain: &'a Eip712Domain,
    /// Order keys that this provider trusts.
    pub signers: &'a [Address],
    /// The provider's own payout address.
    pub payout: Address,
    /// The provider's price.
    pub price: UnitPrice,
    pub job_uid: &'a str,
    pub shard: u32,
    pub attempt: u16,
    pub kind: Kind,
    /// Unix seconds.
    pub now: u64,
}

/// Why a provider must not work under an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("order.{field}: {message}")]
pub struct OrderRefusal {
    pub field: &'static str,
    pub message: String,
}

fn refuse(field: &'static str, message: String) -> Result<(), OrderRefusal> {
    Err(OrderRefusal { field, message })
}

/// Whether the provider may work under this order; the first check that fails says why not.
///
/// # Errors
/// The first failing check: its field and words for the provider's owner.
pub fn check(order: &Order, signature: &[u8], acceptance: &Acceptance<'_>) -> Result<(), OrderRefusal> {
    same_attempt(order, acceptance)?;
    paid_to_us(order, acceptance)?;
    price_is_ours(order, acceptance)?;
    not_expired(order, acceptance)?;
    signed_by_a_trusted_key(order, signature, acceptance)
}

fn same_attempt(order: &Order, acceptance: &Acceptance<'_>) -> Result<(), OrderRefusal> {
    let Acceptance {
        job_uid,
        shard,
        attempt,
        kind,
        ..
    } = *acceptance;
    if order.job != job_id(job_uid) {
        return refuse("job", format!("is not the hash of job uid {job_uid}"));
    }
    if (order.shard, order.attempt, order.kind) != (shard, attempt, kind.code()) {
        let of = format!("shard {}, attempt {}, kind {}", order.shard, order.attempt, order.kind);
        return refuse(
            "attempt",
            format!("is for {of}; the assignment is {kind} of shard {shard}, attempt {attempt}"),
        );
    }
    Ok(())
}

fn paid_to_us(order: &Order, acceptance: &Acceptance<'_>) -> Result<(), OrderRefusal> {
    if order.provider == acceptance.payout {
        return Ok(());
    }
    refuse(
        "provider",
        format!(
            "pays {}, but our payout address is {}",
            order.provider, acceptance.payout
        ),
    )
}

fn price_is_ours(order: &Order, acceptance: &Acceptance<'_>) -> Result<(), OrderRefusal> {
    if order.unitPrice >= u128::from(acceptance.price.0) {
        return Ok(());
    }
    let price = acceptance.price;
    refuse(
        "unitPrice",
        format!(
            "{} micro-USD per GPU-hour is below our price of {price} USD",
            order.unitPrice
        ),
    )
}

fn not_expired(order: &Order, acceptance: &Acceptance<'_>) -> Result<(), OrderRefusal> {
    if order.expiry > acceptance.now {
        return Ok(());
    }
    refuse(
        "expiry",
        format!("{} has passed; it is {} now", order.expiry, acceptance.now),
    )
}

fn signed_by_a_trusted_key(order: &Order, bytes: &[u8], acceptance: &Acceptance<'_>) -> Result<(), OrderRefusal> {
    match order.recover(acceptance.domain, bytes) {
        Ok(signer) if acceptance.signers.contains(&signer) => Ok(()),
        Ok(signer) => refuse(
            "signature",
            format!("by {signer}, which is not among the order signers of our bundle"),
        ),
        Err(error) => refuse("signature", error.to_string()),
    }
}
