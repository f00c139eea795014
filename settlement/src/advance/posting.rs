//! The contract does not hold our header yet: get one transaction mined, one nonce in flight.

use k8s_openapi::jiff::Timestamp;
use spillway_core::knowledge::Knowledge;
use spillway_crds::money::format_bytes;
use spillway_crds::{SettlementState, SettlementStatus, Time, TransactionAttempt};

use super::account::cost;
use super::{Batch, Facts, Step, TRANSACTION_GAS_MAX, fail, fees, hold};
use crate::chain::{Diagnosis, Inclusion, Refusal, Simulation};
use crate::contract::Revert;
use crate::transaction::{Draft, Fees, Purpose, stored_fees};

/// Gas of a transfer to an account without code.
const CANCEL_GAS: u64 = 21_000;
/// Transactions that may be mined and revert before a person has to look.
const REVERTS_MAX: usize = 3;

pub(super) fn post(status: &SettlementStatus, batch: &Batch, facts: &Facts<'_>) -> Step {
    if let Some(step) = calldata_stored(status, batch) {
        return step;
    }
    let Knowledge::Known(nonce) = facts.view.nonce else {
        return Step::Wait;
    };
    match status.attempts.last() {
        Some(last) if is_of_another_key(last, facts) => drain(status, last, nonce, facts),
        Some(last) if last.nonce == nonce => in_flight(status, last, facts),
        // Below: an earlier transaction of this key was dropped; a copy at the gap is harmless, the contract sees to it.
        Some(last) if last.nonce < nonce => nonce_used(status, last, nonce, facts),
        _ => sign(status, nonce, None, facts),
    }
}

fn calldata_stored(status: &SettlementStatus, batch: &Batch) -> Option<Step> {
    let calldata = format_bytes(&batch.destination.calldata);
    match &status.calldata {
        Some(stored) if *stored == calldata => None,
        Some(_) => {
            let message = "stored calldata is not that of the sealed batch".to_owned();
            Some(fail(status, "Malformed", message))
        }
        None => Some(Step::Record(Box::new(SettlementStatus {
            calldata: Some(calldata),
            ..status.clone()
        }))),
    }
}

fn is_of_another_key(attempt: &TransactionAttempt, facts: &Facts<'_>) -> bool {
    let from = attempt.from.as_ref();
    from.is_some_and(|from| from.parse() != Ok(facts.account.address))
}

/// The key was replaced while a transaction of the old one was out: its stored bytes are sent until it is mined or had
/// its time; then the new key goes on.
fn drain(status: &SettlementStatus, last: &TransactionAttempt, nonce: u64, facts: &Facts<'_>) -> Step {
    let Knowledge::Known(theirs) = facts.view.last_signers_nonce else {
        return Step::Wait;
    };
    let had_its_time = facts.moment.waited_seconds >= facts.policy.bump_after_seconds;
    if last.nonce >= theirs && !had_its_time {
        return send_again(status, facts);
    }
    match sign(status, nonce, None, facts) {
        // The contract still takes the old key alone: its transaction stays the one that may be mined.
        Step::Wait if last.nonce >= theirs => send_again(status, facts),
        step => step,
    }
}

fn send_again(status: &SettlementStatus, facts: &Facts<'_>) -> Step {
    let is_out = status.state == SettlementState::Broadcast && facts.view.in_pool == Knowledge::Known(true);
    match status.attempts.len().checked_sub(1) {
        Some(index) if !is_out => Step::Send(index),
        _ => Step::Wait,
    }
}

/// Our transaction is not mined: send it, keep it in the pool, or replace it.
fn in_flight(status: &SettlementStatus, last: &TransactionAttempt, facts: &Facts<'_>) -> Step {
    let resend = send_again(status, facts);
    let is_due = facts.moment.waited_seconds >= facts.policy.bump_after_seconds;
    if let Knowledge::Known(Simulation::Reverts(revert)) = &facts.view.simulation {
        return match last.cancels {
            false => withdraw(status, last, revert, is_due, facts),
            true if !is_due => resend,
            true => replace(status, last, Purpose::Cancel, facts, resend),
        };
    }
    match facts.view.refusal {
        Some(Refusal::AddressReserved) => {
            let message = "the pool holds transactions of another kind of this key: it must be this poster's alone";
            return or_else(hold(status, "AddressReserved", message.to_owned()), resend);
        }
        // The pool holds a dearer one at this nonce that no log names: waiting would not help.
        Some(Refusal::Underpriced) => {}
        _ if !is_due => return resend,
        _ => {}
    }
    replace(status, last, Purpose::Post, facts, resend)
}

/// The post would revert now: it is not sent again, and one that lies in a pool loses its nonce to a cancellation.
fn withdraw(
    status: &SettlementStatus,
    last: &TransactionAttempt,
    revert: &Revert,
    is_due: bool,
    facts: &Facts<'_>,
) -> Step {
    let is_gone = facts.view.in_pool == Knowledge::Known(false);
    if is_gone && revert.permanent {
        return fail(status, &revert.reason, revert.message.clone());
    }
    let held = hold(status, &revert.reason, revert.message.clone());
    if held == Step::Wait && is_due && !is_gone {
        return replace(status, last, Purpose::Cancel, facts, Step::Wait);
    }
    held
}

/// The same nonce again with higher fees; where that must not be, the reason is told and the last one kept in the pools.
fn replace(
    status: &SettlementStatus,
    last: &TransactionAttempt,
    purpose: Purpose,
    facts: &Facts<'_>,
    resend: Step,
) -> Step {
    let Ok(last_fees) = stored_fees(last) else {
        return fail(
            status,
            "Malformed",
            "the fees of the last attempt are not decimal".to_owned(),
        );
    };
    let replaced = match purpose {
        Purpose::Post => sign(status, last.nonce, Some(last_fees), facts),
        Purpose::Cancel => draft(status, last.nonce, CANCEL_GAS, Purpose::Cancel, Some(last_fees), facts),
    };
    or_else(replaced, resend)
}

fn or_else(step: Step, otherwise: Step) -> Step {
    match step {
        Step::Wait => otherwise,
        step => step,
    }
}

/// The nonce is used and the contract unchanged: ours reverted or was cancelled, or another one took the nonce.
fn nonce_used(status: &SettlementStatus, last: &TransactionAttempt, nonce: u64, facts: &Facts<'_>) -> Step {
    let receipts = &facts.view.receipts;
    if receipts.iter().any(|receipt| receipt.as_ref().known().is_none()) {
        return Step::Wait;
    }
    let mut at_last_nonce = status.attempts.iter().zip(receipts);
    let is_explained = at_last_nonce.any(|(attempt, receipt)| {
        attempt.nonce == last.nonce && (has_reverted(receipt) || (attempt.cancels && is_mined(receipt)))
    });
    // A lagging endpoint shows the nonce before the receipt, or the receipt before the contract's state.
    if !is_explained && facts.moment.waited_seconds < facts.policy.lag_seconds {
        return Step::Wait;
    }
    if receipts.iter().filter(|receipt| has_reverted(receipt)).count() >= REVERTS_MAX {
        let message = match &facts.view.diagnosis {
            Knowledge::Known(Some(Diagnosis::Reverts(revert))) => revert.message.clone(),
            Knowledge::Known(Some(Diagnosis::OutOfGas)) => "the last one ran out of gas".to_owned(),
            _ => "the calls before and after them succeed".to_owned(),
        };
        return hold(
            status,
            "Reverts",
            format!("{REVERTS_MAX} transactions were mined and reverted: {message}"),
        );
    }
    match &facts.view.simulation {
        Knowledge::Known(Simulation::Reverts(revert)) if !revert.permanent => rest(status, revert),
        _ => sign(status, nonce, None, facts),
    }
}

/// Nothing is in flight any more and nothing may be: back to Sealed, with the reason.
fn rest(status: &SettlementStatus, revert: &Revert) -> Step {
    if status.state == SettlementState::Sealed {
        return hold(status, &revert.reason, revert.message.clone());
    }
    Step::Record(Box::new(SettlementStatus {
        state: SettlementState::Sealed,
        reason: Some(revert.reason.clone()),
        message: Some(revert.message.clone()),
        ..status.clone()
    }))
}

fn is_mined(receipt: &Knowledge<Option<Inclusion>>) -> bool {
    matches!(receipt, Knowledge::Known(Some(_)))
}

fn has_reverted(receipt: &Knowledge<Option<Inclusion>>) -> bool {
    matches!(receipt, Knowledge::Known(Some(inclusion)) if !inclusion.succeeded)
}

/// Drafts a post when it would succeed; `replaces` are the fees of the one it replaces.
fn sign(status: &SettlementStatus, nonce: u64, replaces: Option<Fees>, facts: &Facts<'_>) -> Step {
    if let Some(step) = may_not_sign(status, facts) {
        return step;
    }
    let estimate = match &facts.view.simulation {
        Knowledge::Unknown => return Step::Wait,
        Knowledge::Known(Simulation::Reverts(revert)) => {
            let step = if revert.permanent { fail } else { hold };
            return step(status, &revert.reason, revert.message.clone());
        }
        Knowledge::Known(Simulation::Succeeds { gas }) => *gas,
    };
    let gas_limit = gas_limit(status, estimate, facts);
    if gas_limit > TRANSACTION_GAS_MAX {
        let message = format!("posting needs {gas_limit} gas, a transaction has {TRANSACTION_GAS_MAX}");
        return fail(status, "TooLarge", message);
    }
    if gas_limit > facts.policy.gas_limit {
        let message = format!(
            "posting needs {gas_limit} gas, --gas-limit is {}",
            facts.policy.gas_limit
        );
        return hold(status, "GasLimit", message);
    }
    draft(status, nonce, gas_limit, Purpose::Post, replaces, facts)
}

/// The contract must take this key's posts, and nothing else may run in its name.
fn may_not_sign(status: &SettlementStatus, facts: &Facts<'_>) -> Option<Step> {
    let key = facts.account.address;
    match (facts.view.is_delegated, facts.view.may_post) {
        (Knowledge::Known(true), _) => {
            let message = format!("{key} is delegated to code (EIP-7702): give the poster a key of its own");
            Some(hold(status, "DelegatedKey", message))
        }
        (_, Knowledge::Known(false)) => {
            let message = format!("the contract takes posts of another key than {key}: its owner must call setPoster");
            Some(hold(status, "NotPoster", message))
        }
        (Knowledge::Unknown, _) | (_, Knowledge::Unknown) => Some(Step::Wait),
        (Knowledge::Known(false), Knowledge::Known(true)) => None,
    }
}

/// A quarter over the estimate: slots that a payer or provider touches between estimate and inclusion cost more. After
/// one that ran out, twice its limit.
fn gas_limit(status: &SettlementStatus, estimate: u64, facts: &Facts<'_>) -> u64 {
    let usual = estimate.saturating_add(estimate / 4);
    let ran_out = facts.view.diagnosis == Knowledge::Known(Some(Diagnosis::OutOfGas));
    match status.attempts.iter().rev().find(|attempt| !attempt.cancels) {
        Some(last) if ran_out => usual.max(last.gas_limit.saturating_mul(2).min(TRANSACTION_GAS_MAX)),
        _ => usual,
    }
}

/// A transaction within all bounds: attempts, fees, the day's budgets, the account's coins.
fn draft(
    status: &SettlementStatus,
    nonce: u64,
    gas_limit: u64,
    purpose: Purpose,
    replaces: Option<Fees>,
    facts: &Facts<'_>,
) -> Step {
    let (policy, account) = (facts.policy, facts.account);
    if status.attempts.len() >= policy.attempts_max {
        let attempts = policy.attempts_max;
        let message = format!("{attempts} transactions were signed and none was mined: look at the chain");
        return hold(status, "TooManyAttempts", message);
    }
    let (Knowledge::Known(market), Knowledge::Known(head)) = (facts.view.fees, facts.view.head) else {
        return Step::Wait;
    };
    // A batch that failed may have left a transaction at this nonce in the pools.
    let replaces = dearer(replaces, account.pending.get(&nonce).copied());
    let fees = match replaces {
        None => Some(fees::first(market, policy.fee_ceiling)),
        Some(last) => fees::bumped(last, market, policy.fee_ceiling),
    };
    let Some(fees) = fees else {
        let message = format!("fees are at the ceiling of {} wei per gas", policy.fee_ceiling);
        return hold(status, "FeeCeiling", message);
    };
    let Ok(at) = Timestamp::from_second(i64::try_from(head.timestamp).unwrap_or(i64::MAX)) else {
        return Step::Wait;
    };
    let draft = Draft {
        nonce,
        gas_limit,
        fees,
        purpose,
        at: Time(at),
    };
    payable(status, draft, facts)
}

fn dearer(one: Option<Fees>, other: Option<Fees>) -> Option<Fees> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Fees {
            max_fee_per_gas: one.max_fee_per_gas.max(other.max_fee_per_gas),
            max_priority_fee_per_gas: one.max_priority_fee_per_gas.max(other.max_priority_fee_per_gas),
        }),
        (one, other) => one.or(other),
    }
}

/// The day's budgets count each nonce at its dearest, so a replacement counts only what it adds.
fn payable(status: &SettlementStatus, draft: Draft, facts: &Facts<'_>) -> Step {
    let (policy, today) = (facts.policy, facts.account.today);
    let cost_now = cost(draft.gas_limit, draft.fees);
    let known = facts.account.pending.get(&draft.nonce);
    let counted = known.map_or(0, |fees| cost(draft.gas_limit, *fees));
    let wei = today.wei.saturating_add(cost_now.saturating_sub(counted));
    if wei > policy.fee_per_day {
        let message = format!("transactions of this day may cost {} wei together", policy.fee_per_day);
        return hold(status, "DailyFees", message);
    }
    let gas = today
        .gas
        .saturating_add(if known.is_some() { 0 } else { draft.gas_limit });
    if gas > policy.gas_per_day {
        let message = format!("transactions of this day may use {} gas together", policy.gas_per_day);
        return hold(status, "DailyGas", message);
    }
    let Knowledge::Known(balance) = facts.view.balance else {
        return Step::Wait;
    };
    if balance < cost_now {
        let message = format!("{} cannot pay the gas: send it coins", facts.account.address);
        return hold(status, "InsufficientFunds", message);
    }
    Step::Sign(draft)
}
