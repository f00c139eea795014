//! Performs one step: signs or sends, and returns the status that must be stored next.

use alloy::signers::local::PrivateKeySigner;
use spillway_crds::money::ConversionError;
use spillway_crds::{SettlementSpec, SettlementState, SettlementStatus, Time};

use crate::advance::{Batch, Step};
use crate::chain::{Chain, Sent};
use crate::transaction::{Draft, TransactionError, raw};

#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    #[error(transparent)]
    Spec(#[from] ConversionError),
    #[error("the log holds no attempt {0}")]
    NoAttempt(usize),
}

/// The status to store, or `None` when nothing changed. A signed transaction leaves this process only in a later
/// step, so after it was stored.
///
/// # Errors
/// When the log holds what cannot be sent, or the key does not sign.
pub async fn perform(
    chain: &Chain,
    signer: &PrivateKeySigner,
    spec: &SettlementSpec,
    status: &SettlementStatus,
    step: Step,
    now: Time,
) -> Result<Option<SettlementStatus>, PerformError> {
    match step {
        Step::Wait => Ok(None),
        Step::Record(next) => Ok(Some(*next)),
        Step::Sign(draft) => sign(signer, spec, status, draft, now).map(Some),
        Step::Send(index) => send(chain, spec, status, index).await,
    }
}

fn sign(
    signer: &PrivateKeySigner,
    spec: &SettlementSpec,
    status: &SettlementStatus,
    draft: Draft,
    now: Time,
) -> Result<SettlementStatus, PerformError> {
    let attempt = draft.sign(&Batch::of(spec)?.destination, signer, now)?;
    let mut next = SettlementStatus {
        state: SettlementState::Signed,
        reason: None,
        message: None,
        ..status.clone()
    };
    next.attempts.push(attempt);
    Ok(next)
}

async fn send(
    chain: &Chain,
    spec: &SettlementSpec,
    status: &SettlementStatus,
    index: usize,
) -> Result<Option<SettlementStatus>, PerformError> {
    let attempt = status.attempts.get(index).ok_or(PerformError::NoAttempt(index))?;
    match chain.send(&raw(attempt, &Batch::of(spec)?.destination)?).await {
        Sent::Refused(why) => {
            // The next pass reads the contract and the nonce, which say more than these words.
            tracing::warn!(
                sequence = spec.sequence,
                transaction = attempt.hash,
                why,
                "the endpoints refused it"
            );
            Ok(None)
        }
        Sent::Taken | Sent::Unknown if status.state == SettlementState::Broadcast => Ok(None),
        Sent::Taken | Sent::Unknown => {
            let state = SettlementState::Broadcast;
            Ok(Some(SettlementStatus {
                state,
                reason: None,
                message: None,
                ..status.clone()
            }))
        }
    }
}
