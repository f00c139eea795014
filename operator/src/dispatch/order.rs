//! The order of an attempt, made from the facts in its status: the same facts make the same order again.

use std::time::Duration;

use alloy_primitives::Address;
use alloy_sol_types::Eip712Domain;
use spillway_core::money::{MicroUsd, UnitPrice};
use spillway_core::order::{Kind, Order, domain, job_id};
use spillway_crds::{AttemptKind, AttemptStatus, Payer};

/// Where payment is settled: the chain and the settlement contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPlace {
    pub chain_id: u64,
    pub contract: Address,
}

impl ChainPlace {
    /// EIP-712 domain of orders and receipts.
    pub fn domain(&self) -> Eip712Domain {
        domain(self.chain_id, self.contract)
    }
}

/// A fact that an earlier step should have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is missing or malformed")]
pub struct Incomplete {
    pub field: &'static str,
}

impl Incomplete {
    pub(crate) fn new(field: &'static str) -> Self {
        Self { field }
    }
}

/// Code of a kind in orders and leaves.
pub fn kind_code(kind: AttemptKind) -> Kind {
    match kind {
        AttemptKind::Work => Kind::Work,
        AttemptKind::Check => Kind::Check,
        AttemptKind::Arbitrate => Kind::Arbitrate,
        AttemptKind::Repair => Kind::Repair,
    }
}

/// The most that one attempt may cost: its price over the whole shard timeout on all its GPUs.
pub fn upper_bound(price: UnitPrice, gpus: u32, shard_timeout: Duration) -> MicroUsd {
    let millis = u64::try_from(shard_timeout.as_millis()).unwrap_or(u64::MAX);
    price.cost(millis.saturating_mul(u64::from(gpus)))
}

/// The order of an attempt whose terms are locked.
///
/// # Errors
/// Names the first term that is not there yet.
pub fn order_of(job_uid: &str, payer: &Payer, shard: u32, attempt: &AttemptStatus) -> Result<Order, Incomplete> {
    let address = |text: &str, field| text.parse::<Address>().map_err(|_| Incomplete::new(field));
    let payout = attempt.payout.as_deref().unwrap_or_default();
    let price = attempt.unit_price_micro.ok_or(Incomplete::new("attempt.unitPriceMicro"))?;
    Ok(Order {
        job: job_id(job_uid),
        shard,
        attempt: attempt.number,
        kind: kind_code(attempt.kind).code(),
        payer: address(&payer.address, "status.payer.address")?,
        provider: address(payout, "attempt.payout")?,
        unitPrice: u128::from(price),
        upperBound: u128::from(attempt.upper_bound_micro),
        expiry: attempt.order_expiry.ok_or(Incomplete::new("attempt.orderExpiry"))?,
    })
}

