//! The contract does not hold our header yet: get one transaction mined, one nonce in flight.

use spillway_core::knowledge::Knowledge;
use spillway_crds::money::format_bytes;
use spillway_crds::{SettlementState, SettlementStatus, Time, TransactionAttempt};

use super::{Batch, Policy, Step, fail, fees, hold};
use crate::chain::{ChainView, Inclusion, Simulation};
use crate::transaction::{Draft, Fees, stored_fees};

/// EIP-7825: no transaction may ask for more.
const GAS_LIMIT_MAX: u64 = 16_777_216;
/// Transactions that may be mined and revert before a person has to look.
const REVERTS_MAX: usize = 3;

pub(super) fn post(status: &SettlementStatus, view: &ChainView, batch: &Batch, policy: &Policy, now: &Time) -> Step {
    let calldata = format_bytes(&batch.destination.calldata);
    match &status.calldata {
        None => {
            return Step::Record(Box::new(SettlementStatus {
                calldata: Some(calldata),
                ..status.clone()
            }));
        }
        Some(stored) if *stored != calldata => {
            return fail(
                status,
                "Malformed",
                "stored calldata is not that of the sealed batch".to_owned(),
            );
        }
        Some(_) => {}
    }
    let Knowledge::Known(nonce) = view.nonce else {
        return Step::Wait;
    };
    match status.attempts.last() {
        Some(last) if last.nonce == nonce => in_flight(status, last, view, policy, now),
        // Below: an earlier transaction of this key was dropped; a copy at the gap is harmless, the contract sees to it.
        Some(last) if last.nonce < nonce => nonce_used(status, last, nonce, view, policy, now),
        _ => sign(status, nonce, None, view, policy),
    }
}

/// Our transaction is not mined: send it, keep it in the pool, or replace it.
fn in_flight(
    status: &SettlementStatus,
    last: &TransactionAttempt,
    view: &ChainView,
    policy: &Policy,
    now: &Time,
) -> Step {
    let index = status.attempts.len() - 1;
    let is_out = status.state == SettlementState::Broadcast && view.in_pool == Knowledge::Known(true);
    let resend = if is_out { Step::Wait } else { Step::Send(index) };
    if age_seconds(last, now) < policy.bump_after_seconds {
        return resend;
    }
    let Ok(last_fees) = stored_fees(last) else {
        return fail(
            status,
            "Malformed",
            "the fees of the last attempt are not decimal".to_owned(),
        );
    };
    let Knowledge::Known(market) = view.fees else {
        return resend;
    };
    match fees::bumped(last_fees, market, policy.fee_ceiling) {
        Some(_) => sign(status, last.nonce, Some(last_fees), view, policy),
        None if resend == Step::Wait => hold(
            status,
            "FeeCeiling",
            format!("fees are at the ceiling of {} wei per gas", policy.fee_ceiling),
        ),
        None => resend,
    }
}

/// The nonce is used and the contract unchanged: our transaction reverted, or another one took the nonce.
fn nonce_used(
    status: &SettlementStatus,
    last: &TransactionAttempt,
    nonce: u64,
    view: &ChainView,
    policy: &Policy,
    now: &Time,
) -> Step {
    if view.receipts.iter().any(|receipt| receipt.as_ref().known().is_none()) {
        return Step::Wait;
    }
    // A lagging endpoint shows the nonce before the receipt, or the receipt before the contract's state.
    if age_seconds(last, now) < policy.lag_seconds {
        return Step::Wait;
    }
    if view.receipts.iter().filter(|receipt| has_reverted(receipt)).count() >= REVERTS_MAX {
        let message = format!("{REVERTS_MAX} transactions reverted although the calls before them succeeded");
        return hold(status, "Reverts", message);
    }
    sign(status, nonce, None, view, policy)
}

fn has_reverted(receipt: &Knowledge<Option<Inclusion>>) -> bool {
    matches!(receipt, Knowledge::Known(Some(inclusion)) if !inclusion.succeeded)
}

/// Drafts a transaction when it would succeed and can be paid; `replaces` are the fees of the one it replaces.
fn sign(status: &SettlementStatus, nonce: u64, replaces: Option<Fees>, view: &ChainView, policy: &Policy) -> Step {
    let gas_limit = match &view.simulation {
        Knowledge::Unknown => return Step::Wait,
        Knowledge::Known(Simulation::Reverts(revert)) => {
            let step = if revert.permanent { fail } else { hold };
            return step(status, &revert.reason, revert.message.clone());
        }
        Knowledge::Known(Simulation::Succeeds { gas }) => gas_limit(*gas),
    };
    if gas_limit > GAS_LIMIT_MAX {
        return fail(
            status,
            "TooLarge",
            format!("posting needs {gas_limit} gas, a transaction has {GAS_LIMIT_MAX}"),
        );
    }
    if status.attempts.len() >= policy.attempts_max {
        let message = format!(
            "{} transactions were signed and none was mined: look at the chain",
            policy.attempts_max
        );
        return hold(status, "TooManyAttempts", message);
    }
    let Knowledge::Known(market) = view.fees else {
        return Step::Wait;
    };
    let fees = match replaces {
        None => Some(fees::first(market, policy.fee_ceiling)),
        Some(last) => fees::bumped(last, market, policy.fee_ceiling),
    };
    let Some(fees) = fees else { return Step::Wait };
    affordable(status, view, Draft { nonce, gas_limit, fees })
}

fn affordable(status: &SettlementStatus, view: &ChainView, draft: Draft) -> Step {
    let Knowledge::Known(balance) = view.balance else {
        return Step::Wait;
    };
    let cost = u128::from(draft.gas_limit).saturating_mul(draft.fees.max_fee_per_gas);
    if balance < cost {
        return hold(
            status,
            "InsufficientFunds",
            "the poster's account cannot pay the gas: send it coins".to_owned(),
        );
    }
    Step::Sign(draft)
}

/// A quarter over the estimate: slots that a payer or provider touches between estimate and inclusion cost more.
fn gas_limit(estimate: u64) -> u64 {
    estimate.saturating_add(estimate / 4)
}

fn age_seconds(attempt: &TransactionAttempt, now: &Time) -> u64 {
    u64::try_from(now.0.as_second().saturating_sub(attempt.signed_at.0.as_second())).unwrap_or_default()
}
