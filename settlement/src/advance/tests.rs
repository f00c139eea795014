//! Each test is a row of the failure table: what the log and the chain say, and the one right step.

use alloy::primitives::{Address, B256, U256};
use k8s_openapi::jiff::Timestamp;
use spillway_core::batch::{Leaf, seal};
use spillway_crds::money::format_bytes;
use spillway_crds::{Settlement, TransactionAttempt};

use super::*;
use crate::chain::{Archived, Diagnosis, Head, Inclusion, Refusal, Simulation};
use crate::contract::Revert;
use crate::transaction::{Fees, Purpose};

const CONTRACT: Address = Address::repeat_byte(0x5a);
const PLACE: Place = Place {
    chain_id: 31337,
    contract: CONTRACT,
};
const NOW: i64 = 1_800_000_000;

fn spec(sequence: u64) -> SettlementSpec {
    let leaf = Leaf {
        job: B256::repeat_byte(1),
        shard: 0,
        attempt: 0,
        kind: 0,
        payer: Address::repeat_byte(2),
        provider: Address::repeat_byte(3),
        amount: 29_477,
        order: B256::repeat_byte(4),
        receipt: B256::repeat_byte(5),
    };
    let previous = if sequence == 1 {
        B256::ZERO
    } else {
        B256::repeat_byte(6)
    };
    let sealed = seal(31337, CONTRACT, sequence, previous, vec![leaf]).unwrap();
    SettlementSpec::from_sealed(31337, CONTRACT, &sealed, "settlements/x.json".to_owned()).unwrap()
}

fn header_hash(spec: &SettlementSpec) -> B256 {
    spec.header_hash.parse().unwrap()
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

const KEY: Address = Address::repeat_byte(0x6e);

fn attempt(nonce: u64, fee: u128) -> TransactionAttempt {
    TransactionAttempt {
        from: Some(KEY.to_string()),
        cancels: false,
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: fee.to_string(),
        max_priority_fee_per_gas: "10".to_owned(),
        signature: format_bytes([1; 65]),
        hash: B256::left_padding_from(&[nonce as u8, fee as u8]).to_string(),
        signed_at: at(NOW),
    }
}

fn logged(state: SettlementState, attempts: Vec<TransactionAttempt>) -> SettlementStatus {
    let calldata = format_bytes(Batch::of(&spec(1)).unwrap().destination.calldata);
    stored(SettlementStatus {
        state,
        calldata: Some(calldata),
        attempts,
        ..SettlementStatus::default()
    })
}

/// A healthy chain that has seen nothing of us; the poster's nonce is 7.
fn untouched() -> ChainView {
    use Knowledge::Known;
    ChainView {
        head: Known(Head {
            number: 100,
            hash: B256::repeat_byte(0xff),
            timestamp: NOW as u64,
        }),
        archived: Knowledge::Unknown,
        last_signers_nonce: Knowledge::Unknown,
        may_post: Known(true),
        is_delegated: Known(false),
        diagnosis: Known(None),
        refusal: None,
        posted: Known(B256::ZERO),
        posted_safe: Knowledge::Unknown,
        posted_final: Known(B256::ZERO),
        next_sequence: Known(1),
        nonce: Known(7),
        receipts: vec![],
        event: Knowledge::Unknown,
        in_pool: Known(false),
        fees: Known(Fees {
            max_fee_per_gas: 1_000,
            max_priority_fee_per_gas: 10,
        }),
        balance: Known(u128::MAX),
        simulation: Known(Simulation::Succeeds { gas: 80_000 }),
    }
}

fn mined(attempt: &TransactionAttempt, succeeded: bool, block: u8) -> Knowledge<Option<Inclusion>> {
    Knowledge::Known(Some(Inclusion {
        transaction: attempt.hash.parse().unwrap(),
        block_hash: B256::repeat_byte(block),
        block_number: block.into(),
        succeeded,
        gas_used: Some(57_274),
    }))
}

/// What the other logs say, where a test does not: the one log there is.
fn account(status: &SettlementStatus) -> Account {
    let settlement = Settlement {
        status: Some(status.clone()),
        ..Settlement::new("settlement-1", spec(1))
    };
    Account::of(KEY, [&Entry::of(&settlement)], NOW as u64)
}

/// The step `waited` seconds after the last attempt was first seen.
fn step_after(waited: u64, spec: &SettlementSpec, status: &SettlementStatus, view: &ChainView) -> Step {
    step_of(&account(status), waited, spec, status, view)
}

fn step_of(
    account: &Account,
    waited_seconds: u64,
    spec: &SettlementSpec,
    status: &SettlementStatus,
    view: &ChainView,
) -> Step {
    let facts = Facts {
        view,
        account,
        place: &PLACE,
        policy: &Policy::default(),
        moment: &Moment {
            now: at(NOW),
            waited_seconds,
        },
    };
    advance(spec, status, &facts)
}

fn step(spec: &SettlementSpec, status: &SettlementStatus, view: &ChainView) -> Step {
    step_after(10, spec, status, view)
}

/// The status as it lies in etcd: with the conditions that were written with it.
fn stored(status: SettlementStatus) -> SettlementStatus {
    let mut status = stated(status, &at(NOW));
    status
        .conditions
        .push(k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
            type_: "FundsLow".to_owned(),
            status: "False".to_owned(),
            reason: "BalanceGood".to_owned(),
            message: String::new(),
            last_transition_time: at(NOW),
            observed_generation: None,
        });
    status
}

fn recorded(step: Step) -> SettlementStatus {
    let Step::Record(status) = step else {
        panic!("expected a record, got {step:?}")
    };
    *status
}

#[track_caller]
fn draft(step: Step) -> Draft {
    let Step::Sign(draft) = step else {
        panic!("expected a signature, got {step:?}")
    };
    draft
}

#[track_caller]
fn held(step: Step, state: SettlementState, reason: &str) {
    let status = recorded(step);
    assert_eq!((status.state, status.reason.as_deref()), (state, Some(reason)));
}

#[test]
fn calldata_is_stored_once_before_the_first_signature() {
    let status = recorded(step(&spec(1), &SettlementStatus::default(), &untouched()));
    assert_eq!(status, logged(SettlementState::Sealed, vec![]));
    let signed = draft(step(&spec(1), &status, &untouched()));
    assert_eq!(
        (signed.nonce, signed.gas_limit, signed.fees.max_fee_per_gas),
        (7, 100_000, 1_000)
    );
}

#[test]
fn row_2_and_3_what_is_signed_and_stored_is_sent() {
    let status = logged(SettlementState::Signed, vec![attempt(7, 1_000)]);
    assert_eq!(step(&spec(1), &status, &untouched()), Step::Send(0));
}

#[test]
fn row_4_sent_and_never_recorded_is_done_when_the_contract_says_so() {
    let spec = spec(1);
    let status = logged(SettlementState::Signed, vec![attempt(7, 1_000)]);
    let posted = Knowledge::Known(header_hash(&spec));
    let view = ChainView {
        posted,
        receipts: vec![mined(&status.attempts[0], true, 9)],
        ..untouched()
    };
    let next = recorded(step(&spec, &status, &view));
    assert_eq!(next.state, SettlementState::Included);
    assert_eq!(next.transaction, Some(status.attempts[0].hash.clone()));
    assert_eq!((next.block_number, next.gas_used), (Some(9), Some(57_274)));
}

#[test]
fn a_post_by_a_transaction_that_we_do_not_know_is_a_post() {
    let spec = spec(1);
    let status = logged(SettlementState::Sealed, vec![]);
    let foreign = B256::repeat_byte(0xee);
    let event = Inclusion {
        transaction: foreign,
        block_hash: B256::repeat_byte(9),
        block_number: 9,
        succeeded: true,
        gas_used: None,
    };
    let view = ChainView {
        posted: Knowledge::Known(header_hash(&spec)),
        event: Knowledge::Known(Some(event)),
        ..untouched()
    };
    let next = recorded(step(&spec, &status, &view));
    assert_eq!(
        (next.state, next.transaction),
        (SettlementState::Included, Some(foreign.to_string()))
    );
}

#[test]
fn row_5_unknown_answers_change_nothing() {
    let status = logged(SettlementState::Signed, vec![attempt(7, 1_000)]);
    for view in [
        ChainView::default(),
        ChainView {
            nonce: Knowledge::Unknown,
            ..untouched()
        },
        ChainView {
            next_sequence: Knowledge::Unknown,
            ..untouched()
        },
    ] {
        assert_eq!(step(&spec(1), &status, &view), Step::Wait, "{view:?}");
    }
    let sealed = logged(SettlementState::Sealed, vec![]);
    for view in [
        ChainView {
            fees: Knowledge::Unknown,
            ..untouched()
        },
        ChainView {
            balance: Knowledge::Unknown,
            ..untouched()
        },
        ChainView {
            simulation: Knowledge::Unknown,
            ..untouched()
        },
    ] {
        assert_eq!(step(&spec(1), &sealed, &view), Step::Wait, "{view:?}");
    }
}

#[test]
fn row_6_out_of_gas_signs_anew_with_the_next_nonce() {
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000)]);
    let view = ChainView {
        nonce: Knowledge::Known(8),
        receipts: vec![mined(&status.attempts[0], false, 9)],
        diagnosis: Knowledge::Known(Some(Diagnosis::OutOfGas)),
        ..untouched()
    };
    let next = draft(step(&spec(1), &status, &view));
    assert_eq!((next.nonce, next.gas_limit), (8, 200_000), "twice what ran out");
}

#[test]
fn row_6_a_logic_revert_stops_and_says_why_once() {
    let cap = Revert {
        reason: "DailyCapExceeded".to_owned(),
        message: "wait".to_owned(),
        permanent: false,
        payer: None,
    };
    let view = ChainView {
        simulation: Knowledge::Known(Simulation::Reverts(cap)),
        ..untouched()
    };
    let status = logged(SettlementState::Sealed, vec![]);
    let held_status = recorded(step(&spec(1), &status, &view));
    assert_eq!(held_status.state, SettlementState::Sealed);
    assert_eq!(held_status.reason.as_deref(), Some("DailyCapExceeded"));
    assert_eq!(step(&spec(1), &held_status, &view), Step::Wait, "no write without news");
    assert!(
        matches!(step(&spec(1), &held_status, &untouched()), Step::Sign(_)),
        "cured"
    );

    let broken = Revert {
        reason: "TotalMismatch".to_owned(),
        message: "no".to_owned(),
        permanent: true,
        payer: None,
    };
    let view = ChainView {
        simulation: Knowledge::Known(Simulation::Reverts(broken)),
        ..untouched()
    };
    held(step(&spec(1), &status, &view), SettlementState::Failed, "TotalMismatch");
}

#[test]
fn row_6_reverts_do_not_loop() {
    let attempts: Vec<_> = (7..10).map(|nonce| attempt(nonce, 1_000)).collect();
    let status = logged(SettlementState::Broadcast, attempts.clone());
    let receipts = attempts.iter().map(|attempt| mined(attempt, false, 9)).collect();
    let view = ChainView {
        nonce: Knowledge::Known(10),
        receipts,
        ..untouched()
    };
    held(step(&spec(1), &status, &view), SettlementState::Broadcast, "Reverts");
}

#[test]
fn row_7_a_nonce_gap_is_filled_by_the_same_batch() {
    let status = logged(SettlementState::Broadcast, vec![attempt(9, 1_000)]);
    let view = ChainView {
        receipts: vec![Knowledge::Known(None)],
        ..untouched()
    };
    assert_eq!(draft(step(&spec(1), &status, &view)).nonce, 7);
}

#[test]
fn row_8_a_nonce_taken_by_another_transaction_is_replaced_once_endpoints_agree() {
    let taken = |age, receipt| {
        let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000)]);
        let view = ChainView {
            nonce: Knowledge::Known(8),
            receipts: vec![receipt],
            ..untouched()
        };
        (step_after(age, &spec(1), &status, &view), status, view)
    };
    assert_eq!(taken(5, Knowledge::Known(None)).0, Step::Wait, "endpoints lag");
    assert_eq!(taken(60, Knowledge::Unknown).0, Step::Wait, "unknown is not absent");
    let (alarm, status, view) = taken(60, Knowledge::Known(None));
    let told = recorded(alarm);
    let condition = told
        .conditions
        .iter()
        .find(|one| one.type_ == "ForeignTransaction")
        .unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", "NonceUsed")
    );
    assert!(
        condition.message.starts_with("nonce 7 of 0x6e"),
        "{}",
        condition.message
    );
    let signed = step_of(&account(&status), 60, &spec(1), &told, &view);
    assert_eq!(draft(signed).nonce, 8, "told once, then the next nonce is taken");
}

#[test]
fn row_9_and_10_a_stuck_transaction_is_replaced_from_its_own_fees() {
    let view = ChainView {
        in_pool: Knowledge::Known(true),
        ..untouched()
    };
    let fresh = logged(SettlementState::Broadcast, vec![attempt(7, 8_000)]);
    assert_eq!(step(&spec(1), &fresh, &view), Step::Wait);
    let stuck = logged(SettlementState::Broadcast, vec![attempt(7, 8_000)]);
    let next = draft(step_after(60, &spec(1), &stuck, &view));
    assert_eq!(
        (
            next.nonce,
            next.fees.max_fee_per_gas,
            next.fees.max_priority_fee_per_gas
        ),
        (7, 9_000, 12)
    );
    let dear = logged(SettlementState::Broadcast, vec![attempt(7, 499_000_000_000)]);
    let held = recorded(step_after(60, &spec(1), &dear, &view));
    assert_eq!(
        (held.state, held.reason.as_deref()),
        (SettlementState::Broadcast, Some("FeeCeiling"))
    );
    assert_eq!(step_after(60, &spec(1), &held, &view), Step::Wait, "told once");
    assert_eq!(
        step_after(60, &spec(1), &held, &untouched()),
        Step::Send(0),
        "at the ceiling the last one is sent again"
    );
}

#[test]
fn row_9_the_day_has_ceilings_of_its_own() {
    let status = logged(SettlementState::Sealed, vec![]);
    let spent = |gas, wei| Account {
        today: Spent { gas, wei },
        ..account(&status)
    };
    let step = |account: &Account| step_of(account, 10, &spec(1), &status, &untouched());
    let policy = Policy::default();
    held(
        step(&spent(0, policy.fee_per_day)),
        SettlementState::Sealed,
        "DailyFees",
    );
    held(step(&spent(policy.gas_per_day, 0)), SettlementState::Sealed, "DailyGas");
    draft(step(&spent(
        policy.gas_per_day - 100_000,
        policy.fee_per_day - 100_000_000,
    )));
}

#[test]
fn row_10_a_refusal_as_underpriced_raises_the_fees_at_once() {
    let status = logged(SettlementState::Signed, vec![attempt(7, 8_000)]);
    let view = ChainView {
        refusal: Some(Refusal::Underpriced),
        ..untouched()
    };
    assert_eq!(draft(step(&spec(1), &status, &view)).fees.max_fee_per_gas, 9_000);
}

#[test]
fn row_10_the_nonce_of_a_failed_batch_is_taken_from_its_fees() {
    let status = logged(SettlementState::Sealed, vec![]);
    let failed = Entry {
        name: "settlement-1".to_owned(),
        state: SettlementState::Failed,
        signed: Entry::of(&Settlement {
            status: Some(logged(SettlementState::Failed, vec![attempt(7, 80_000)])),
            ..Settlement::new("settlement-1", spec(1))
        })
        .signed,
    };
    let account = Account::of(KEY, [&failed], NOW as u64);
    let next = draft(step_of(&account, 10, &spec(1), &status, &untouched()));
    assert_eq!((next.nonce, next.fees.max_fee_per_gas), (7, 90_000));
}

#[test]
fn row_11_a_key_that_other_kinds_of_transactions_use_is_told() {
    let status = logged(SettlementState::Signed, vec![attempt(7, 8_000)]);
    let view = ChainView {
        refusal: Some(Refusal::AddressReserved),
        ..untouched()
    };
    held(
        step(&spec(1), &status, &view),
        SettlementState::Signed,
        "AddressReserved",
    );
}

#[test]
fn row_7_a_post_that_would_revert_loses_its_nonce_to_a_cancellation() {
    let cap = Revert {
        reason: "DailyCapExceeded".to_owned(),
        message: "wait".to_owned(),
        permanent: false,
        payer: None,
    };
    let view = ChainView {
        simulation: Knowledge::Known(Simulation::Reverts(cap)),
        in_pool: Knowledge::Known(true),
        ..untouched()
    };
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000)]);
    let held = recorded(step(&spec(1), &status, &view));
    assert_eq!(held.reason.as_deref(), Some("DailyCapExceeded"));
    assert_eq!(step(&spec(1), &held, &view), Step::Wait, "it is not sent again");
    let cancel = draft(step_after(60, &spec(1), &held, &view));
    assert_eq!(
        (
            cancel.purpose,
            cancel.nonce,
            cancel.gas_limit,
            cancel.fees.max_fee_per_gas
        ),
        (Purpose::Cancel, 7, 21_000, 1_125)
    );

    let cancelled = TransactionAttempt {
        cancels: true,
        ..attempt(7, 1_125)
    };
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000), cancelled.clone()]);
    let mined = ChainView {
        nonce: Knowledge::Known(8),
        receipts: vec![Knowledge::Known(None), mined(&cancelled, true, 9)],
        ..view
    };
    let rested = recorded(step(&spec(1), &status, &mined));
    assert_eq!(
        (rested.state, rested.reason.as_deref()),
        (SettlementState::Sealed, Some("DailyCapExceeded"))
    );
    assert_eq!(step(&spec(1), &rested, &mined), Step::Wait);
    let cured = ChainView {
        simulation: untouched().simulation,
        ..mined
    };
    let again = draft(step(&spec(1), &rested, &cured));
    assert_eq!((again.purpose, again.nonce), (Purpose::Post, 8));
}

#[test]
fn row_19_the_old_keys_transaction_is_drained_before_the_new_key_signs() {
    let old = TransactionAttempt {
        from: Some(Address::repeat_byte(0x01).to_string()),
        ..attempt(3, 1_000)
    };
    let status = logged(SettlementState::Broadcast, vec![old]);
    let view = |theirs, may_post| ChainView {
        last_signers_nonce: Knowledge::Known(theirs),
        may_post: Knowledge::Known(may_post),
        receipts: vec![Knowledge::Known(None)],
        ..untouched()
    };
    assert_eq!(
        step(&spec(1), &status, &view(3, true)),
        Step::Send(0),
        "its bytes again"
    );
    let late = recorded(step_after(60, &spec(1), &status, &view(3, false)));
    assert_eq!(late.reason.as_deref(), Some("NotPoster"));
    assert_eq!(step_after(60, &spec(1), &late, &view(3, false)), Step::Send(0));
    assert_eq!(draft(step_after(60, &spec(1), &late, &view(3, true))).nonce, 7);
    assert_eq!(draft(step(&spec(1), &status, &view(4, true))).nonce, 7, "drained");
}

#[test]
fn row_26_only_time_that_passed_raises_fees() {
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 8_000)]);
    let view = ChainView {
        in_pool: Knowledge::Known(true),
        ..untouched()
    };
    for clock in [NOW - 86_400, NOW + 86_400] {
        let facts = Facts {
            view: &view,
            account: &account(&status),
            place: &PLACE,
            policy: &Policy::default(),
            moment: &Moment {
                now: at(clock),
                waited_seconds: 47,
            },
        };
        assert_eq!(
            advance(&spec(1), &status, &facts),
            Step::Wait,
            "the clock was set to {clock}"
        );
    }
    let view = ChainView {
        fees: untouched().fees,
        ..untouched()
    };
    let sealed = logged(SettlementState::Sealed, vec![]);
    assert_eq!(
        draft(step(&spec(1), &sealed, &view)).at,
        at(NOW),
        "block time is recorded"
    );
}

#[test]
fn row_27_a_delegated_key_signs_nothing() {
    let status = logged(SettlementState::Sealed, vec![]);
    let view = |is_delegated| ChainView {
        is_delegated,
        ..untouched()
    };
    let delegated = step(&spec(1), &status, &view(Knowledge::Known(true)));
    held(delegated, SettlementState::Sealed, "DelegatedKey");
    assert_eq!(step(&spec(1), &status, &view(Knowledge::Unknown)), Step::Wait);
}

#[test]
fn row_12_an_evicted_transaction_is_sent_again() {
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000)]);
    assert_eq!(step(&spec(1), &status, &untouched()), Step::Send(0));
    let unknown = ChainView {
        in_pool: Knowledge::Unknown,
        ..untouched()
    };
    assert_eq!(
        step(&spec(1), &status, &unknown),
        Step::Send(0),
        "the same bytes again are harmless"
    );
}

#[test]
fn row_13_a_reorg_leads_back_to_broadcast_and_then_to_another_block() {
    let spec = spec(1);
    let broadcast = logged(SettlementState::Broadcast, vec![attempt(7, 1_000)]);
    let posted = Knowledge::Known(header_hash(&spec));
    let included = |block| ChainView {
        posted,
        posted_safe: posted,
        receipts: vec![mined(&broadcast.attempts[0], true, block)],
        ..untouched()
    };
    let safe = recorded(step(&spec, &broadcast, &included(9)));
    assert_eq!(safe.state, SettlementState::Safe);
    let back = recorded(step(&spec, &safe, &untouched()));
    assert_eq!(
        (back.state, back.transaction.clone(), back.block_number),
        (SettlementState::Broadcast, None, None)
    );
    assert_eq!(step(&spec, &back, &untouched()), Step::Send(0));
    let again = recorded(step(&spec, &back, &included(10)));
    assert_eq!(again.block_number, Some(10));
    let moved = recorded(step(&spec, &again, &included(11)));
    assert_eq!(moved.block_hash, Some(B256::repeat_byte(11).to_string()));
}

#[test]
fn row_14_money_moves_at_finality_only_and_terminal_stays_terminal() {
    let spec = spec(1);
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000)]);
    let hash = Knowledge::Known(header_hash(&spec));
    let receipts = vec![mined(&status.attempts[0], true, 9)];
    let head = ChainView {
        posted: hash,
        receipts,
        ..untouched()
    };
    let included = recorded(step(&spec, &status, &head));
    assert_eq!(
        (included.state, included.finalized_at.clone()),
        (SettlementState::Included, None)
    );
    assert_eq!(step(&spec, &included, &head), Step::Wait, "converged means no writes");
    let unasked = ChainView {
        posted_safe: Knowledge::Unknown,
        posted_final: Knowledge::Unknown,
        ..head.clone()
    };
    assert_eq!(step(&spec, &included, &unasked), Step::Wait);
    let settled = recorded(step(
        &spec,
        &included,
        &ChainView {
            posted_final: hash,
            ..head
        },
    ));
    assert_eq!(
        (settled.state, settled.finalized_at.clone()),
        (SettlementState::Final, Some(at(NOW)))
    );
    assert_eq!(step(&spec, &settled, &untouched()), Step::Wait);
}

#[test]
fn another_header_at_our_sequence_is_an_alarm_and_the_end_once_final() {
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000)]);
    let other = Knowledge::Known(B256::repeat_byte(0xbb));
    let view = ChainView {
        posted: other,
        ..untouched()
    };
    held(
        step(&spec(1), &status, &view),
        SettlementState::Broadcast,
        "SequenceUsed",
    );
    let view = ChainView {
        posted_final: other,
        ..view
    };
    held(step(&spec(1), &status, &view), SettlementState::Failed, "SequenceUsed");
}

#[test]
fn sequences_wait_for_each_other() {
    let status = SettlementStatus::default();
    held(
        step(&spec(2), &status, &untouched()),
        SettlementState::Sealed,
        "WaitsForPrevious",
    );
}

#[test]
fn row_24_a_sequence_that_the_ring_forgot_is_judged_by_its_event() {
    let spec = spec(1);
    let status = logged(SettlementState::Sealed, vec![]);
    let view = |archived| ChainView {
        next_sequence: Knowledge::Known(400),
        archived,
        ..untouched()
    };
    let event = |header_hash| {
        Knowledge::Known(Some(Archived {
            header_hash,
            header: spec.header().unwrap(),
            inclusion: Inclusion {
                transaction: B256::repeat_byte(0xee),
                block_hash: B256::repeat_byte(9),
                block_number: 9,
                succeeded: true,
                gas_used: None,
            },
        }))
    };
    let done = recorded(step(&spec, &status, &view(event(header_hash(&spec)))));
    assert_eq!((done.state, done.block_number), (SettlementState::Final, Some(9)));
    assert!(done.finalized_at.is_some());
    let other = step(&spec, &status, &view(event(B256::ZERO)));
    held(other, SettlementState::Failed, "SequenceUsed");
    for archived in [Knowledge::Unknown, Knowledge::Known(None)] {
        let unsure = step(&spec, &status, &view(archived));
        held(unsure, SettlementState::Sealed, "SequenceForgotten");
    }
}

#[test]
fn row_18_a_batch_of_another_chain_or_contract_is_not_touched() {
    let elsewhere = Place { chain_id: 1, ..PLACE };
    let status = SettlementStatus::default();
    let facts = Facts {
        view: &untouched(),
        account: &account(&status),
        place: &elsewhere,
        policy: &Policy::default(),
        moment: &Moment {
            now: at(NOW),
            waited_seconds: 0,
        },
    };
    held(
        advance(&spec(1), &status, &facts),
        SettlementState::Sealed,
        "OtherChain",
    );
}

#[test]
fn a_spec_that_contradicts_itself_fails() {
    let status = SettlementStatus::default();
    let total = SettlementSpec {
        total_micro: 1,
        ..spec(1)
    };
    held(
        step(&total, &status, &untouched()),
        SettlementState::Failed,
        "Malformed",
    );
    let ledger = SettlementSpec {
        debits: vec![U256::from(1).to_string()],
        ..spec(1)
    };
    held(
        step(&ledger, &status, &untouched()),
        SettlementState::Failed,
        "Malformed",
    );
    let calldata = SettlementStatus {
        calldata: Some("0x00".to_owned()),
        ..status
    };
    held(
        step(&spec(1), &calldata, &untouched()),
        SettlementState::Failed,
        "Malformed",
    );
}

#[test]
fn row_20_no_nonce_is_burnt_without_funds() {
    let view = ChainView {
        balance: Knowledge::Known(99_999_999),
        ..untouched()
    };
    let status = logged(SettlementState::Sealed, vec![]);
    let told = recorded(step(&spec(1), &status, &view));
    assert_eq!(
        (told.state, told.reason.as_deref()),
        (SettlementState::Sealed, Some("InsufficientFunds"))
    );
    assert!(spillway_crds::is_status_condition_true(&told.conditions, "FundsLow"));
    let enough = ChainView {
        balance: Knowledge::Known(100_000_000),
        ..untouched()
    };
    assert!(
        matches!(step(&spec(1), &told, &enough), Step::Sign(_)),
        "the alarm stays, work goes on"
    );
}

#[test]
fn gas_and_attempts_are_bounded() {
    let status = logged(SettlementState::Sealed, vec![]);
    let huge = ChainView {
        simulation: Knowledge::Known(Simulation::Succeeds { gas: 16_000_000 }),
        ..untouched()
    };
    held(step(&spec(1), &status, &huge), SettlementState::Failed, "TooLarge");
    let many = logged(SettlementState::Broadcast, vec![attempt(6, 1_000); 50]);
    held(
        step_after(60, &spec(1), &many, &untouched_after(&many)),
        SettlementState::Broadcast,
        "TooManyAttempts",
    );
}

fn untouched_after(status: &SettlementStatus) -> ChainView {
    ChainView {
        receipts: vec![Knowledge::Known(None); status.attempts.len()],
        ..untouched()
    }
}
