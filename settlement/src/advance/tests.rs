//! Each test is a row of the failure table: what the log and the chain say, and the one right step.

use alloy::primitives::{Address, B256, U256};
use k8s_openapi::jiff::Timestamp;
use spillway_core::batch::{Leaf, seal};
use spillway_crds::TransactionAttempt;
use spillway_crds::money::format_bytes;

use super::*;
use crate::chain::{Inclusion, Simulation};
use crate::contract::Revert;
use crate::transaction::Fees;

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

fn attempt(nonce: u64, fee: u128, age: i64) -> TransactionAttempt {
    TransactionAttempt {
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: fee.to_string(),
        max_priority_fee_per_gas: "10".to_owned(),
        signature: format_bytes([1; 65]),
        hash: B256::left_padding_from(&[nonce as u8, fee as u8]).to_string(),
        signed_at: at(NOW - age),
    }
}

fn logged(state: SettlementState, attempts: Vec<TransactionAttempt>) -> SettlementStatus {
    let calldata = format_bytes(Batch::of(&spec(1)).unwrap().destination.calldata);
    SettlementStatus {
        state,
        calldata: Some(calldata),
        attempts,
        ..SettlementStatus::default()
    }
}

/// A healthy chain that has seen nothing of us; the poster's nonce is 7.
fn untouched() -> ChainView {
    use Knowledge::Known;
    ChainView {
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

fn step(spec: &SettlementSpec, status: &SettlementStatus, view: &ChainView) -> Step {
    advance(spec, status, view, &PLACE, &Policy::default(), &at(NOW))
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
    let status = logged(SettlementState::Signed, vec![attempt(7, 1_000, 1)]);
    assert_eq!(step(&spec(1), &status, &untouched()), Step::Send(0));
}

#[test]
fn row_4_sent_and_never_recorded_is_done_when_the_contract_says_so() {
    let spec = spec(1);
    let status = logged(SettlementState::Signed, vec![attempt(7, 1_000, 1)]);
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
    let status = logged(SettlementState::Signed, vec![attempt(7, 1_000, 1)]);
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
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000, 60)]);
    let view = ChainView {
        nonce: Knowledge::Known(8),
        receipts: vec![mined(&status.attempts[0], false, 9)],
        simulation: Knowledge::Known(Simulation::Succeeds { gas: 200_000 }),
        ..untouched()
    };
    let next = draft(step(&spec(1), &status, &view));
    assert_eq!((next.nonce, next.gas_limit), (8, 250_000));
}

#[test]
fn row_6_a_logic_revert_stops_and_says_why_once() {
    let cap = Revert {
        reason: "DailyCapExceeded".to_owned(),
        message: "wait".to_owned(),
        permanent: false,
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
    };
    let view = ChainView {
        simulation: Knowledge::Known(Simulation::Reverts(broken)),
        ..untouched()
    };
    held(step(&spec(1), &status, &view), SettlementState::Failed, "TotalMismatch");
}

#[test]
fn row_6_reverts_do_not_loop() {
    let attempts: Vec<_> = (7..10).map(|nonce| attempt(nonce, 1_000, 60)).collect();
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
    let status = logged(SettlementState::Broadcast, vec![attempt(9, 1_000, 60)]);
    let view = ChainView {
        receipts: vec![Knowledge::Known(None)],
        ..untouched()
    };
    assert_eq!(draft(step(&spec(1), &status, &view)).nonce, 7);
}

#[test]
fn row_8_a_nonce_taken_by_another_transaction_is_replaced_once_endpoints_agree() {
    let taken = |age, receipt| {
        let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000, age)]);
        let view = ChainView {
            nonce: Knowledge::Known(8),
            receipts: vec![receipt],
            ..untouched()
        };
        step(&spec(1), &status, &view)
    };
    assert_eq!(taken(5, Knowledge::Known(None)), Step::Wait, "endpoints lag");
    assert_eq!(taken(60, Knowledge::Unknown), Step::Wait, "unknown is not absent");
    assert_eq!(draft(taken(60, Knowledge::Known(None))).nonce, 8);
}

#[test]
fn row_9_and_10_a_stuck_transaction_is_replaced_from_its_own_fees() {
    let view = ChainView {
        in_pool: Knowledge::Known(true),
        ..untouched()
    };
    let fresh = logged(SettlementState::Broadcast, vec![attempt(7, 8_000, 10)]);
    assert_eq!(step(&spec(1), &fresh, &view), Step::Wait);
    let stuck = logged(SettlementState::Broadcast, vec![attempt(7, 8_000, 60)]);
    let next = draft(step(&spec(1), &stuck, &view));
    assert_eq!(
        (
            next.nonce,
            next.fees.max_fee_per_gas,
            next.fees.max_priority_fee_per_gas
        ),
        (7, 9_000, 12)
    );
    let dear = logged(SettlementState::Broadcast, vec![attempt(7, 499_000_000_000, 60)]);
    held(step(&spec(1), &dear, &view), SettlementState::Broadcast, "FeeCeiling");
    assert_eq!(
        step(&spec(1), &dear, &untouched()),
        Step::Send(0),
        "at the ceiling the last one is sent again"
    );
}

#[test]
fn row_12_an_evicted_transaction_is_sent_again() {
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000, 10)]);
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
    let broadcast = logged(SettlementState::Broadcast, vec![attempt(7, 1_000, 10)]);
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
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000, 10)]);
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
    let status = logged(SettlementState::Broadcast, vec![attempt(7, 1_000, 10)]);
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
    let forgotten = ChainView {
        next_sequence: Knowledge::Known(400),
        ..untouched()
    };
    held(
        step(&spec(1), &status, &forgotten),
        SettlementState::Sealed,
        "SequenceForgotten",
    );
}

#[test]
fn row_18_a_batch_of_another_chain_or_contract_is_not_touched() {
    let elsewhere = Place { chain_id: 1, ..PLACE };
    let policy = Policy::default();
    let status = SettlementStatus::default();
    let step = advance(&spec(1), &status, &untouched(), &elsewhere, &policy, &at(NOW));
    held(step, SettlementState::Sealed, "OtherChain");
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
    held(
        step(&spec(1), &status, &view),
        SettlementState::Sealed,
        "InsufficientFunds",
    );
    let enough = ChainView {
        balance: Knowledge::Known(100_000_000),
        ..untouched()
    };
    assert!(matches!(step(&spec(1), &status, &enough), Step::Sign(_)));
}

#[test]
fn gas_and_attempts_are_bounded() {
    let status = logged(SettlementState::Sealed, vec![]);
    let huge = ChainView {
        simulation: Knowledge::Known(Simulation::Succeeds { gas: 16_000_000 }),
        ..untouched()
    };
    held(step(&spec(1), &status, &huge), SettlementState::Failed, "TooLarge");
    let many = logged(SettlementState::Broadcast, vec![attempt(6, 1_000, 60); 50]);
    held(
        step(&spec(1), &many, &untouched_after(&many)),
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
