//! The contract holds our header: follow it to finality, and back when the chain reorganises.

use alloy::primitives::B256;
use spillway_core::knowledge::Knowledge;
use spillway_crds::{SettlementState, SettlementStatus, Time};

use super::Step;
use crate::chain::{ChainView, Inclusion};

/// Records the block that carries the post and how settled it is; money moves at Final only.
pub(super) fn follow(status: &SettlementStatus, view: &ChainView, header_hash: B256, now: &Time) -> Step {
    let state = settled(view, header_hash);
    let mut next = SettlementStatus {
        state,
        reason: None,
        message: None,
        ..status.clone()
    };
    if let Some(inclusion) = inclusion(view) {
        name_block(&mut next, &inclusion);
    }
    if state == SettlementState::Final {
        next.finalized_at = Some(now.clone());
    }
    if next == *status {
        Step::Wait
    } else {
        Step::Record(Box::new(next))
    }
}

fn settled(view: &ChainView, header_hash: B256) -> SettlementState {
    if view.posted_final == Knowledge::Known(header_hash) {
        SettlementState::Final
    } else if view.posted_safe == Knowledge::Known(header_hash) {
        SettlementState::Safe
    } else {
        SettlementState::Included
    }
}

/// The ring forgot the batch, and a final event holds it.
pub(super) fn archived(status: &SettlementStatus, inclusion: &Inclusion, now: &Time) -> Step {
    let mut next = SettlementStatus {
        state: SettlementState::Final,
        reason: None,
        message: None,
        finalized_at: Some(now.clone()),
        ..status.clone()
    };
    name_block(&mut next, inclusion);
    Step::Record(Box::new(next))
}

/// The transaction that posted: the contract's event names it, whoever sent it; else the receipt of one of ours.
fn inclusion(view: &ChainView) -> Option<Inclusion> {
    let ours = || {
        view.receipts
            .iter()
            .filter_map(|receipt| receipt.clone().known().flatten())
    };
    let event = view.event.clone().known().flatten();
    let of_event = event
        .as_ref()
        .and_then(|event| ours().find(|one| one.transaction == event.transaction));
    of_event.or(event).or_else(|| ours().find(|one| one.succeeded))
}

fn name_block(status: &mut SettlementStatus, inclusion: &Inclusion) {
    status.transaction = Some(inclusion.transaction.to_string());
    status.block_hash = Some(inclusion.block_hash.to_string());
    status.block_number = Some(inclusion.block_number);
    if inclusion.gas_used.is_some() {
        status.gas_used = inclusion.gas_used;
    }
}

/// The header is gone from the head: the transaction is not mined any more.
pub(super) fn reorganised(status: &SettlementStatus) -> Step {
    let state = if status.attempts.is_empty() {
        SettlementState::Sealed
    } else {
        SettlementState::Broadcast
    };
    Step::Record(Box::new(SettlementStatus {
        state,
        transaction: None,
        block_hash: None,
        block_number: None,
        gas_used: None,
        reason: Some("Reorganised".to_owned()),
        message: Some("the block that carried the post left the chain; it is sent again".to_owned()),
        ..status.clone()
    }))
}
