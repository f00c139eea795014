//! Conditions: what a person must know, beside the state. They are derived from the status that a step leaves and from
//! the facts it was decided on, and written with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use spillway_core::knowledge::Knowledge;
use spillway_crds::settlement_condition::{FINAL, FOREIGN_TRANSACTION, FUNDS_LOW, POSTED};
use spillway_crds::{SettlementState, SettlementStatus, Time};

use super::account::cost;
use super::{Facts, Step, is_on_chain};
use crate::chain::Simulation;
use crate::transaction::Fees;

/// The step, with the conditions in what it stores. A step that stores nothing, or signs or sends, is put off by one
/// record when an alarm is news: what alarms now may not be seen from the next state.
pub(super) fn raised(status: &SettlementStatus, facts: &Facts<'_>, step: Step) -> Step {
    if let Step::Record(next) = step {
        return Step::Record(Box::new(told(*next, facts)));
    }
    // Where the chain could not be asked, nothing is news.
    if step == Step::Wait && facts.view.posted == Knowledge::Unknown {
        return step;
    }
    let next = told(status.clone(), facts);
    let is_news = match step {
        Step::Wait => next != *status,
        _ => alarms(&next) != alarms(status),
    };
    match is_news {
        true => Step::Record(Box::new(next)),
        false => step,
    }
}

fn alarms(status: &SettlementStatus) -> Vec<&str> {
    let is_alarm = |condition: &&Condition| {
        [FUNDS_LOW, FOREIGN_TRANSACTION].contains(&condition.type_.as_str()) && condition.status == "True"
    };
    let alarms = status.conditions.iter().filter(is_alarm);
    alarms.map(|condition| condition.type_.as_str()).collect()
}

fn told(status: SettlementStatus, facts: &Facts<'_>) -> SettlementStatus {
    let now = &facts.moment.now;
    let mut status = stated(status, now);
    if let Some((low, message)) = funds_low(facts) {
        let reason = if low { "BalanceLow" } else { "BalanceGood" };
        set(&mut status.conditions, FUNDS_LOW, low, reason, message, now);
    }
    if let Some(message) = foreign_transaction(&status, facts) {
        set(
            &mut status.conditions,
            FOREIGN_TRANSACTION,
            true,
            "NonceUsed",
            message,
            now,
        );
    }
    status
}

/// The status with the conditions that its own state and reason say.
pub(crate) fn stated(mut status: SettlementStatus, now: &Time) -> SettlementStatus {
    let (reason, message) = posted_words(&status);
    let is_final = status.state == SettlementState::Final;
    set(
        &mut status.conditions,
        POSTED,
        is_on_chain(status.state),
        &reason,
        message,
        now,
    );
    let reason = if is_final { "Final" } else { "NotFinal" };
    set(&mut status.conditions, FINAL, is_final, reason, String::new(), now);
    status
}

fn posted_words(status: &SettlementStatus) -> (String, String) {
    let reason = match status.reason.clone() {
        Some(reason) => reason,
        None => format!("{:?}", status.state),
    };
    (reason, status.message.clone().unwrap_or_default())
}

/// Whether the account could not pay `reserve_posts` more posts at the fee ceiling. `None` where it was not asked.
fn funds_low(facts: &Facts<'_>) -> Option<(bool, String)> {
    let (Knowledge::Known(balance), Knowledge::Known(Simulation::Succeeds { gas })) =
        (facts.view.balance, &facts.view.simulation)
    else {
        return None;
    };
    let dearest = Fees {
        max_fee_per_gas: facts.policy.fee_ceiling,
        max_priority_fee_per_gas: 0,
    };
    let posts = u128::from(facts.policy.reserve_posts);
    let low = balance < cost(*gas, dearest).saturating_mul(posts);
    let message = match low {
        true => format!(
            "{} could not pay {posts} posts at the fee ceiling: send it coins",
            facts.account.address
        ),
        false => String::new(),
    };
    Some((low, message))
}

/// A nonce of our key that a transaction used which no log names. The key must be this poster's alone.
pub fn foreign_transaction(status: &SettlementStatus, facts: &Facts<'_>) -> Option<String> {
    let Knowledge::Known(nonce) = facts.view.nonce else {
        return None;
    };
    let key = facts.account.address;
    if let Some(next) = facts.account.next_nonce.filter(|next| nonce > *next) {
        return Some(format!(
            "nonces {next} to {} of {key} were used by transactions that no log names",
            nonce - 1
        ));
    }
    let last = status.attempts.last()?;
    let is_ours = last.from.as_ref().is_none_or(|from| from.parse() == Ok(key));
    let lagged = facts.moment.waited_seconds >= facts.policy.lag_seconds;
    if !is_ours || last.nonce >= nonce || !lagged {
        return None;
    }
    let at_last_nonce = status.attempts.iter().zip(&facts.view.receipts);
    let mut at_last_nonce = at_last_nonce.filter(|(attempt, _)| attempt.nonce == last.nonce);
    at_last_nonce
        .all(|(_, receipt)| *receipt == Knowledge::Known(None))
        .then(|| {
            format!(
                "nonce {} of {key} was used by a transaction that no log names",
                last.nonce
            )
        })
}

/// The time of transition is that of the last change of status, as everywhere in Kubernetes.
fn set(conditions: &mut Vec<Condition>, kind: &str, is: bool, reason: &str, message: String, now: &Time) {
    let status = if is { "True" } else { "False" };
    let made = |since: Time| Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.clone(),
        last_transition_time: since,
        observed_generation: None,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(known) if known.status == status => *known = made(known.last_transition_time.clone()),
        Some(known) => *known = made(now.clone()),
        None => conditions.push(made(now.clone())),
    }
}
