//! Performs one step: signs or sends, and returns the status that must be stored next.

use spillway_crds::money::ConversionError;
use spillway_crds::{SettlementSpec, SettlementState, SettlementStatus, Time};

use crate::advance::{Batch, Step, stated};
use crate::chain::{Chain, Sent};
use crate::signer::PosterKey;
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
    key: &PosterKey,
    spec: &SettlementSpec,
    status: &SettlementStatus,
    step: Step,
    now: &Time,
) -> Result<Option<SettlementStatus>, PerformError> {
    match step {
        Step::Wait => Ok(None),
        Step::Record(next) => Ok(Some(*next)),
        Step::Sign(draft) => sign(key, spec, status, draft, now).await.map(Some),
        Step::Send(index) => send(chain, spec, status, index, now).await,
    }
}

async fn sign(
    key: &PosterKey,
    spec: &SettlementSpec,
    status: &SettlementStatus,
    draft: Draft,
    now: &Time,
) -> Result<SettlementStatus, PerformError> {
    let attempt = draft.sign(&Batch::of(spec)?.destination, key).await?;
    let mut next = in_state(status, SettlementState::Signed, now);
    next.attempts.push(attempt);
    Ok(next)
}

async fn send(
    chain: &Chain,
    spec: &SettlementSpec,
    status: &SettlementStatus,
    index: usize,
    now: &Time,
) -> Result<Option<SettlementStatus>, PerformError> {
    let attempt = status.attempts.get(index).ok_or(PerformError::NoAttempt(index))?;
    match chain.send(&raw(attempt, &Batch::of(spec)?.destination)?).await {
        Sent::Refused(refusal, words) => {
            // The next pass reads the contract and the nonce, which say more than these words.
            let (sequence, transaction) = (spec.sequence, &attempt.hash);
            tracing::warn!(sequence, transaction, ?refusal, words, "the endpoints refused it");
            Ok(None)
        }
        Sent::Taken | Sent::Unknown if status.state == SettlementState::Broadcast => Ok(None),
        Sent::Taken | Sent::Unknown => Ok(Some(in_state(status, SettlementState::Broadcast, now))),
    }
}

fn in_state(status: &SettlementStatus, state: SettlementState, now: &Time) -> SettlementStatus {
    let next = SettlementStatus {
        state,
        reason: None,
        message: None,
        ..status.clone()
    };
    stated(next, now)
}
