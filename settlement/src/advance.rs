//! What to do next for one Settlement: a pure function of its spec, its status (the write-ahead log), what the chain
//! says, and the time. The contract's state is the truth, never a transaction hash.
//!
//! Sealed → Signed → Broadcast → Included → Safe → Final; a reorg leads back to Broadcast; Failed says why.

mod fees;
mod inclusion;
mod posting;
#[cfg(test)]
mod tests;

use alloy::primitives::B256;
use spillway_core::knowledge::Knowledge;
use spillway_crds::money::{ConversionError, address, hash};
use spillway_crds::{SettlementSpec, SettlementState, SettlementStatus, Time};

use crate::chain::{ChainView, Place};
use crate::transaction::{Destination, Draft};

/// Bounds of what the poster may do by itself.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Wei per gas that no transaction exceeds.
    pub fee_ceiling: u128,
    /// A transaction not mined after this many seconds is replaced by one with higher fees.
    pub bump_after_seconds: u64,
    /// A nonce used by nobody we know is believed after this many seconds: endpoints lag.
    pub lag_seconds: u64,
    /// Transactions signed for one batch, all nonces together.
    pub attempts_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fee_ceiling: 500_000_000_000,
            bump_after_seconds: 48,
            lag_seconds: 30,
            attempts_max: 50,
        }
    }
}

/// One step; the caller performs it and stores the status before anything else happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing to write and nothing to send.
    Wait,
    /// Store this status.
    Record(Box<SettlementStatus>),
    /// Sign this, store the attempt with state Signed; send nothing yet.
    Sign(Draft),
    /// Send the attempt at this index again or for the first time, then store state Broadcast.
    Send(usize),
}

/// Decides the next step of a Settlement at `place`.
pub fn advance(
    spec: &SettlementSpec,
    status: &SettlementStatus,
    view: &ChainView,
    place: &Place,
    policy: &Policy,
    now: &Time,
) -> Step {
    if is_terminal(status.state) {
        return Step::Wait;
    }
    if let Err(elsewhere) = same_place(spec, place) {
        return hold(status, "OtherChain", elsewhere.to_string());
    }
    let batch = match Batch::of(spec) {
        Ok(batch) => batch,
        Err(malformed) => return fail(status, "Malformed", malformed.to_string()),
    };
    let Knowledge::Known(posted) = view.posted else {
        return Step::Wait;
    };
    if posted == batch.header_hash {
        return inclusion::follow(status, view, batch.header_hash, now);
    }
    if let Some(step) = sequence_taken(spec, status, view, posted) {
        return step;
    }
    if matches!(status.state, SettlementState::Included | SettlementState::Safe) {
        return inclusion::reorganised(status);
    }
    posting::post(status, view, &batch, policy, now)
}

/// Final and Failed stay what they are.
pub fn is_terminal(state: SettlementState) -> bool {
    matches!(state, SettlementState::Final | SettlementState::Failed)
}

/// The parts of a spec that posting needs, held against each other.
pub(crate) struct Batch {
    pub(crate) header_hash: B256,
    pub(crate) destination: Destination,
}

impl Batch {
    pub(crate) fn of(spec: &SettlementSpec) -> Result<Self, ConversionError> {
        let (debits, credits) = spec.ledger()?;
        let destination = Destination {
            chain_id: spec.chain_id,
            contract: address("spec.contract", &spec.contract)?,
            calldata: crate::contract::post_calldata(&spec.header()?, debits, credits),
        };
        Ok(Self {
            header_hash: hash("spec.headerHash", &spec.header_hash)?,
            destination,
        })
    }
}

fn same_place(spec: &SettlementSpec, place: &Place) -> Result<(), ConversionError> {
    let contract = address("spec.contract", &spec.contract)?;
    if (spec.chain_id, contract) == (place.chain_id, place.contract) {
        return Ok(());
    }
    let message = format!("sealed for chain {}; this poster serves {place}", spec.chain_id);
    Err(ConversionError {
        field: "spec.contract",
        message,
    })
}

/// Another header at our sequence: an alarm, and the end once it is final. A sequence so old that the contract forgot
/// it is judged by its event.
fn sequence_taken(spec: &SettlementSpec, status: &SettlementStatus, view: &ChainView, posted: B256) -> Option<Step> {
    if !posted.is_zero() {
        let message = format!("sequence {} holds another header, {posted}", spec.sequence);
        let is_final = view.posted_final == Knowledge::Known(posted);
        let step = if is_final { fail } else { hold };
        return Some(step(status, "SequenceUsed", message));
    }
    match view.next_sequence {
        Knowledge::Unknown => Some(Step::Wait),
        Knowledge::Known(next) if next > spec.sequence => {
            let message = format!("the contract forgot sequence {}: ask its Posted events", spec.sequence);
            Some(hold(status, "SequenceForgotten", message))
        }
        Knowledge::Known(next) if next < spec.sequence => {
            let message = format!("sequence {next} must be posted before {}", spec.sequence);
            Some(hold(status, "WaitsForPrevious", message))
        }
        Knowledge::Known(_) => None,
    }
}

/// Stores why nothing happens, once; the message must not change from pass to pass.
fn hold(status: &SettlementStatus, reason: &str, message: String) -> Step {
    if status.reason.as_deref() == Some(reason) && status.message.as_deref() == Some(&message) {
        return Step::Wait;
    }
    let held = SettlementStatus {
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..status.clone()
    };
    Step::Record(Box::new(held))
}

fn fail(status: &SettlementStatus, reason: &str, message: String) -> Step {
    Step::Record(Box::new(SettlementStatus {
        state: SettlementState::Failed,
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..status.clone()
    }))
}
