//! One function per check of a receipt; [`super::check`] is their order.

use alloy_primitives::B256;

use super::{CLOCK_SKEW_SECONDS, Evidence, Receipt, Rejection};
use crate::money::{MicroUsd, UnitPrice};
use crate::order::Order;

type Check = Result<(), Rejection>;

fn reject<T>(field: &'static str, message: String) -> Result<T, Rejection> {
    Err(Rejection { field, message })
}

fn same(field: &'static str, claimed: B256, known: B256) -> Check {
    if claimed == known {
        Ok(())
    } else {
        reject(field, format!("is {claimed}, the hub knows {known}"))
    }
}

pub(super) fn order(receipt: &Receipt, evidence: &Evidence<'_>) -> Check {
    same("receipt.order", receipt.order, evidence.order.hash())
}

pub(super) fn input(receipt: &Receipt, evidence: &Evidence<'_>) -> Check {
    same("receipt.inputDigest", receipt.inputDigest, evidence.input_digest)
}

pub(super) fn output(receipt: &Receipt, evidence: &Evidence<'_>) -> Check {
    same("receipt.outputDigest", receipt.outputDigest, evidence.output_digest)
}

/// The provider's clock is believed within [`CLOCK_SKEW_SECONDS`]; the amount rests on the hub's clock alone.
pub(super) fn times(receipt: &Receipt, evidence: &Evidence<'_>) -> Check {
    let Receipt { started, finished, .. } = *receipt;
    if started > finished {
        return reject("receipt.started", format!("{started} is after finished, {finished}"));
    }
    let earliest = evidence.assigned_at.saturating_sub(CLOCK_SKEW_SECONDS);
    if started < earliest {
        return reject(
            "receipt.started",
            format!("{started} is before the assignment, {}", evidence.assigned_at),
        );
    }
    let latest = evidence.completed_at.saturating_add(CLOCK_SKEW_SECONDS);
    if finished > latest {
        return reject(
            "receipt.finished",
            format!("{finished} is after its arrival, {}", evidence.completed_at),
        );
    }
    Ok(())
}

pub(super) fn expiry(receipt: &Receipt, evidence: &Evidence<'_>) -> Check {
    let expiry = evidence.order.expiry;
    if receipt.finished <= expiry.saturating_add(CLOCK_SKEW_SECONDS) {
        return Ok(());
    }
    reject(
        "receipt.finished",
        format!("{} is after the order's expiry, {expiry}", receipt.finished),
    )
}

pub(super) fn signature(receipt: &Receipt, signature: &[u8], evidence: &Evidence<'_>) -> Check {
    match receipt.recover(evidence.domain, signature) {
        Ok(signer) if signer == evidence.signer => Ok(()),
        Ok(signer) => reject(
            "receipt.signature",
            format!(
                "by {signer}, the receipt key pinned for the provider is {}",
                evidence.signer
            ),
        ),
        Err(error) => reject("receipt.signature", error.to_string()),
    }
}

/// GPU-milliseconds billed and what they cost.
pub(super) fn bill(gpu_millis: u64, order: &Order) -> Result<(u64, MicroUsd), Rejection> {
    let price = UnitPrice(micro("order.unitPrice", order.unitPrice)?);
    let bound = MicroUsd(micro("order.upperBound", order.upperBound)?);
    let billed = gpu_millis.min(price.millis_within(bound));
    Ok((billed, price.cost(billed).min(bound)))
}

fn micro(field: &'static str, amount: u128) -> Result<u64, Rejection> {
    u64::try_from(amount).or_else(|_| reject(field, format!("{amount} micro-USD is more than 2^64 - 1")))
}
