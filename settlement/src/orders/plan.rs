//! Whose orders must be shown, and what a Settlement's condition `Disputed` says. Pure.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use k8s_openapi::jiff::Timestamp;
use spillway_core::batch::Leaf;
use spillway_crds::{Condition, Settlement, SettlementState, Time, settlement_condition};

use crate::chain::{Fault, Filed, PayerFact, Stage};

/// Why posts no longer go without help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It asked its deposit back.
    Withdraws,
    /// It has no order key, or one that expired.
    Keyless,
}

/// Whether `payer` may be gone when what it owes is posted; `now` is block time, Unix seconds.
pub fn leaving(payer: &PayerFact, now: u64) -> Option<Leaving> {
    if payer.order_key.is_zero() || now > payer.expiry {
        Some(Leaving::Keyless)
    } else if payer.withdraw_requested != 0 {
        Some(Leaving::Withdraws)
    } else {
        None
    }
}

/// Whether the batch may still have to be posted: until finality a reorganisation can take a post back.
pub fn is_waiting(settlement: &Settlement) -> bool {
    let state = settlement
        .status
        .as_ref()
        .map(|status| status.state)
        .unwrap_or_default();
    !matches!(state, SettlementState::Final | SettlementState::Failed)
}

/// Leaves whose orders the contract should hold money for, in the leaves' order.
pub fn to_hold<'a>(leaves: &'a [Leaf], payers: &BTreeMap<Address, PayerFact>, now: u64) -> Vec<&'a Leaf> {
    let leaves_owner = |leaf: &&Leaf| payers.get(&leaf.payer).is_some_and(|its| leaving(its, now).is_some());
    leaves.iter().filter(leaves_owner).collect()
}

/// What is said of all disputes about one Settlement; `None` when there are none.
pub fn condition(filings: &[Filed], before: Option<&Condition>, now: Timestamp) -> Option<Condition> {
    let of = |stage| filings.iter().filter(move |one| one.stage == stage);
    let (status, (reason, message)) = if let Some(one) = of(Stage::Open).min_by_key(|one| one.deadline) {
        ("True", open(one))
    } else if let Some(one) = of(Stage::Proven).next() {
        ("True", proven(one))
    } else {
        ("False", answered(of(Stage::Answered).next()?))
    };
    let unchanged = before.filter(|before| before.status == status);
    Some(Condition {
        type_: settlement_condition::DISPUTED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: unchanged.map_or(Time(now), |before| before.last_transition_time.clone()),
        observed_generation: None,
    })
}

type Said = (&'static str, String);

fn open(one: &Filed) -> Said {
    let Filed {
        id, deadline, provider, ..
    } = one;
    let line = one.at.line;
    let until = format!("before {deadline} (Unix seconds)");
    match one.fault {
        Fault::MissingOrder => (
            "OrderAsked",
            format!("dispute {id} asks for the signed order of line {line}: it counts {until}"),
        ),
        Fault::WithheldPay => (
            "PayAsked",
            format!("dispute {id} asks for the place of provider {provider} in the pay root: it counts {until}"),
        ),
        fault => (
            "ProviderFrozen",
            format!(
                "dispute {id} is a verdict over line {line} ({fault:?}): nothing is paid to {provider}; the authority may \
                 veto it {until}"
            ),
        ),
    }
}

fn proven(one: &Filed) -> Said {
    let line = one.at.line;
    match one.fault {
        Fault::MissingOrder => (
            "LineVoid",
            format!("no order was shown for line {line}: it is void, its payer has the amount back"),
        ),
        Fault::WithheldPay => (
            "BatchBroken",
            format!(
                "the place of provider {} in the pay root was not shown: the batch and all after it pay nothing",
                one.provider
            ),
        ),
        fault => (
            "LineVoid",
            format!("the verdict over line {line} ({fault:?}) was executed"),
        ),
    }
}

fn answered(one: &Filed) -> Said {
    let line = one.at.line;
    match one.fault {
        Fault::MissingOrder => ("Answered", format!("the order of line {line} was shown")),
        Fault::WithheldPay => (
            "Answered",
            format!("the place of provider {} in the pay root was shown", one.provider),
        ),
        fault => ("Vetoed", format!("the verdict over line {line} ({fault:?}) was vetoed")),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;
    use spillway_core::offence::At;

    use super::*;

    fn payer(withdraw_requested: u128, key: u8, expiry: u64) -> PayerFact {
        PayerFact {
            deposit: 10,
            withdraw_requested,
            order_key: Address::repeat_byte(key),
            cap_per_day: 10,
            spent_today: 0,
            expiry,
        }
    }

    #[test]
    fn who_leaves_is_who_asked_its_deposit_back_or_has_no_good_key() {
        assert_eq!(leaving(&payer(0, 1, 100), 100), None);
        assert_eq!(leaving(&payer(0, 1, 100), 101), Some(Leaving::Keyless));
        assert_eq!(leaving(&payer(0, 0, 100), 50), Some(Leaving::Keyless));
        assert_eq!(leaving(&payer(1, 1, 100), 50), Some(Leaving::Withdraws));
    }

    fn filed(fault: Fault, stage: Stage, line: u32, deadline: u64) -> Filed {
        Filed {
            id: u64::from(line) + 10,
            fault,
            stage,
            at: At { settlement: 1, line },
            challenger: Address::ZERO,
            payer: Address::ZERO,
            provider: Address::repeat_byte(0xb0),
            refund: 0,
            deadline,
            leaf_hash: B256::ZERO,
        }
    }

    fn challenge(stage: Stage, line: u32, deadline: u64) -> Filed {
        filed(Fault::MissingOrder, stage, line, deadline)
    }

    #[test]
    fn each_kind_of_dispute_is_told_in_its_own_words() {
        let reasons = |fault| {
            [Stage::Open, Stage::Proven, Stage::Answered].map(|stage| told(&[filed(fault, stage, 2, 80)]).unwrap().0)
        };
        assert_eq!(reasons(Fault::MissingOrder), ["OrderAsked", "LineVoid", "Answered"]);
        assert_eq!(reasons(Fault::WithheldPay), ["PayAsked", "BatchBroken", "Answered"]);
        assert_eq!(reasons(Fault::WrongResult), ["ProviderFrozen", "LineVoid", "Vetoed"]);
    }

    fn told(challenges: &[Filed]) -> Option<(String, String)> {
        let now = Timestamp::UNIX_EPOCH;
        condition(challenges, None, now).map(|condition| (condition.reason, condition.message))
    }

    #[test]
    fn the_most_urgent_open_challenge_is_told_then_what_was_lost_then_what_was_answered() {
        assert_eq!(told(&[]), None);
        let answered = challenge(Stage::Answered, 1, 5);
        let lost = challenge(Stage::Proven, 2, 5);
        let (late, soon) = (challenge(Stage::Open, 3, 90), challenge(Stage::Open, 4, 80));
        let (reason, message) = told(&[answered, lost, late, soon]).unwrap();
        assert_eq!(reason, "OrderAsked");
        assert!(
            message.contains("dispute 14") && message.contains("line 4") && message.contains("80"),
            "{message}"
        );
        assert_eq!(told(&[answered, lost]).unwrap().0, "LineVoid");
        assert_eq!(told(&[answered]).unwrap().0, "Answered");
    }
}
