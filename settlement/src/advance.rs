//! What to do next for one Settlement: a pure function of its spec, its status (the write-ahead log), and [`Facts`]: what
//! the chain says, what the other logs of the key say, and the time. The contract's state is the truth, never a hash.
//!
//! Sealed → Signed → Broadcast → Included → Safe → Final; a reorg leads back to Broadcast; Failed says why.

mod account;
mod alarms;
mod fees;
mod inclusion;
mod posting;
#[cfg(test)]
mod tests;

use alloy::primitives::B256;
use spillway_core::knowledge::Knowledge;
use spillway_crds::money::{ConversionError, address, hash};
use spillway_crds::{SettlementMode, SettlementSpec, SettlementState, SettlementStatus, Time};

use crate::chain::{ChainView, Place};
use crate::transaction::{Destination, Draft};

pub use account::{Account, Entry, Signed, Spent};
pub use alarms::foreign_transaction;
pub(crate) use alarms::stated;

/// EIP-7825: no transaction may ask for more gas.
pub const TRANSACTION_GAS_MAX: u64 = 16_777_216;

/// Bounds of what the poster may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Wei per gas that no transaction exceeds.
    pub fee_ceiling: u128,
    /// Wei that the transactions signed in one day (UTC, block time) may cost together, each at its dearest.
    pub fee_per_day: u128,
    /// Gas of one transaction.
    pub gas_limit: u64,
    /// Gas limits of the transactions signed in one day together.
    pub gas_per_day: u64,
    /// A transaction not mined after this many seconds is replaced by one with higher fees.
    pub bump_after_seconds: u64,
    /// A nonce used by nobody we know is believed after this many seconds: endpoints lag.
    pub lag_seconds: u64,
    /// Transactions signed for one batch, all nonces together.
    pub attempts_max: usize,
    /// Posts at the fee ceiling that the account should be able to pay; below it warns.
    pub reserve_posts: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fee_ceiling: 500_000_000_000,
            fee_per_day: 1_000_000_000_000_000_000,
            gas_limit: TRANSACTION_GAS_MAX,
            gas_per_day: 2_000_000_000,
            bump_after_seconds: 48,
            lag_seconds: 30,
            attempts_max: 50,
            reserve_posts: 3,
        }
    }
}

/// When a step is decided. Windows of the contract and of the budgets are judged by the head's block time.
#[derive(Clone, Debug)]
pub struct Moment {
    /// For the record.
    pub now: Time,
    /// Seconds since this process first saw the last attempt in the log, on the monotonic clock: a clock that is set, or
    /// a machine that slept, neither bumps fees nor stops them.
    pub waited_seconds: u64,
}

/// All that a decision is made from besides spec and status.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub view: &'a ChainView,
    pub account: &'a Account,
    pub place: &'a Place,
    pub policy: &'a Policy,
    pub moment: &'a Moment,
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

/// Decides the next step.
pub fn advance(spec: &SettlementSpec, status: &SettlementStatus, facts: &Facts<'_>) -> Step {
    if is_terminal(status.state) {
        return Step::Wait;
    }
    alarms::raised(status, facts, decide(spec, status, facts))
}

fn decide(spec: &SettlementSpec, status: &SettlementStatus, facts: &Facts<'_>) -> Step {
    let view = facts.view;
    if let Err(elsewhere) = same_place(spec, facts.place) {
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
        return inclusion::follow(status, view, batch.header_hash, &facts.moment.now);
    }
    if let Some(step) = sequence_taken(spec, status, facts, posted, batch.header_hash) {
        return step;
    }
    if is_on_chain(status.state) {
        return inclusion::reorganised(status);
    }
    posting::post(status, &batch, facts)
}

/// Final and Failed stay what they are.
pub fn is_terminal(state: SettlementState) -> bool {
    matches!(state, SettlementState::Final | SettlementState::Failed)
}

/// Whether the contract held the header when the log was last written.
pub fn is_on_chain(state: SettlementState) -> bool {
    use SettlementState::{Final, Included, Safe};
    matches!(state, Included | Safe | Final)
}

/// The parts of a spec that posting needs, held against each other.
pub(crate) struct Batch {
    pub(crate) header_hash: B256,
    pub(crate) destination: Destination,
}

impl Batch {
    pub(crate) fn of(spec: &SettlementSpec) -> Result<Self, ConversionError> {
        let calldata = match spec.mode {
            SettlementMode::Ledger => {
                let (debits, credits) = spec.ledger()?;
                crate::contract::post_calldata(&spec.header()?, debits, credits)
            }
            SettlementMode::Root => crate::contract::post_root_calldata(&spec.header()?),
        };
        let destination = Destination {
            chain_id: spec.chain_id,
            contract: address("spec.contract", &spec.contract)?,
            calldata,
        };
        Ok(Self {
            header_hash: hash("spec.headerHash", &spec.header_hash)?,
            destination,
        })
    }
}

fn same_place(spec: &SettlementSpec, place: &Place) -> Result<(), ConversionError> {
    if is_at(spec, place)? {
        return Ok(());
    }
    let message = format!("sealed for chain {}; this poster serves {place}", spec.chain_id);
    Err(ConversionError {
        field: "spec.contract",
        message,
    })
}

/// Whether the batch was sealed for this chain and contract.
pub(crate) fn is_at(spec: &SettlementSpec, place: &Place) -> Result<bool, ConversionError> {
    let contract = address("spec.contract", &spec.contract)?;
    Ok((spec.chain_id, contract) == (place.chain_id, place.contract))
}

/// Another header at our sequence: an alarm, and the end once it is final. A sequence so old that the contract forgot
/// it is judged by its event.
fn sequence_taken(
    spec: &SettlementSpec,
    status: &SettlementStatus,
    facts: &Facts<'_>,
    posted: B256,
    ours: B256,
) -> Option<Step> {
    if !posted.is_zero() {
        let is_final = facts.view.posted_final == Knowledge::Known(posted);
        let step = if is_final { fail } else { hold };
        return Some(step(status, "SequenceUsed", other_header(spec, posted)));
    }
    match facts.view.next_sequence {
        Knowledge::Unknown => Some(Step::Wait),
        Knowledge::Known(next) if next > spec.sequence => Some(forgotten(spec, status, facts, ours)),
        Knowledge::Known(next) if next < spec.sequence => {
            let message = format!("sequence {next} must be posted before {}", spec.sequence);
            Some(hold(status, "WaitsForPrevious", message))
        }
        Knowledge::Known(_) => None,
    }
}

fn other_header(spec: &SettlementSpec, posted: B256) -> String {
    format!("sequence {} holds another header, {posted}", spec.sequence)
}

/// Posted so long ago that the ring holds it no more: final events say which header it was.
fn forgotten(spec: &SettlementSpec, status: &SettlementStatus, facts: &Facts<'_>, ours: B256) -> Step {
    match &facts.view.archived {
        Knowledge::Unknown => {
            let message = format!(
                "sequence {} is looked for in the contract's Posted events",
                spec.sequence
            );
            hold(status, "SequenceForgotten", message)
        }
        Knowledge::Known(Some(found)) if found.header_hash == ours => {
            inclusion::archived(status, &found.inclusion, &facts.moment.now)
        }
        Knowledge::Known(Some(found)) => fail(status, "SequenceUsed", other_header(spec, found.header_hash)),
        Knowledge::Known(None) => {
            let message = format!(
                "the contract is past sequence {} and no final Posted event names it: is --from-block too high?",
                spec.sequence
            );
            hold(status, "SequenceForgotten", message)
        }
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
