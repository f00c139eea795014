//! Why the contract refused: its typed errors in words, each with what cures it.

use alloy::primitives::Address;
use alloy::sol_types::SolInterface;

use super::bindings::SpillwaySettlement::SpillwaySettlementErrors as Errors;

/// Why the contract refused a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// Name of the typed error; `Unknown` for anything else.
    pub reason: String,
    pub message: String,
    /// Whether no later state of the chain can make the same batch pass.
    pub permanent: bool,
    /// Whose deposit, key or signature stands against it.
    pub payer: Option<Address>,
}

impl Revert {
    pub(crate) fn new(reason: &str, message: String, permanent: bool) -> Self {
        Self {
            reason: reason.to_owned(),
            message,
            permanent,
            payer: None,
        }
    }

    /// Reads the bytes that the contract reverted with.
    pub fn decode(data: &[u8]) -> Self {
        if let Ok(error) = Errors::abi_decode(data) {
            return describe(error);
        }
        let unknown = || {
            let message = format!("the contract reverted with 0x{}", hex::encode(data));
            Self::new("Unknown", message, false)
        };
        crate::disputes::refusal(data).unwrap_or_else(unknown)
    }
}

/// Errors about the batch itself are permanent; errors about the payer, the poster or the order of posts can be cured.
fn describe(error: Errors) -> Revert {
    match error {
        Errors::SequenceUsed(used) => Revert::new(
            "SequenceUsed",
            format!("sequence {} holds another header, {}", used.sequence, used.posted),
            // Decided at finality by the contract's state, not by a call at the head.
            false,
        ),
        Errors::SequenceForgotten(error) => Revert::new(
            "SequenceForgotten",
            format!(
                "sequence {} was posted long ago; the contract remembers from {}",
                error.sequence, error.oldest
            ),
            false,
        ),
        Errors::SequenceGap(gap) => Revert::new(
            "SequenceGap",
            format!("the contract expects sequence {}", gap.expected),
            false,
        ),
        Errors::PreviousMismatch(error) => Revert::new(
            "PreviousMismatch",
            format!(
                "the header before hashes to {} on chain, the batch names {}",
                error.expected, error.given
            ),
            false,
        ),
        Errors::LedgerHashMismatch(error) => Revert::new(
            "LedgerHashMismatch",
            format!(
                "debits and credits hash to {}, the header names {}",
                error.expected, error.given
            ),
            true,
        ),
        Errors::EntryNotAscending(error) => Revert::new(
            "EntryNotAscending",
            format!("the entry of {} is out of order", error.account),
            true,
        ),
        Errors::TotalMismatch(error) => Revert::new(
            "TotalMismatch",
            format!(
                "total {}, debits {}, credits {}",
                error.total, error.debits, error.credits
            ),
            true,
        ),
        Errors::CumulativeMismatch(error) => Revert::new(
            "CumulativeMismatch",
            format!(
                "all totals come to {} with this batch, the header names {}",
                error.expected, error.given
            ),
            true,
        ),
        other => describe_mode(other),
    }
}

/// Errors of a batch that was made for a contract of the other mode, and all that can be cured.
fn describe_mode(error: Errors) -> Revert {
    match error {
        Errors::FieldsOfOtherMode(_) => Revert::new(
            "FieldsOfOtherMode",
            "the header has fields of the other mode, or lacks its own".to_owned(),
            true,
        ),
        Errors::WrongMode(error) => Revert::new(
            "WrongMode",
            format!(
                "the contract is in mode {}",
                if error.mode == 0 { "Ledger" } else { "Root" }
            ),
            true,
        ),
        curable => describe_curable(curable),
    }
}

fn describe_curable(error: Errors) -> Revert {
    let (reason, message) = match error {
        Errors::NotPoster(error) => (
            "NotPoster",
            format!(
                "{} may not post: an administrator of the contract must call setPoster",
                error.caller
            ),
        ),
        Errors::IsPaused(error) => (
            "Paused",
            format!(
                "posting is paused until {} (Unix seconds); it goes on by itself",
                error.until
            ),
        ),
        Errors::IsBroken(error) => (
            "Broken",
            format!(
                "the batch at sequence {} was proven wrong: ledger mode goes on when another poster is set, root mode never",
                error.sequence
            ),
        ),
        Errors::RingFull(error) => (
            "RingFull",
            format!(
                "sequence {} would be overwritten and is not final yet: post larger batches",
                error.sequence
            ),
        ),
        Errors::EscrowTooSmall(error) => (
            "EscrowTooSmall",
            format!(
                "all totals come to {} micro-USD, payers have deposited {}",
                error.cumulative, error.escrow
            ),
        ),
        payers => return describe_payer(payers),
    };
    Revert::new(reason, message, false)
}

/// What a payer can cure.
fn describe_payer(error: Errors) -> Revert {
    let (payer, reason, what) = match error {
        Errors::OrderKeyMissing(error) => (
            error.payer,
            "OrderKeyMissing",
            "has authorised no order key: call authorizeOrderKey".to_owned(),
        ),
        Errors::OrderKeyExpired(error) => (
            error.payer,
            "OrderKeyExpired",
            format!("had an order key until {}: authorise it again", error.expiry),
        ),
        Errors::DailyCapExceeded(error) => (
            error.payer,
            "DailyCapExceeded",
            format!(
                "would spend {} micro-USD today, the key's cap is {}: wait for the next day (UTC) or raise it",
                error.spent, error.capPerDay
            ),
        ),
        Errors::DepositTooSmall(error) => (
            error.payer,
            "DepositTooSmall",
            format!(
                "has deposited {} micro-USD, the batch needs {}",
                error.deposit, error.debit
            ),
        ),
        Errors::SignatureRefused(error) => (
            error.payer,
            "SignatureRefused",
            "has no key that signed this, or revoked it too long ago".to_owned(),
        ),
        other => return Revert::new("Unexpected", format!("{other:?}"), false),
    };
    Revert {
        payer: Some(payer),
        ..Revert::new(reason, format!("payer {payer} {what}"), false)
    }
}
