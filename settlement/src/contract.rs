//! The settlement contract as this process sees it: calls from its ABI, calldata, typed reverts.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolInterface};
use spillway_core::batch::{Header, Leaf};
use spillway_core::order::Order;

/// Version that the contract must name.
pub const VERSION: &str = "1";
/// One unit of the token is one micro-USD.
pub const TOKEN_DECIMALS: u8 = 6;

mod bindings {
    #![allow(clippy::too_many_arguments, unreachable_pub, missing_debug_implementations)]
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        SpillwaySettlement,
        "contracts/abi/SpillwaySettlement.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        AccessManager,
        "contracts/abi/AccessManager.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        SpillwayStake,
        "contracts/abi/SpillwayStake.json"
    );
    alloy::sol!(
        #[derive(Debug)]
        SpillwaySums,
        "contracts/abi/SpillwaySums.json"
    );
    /// Apart: its ABI names the interface of the disputes contract too.
    mod signers {
        alloy::sol!(
            #[derive(Debug)]
            SpillwaySigners,
            "contracts/abi/SpillwaySigners.json"
        );
    }
    pub use signers::SpillwaySigners;
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        SpillwayDisputes,
        "contracts/abi/SpillwayDisputes.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        TestToken,
        "contracts/abi/TestToken.json"
    );
}
pub use bindings::ISpillwayDisputes;
pub use bindings::ISpillwaySettlement::{Balances, Parameters};
use bindings::SpillwaySettlement::SpillwaySettlementErrors as Errors;
pub use bindings::{
    AccessManager, SpillwayDisputes, SpillwaySettlement, SpillwaySigners, SpillwayStake, SpillwaySums, TestToken,
};

/// Why the contract refused a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// Name of the typed error; `Unknown` for anything else.
    pub reason: String,
    pub message: String,
    /// Whether no later state of the chain can make the same batch pass.
    pub permanent: bool,
}

impl Revert {
    pub(crate) fn new(reason: &str, message: String, permanent: bool) -> Self {
        Self {
            reason: reason.to_owned(),
            message,
            permanent,
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
        Errors::OrderKeyMissing(error) => (
            "OrderKeyMissing",
            format!(
                "payer {} has authorised no order key: call authorizeOrderKey",
                error.payer
            ),
        ),
        Errors::OrderKeyExpired(error) => (
            "OrderKeyExpired",
            format!(
                "the order key of payer {} expired at {}: authorise it again",
                error.payer, error.expiry
            ),
        ),
        Errors::DailyCapExceeded(error) => (
            "DailyCapExceeded",
            format!(
                "payer {} would spend {} micro-USD today, the key's cap is {}: wait for the next day (UTC) or raise it",
                error.payer, error.spent, error.capPerDay
            ),
        ),
        Errors::DepositTooSmall(error) => (
            "DepositTooSmall",
            format!(
                "payer {} has deposited {} micro-USD, the batch needs {}",
                error.payer, error.deposit, error.debit
            ),
        ),
        other => ("Unexpected", format!("{other:?}")),
    };
    Revert::new(reason, message, false)
}

/// Calldata of `post`, in ledger mode.
pub fn post_calldata(header: &Header, debits: Vec<B256>, credits: Vec<B256>) -> Bytes {
    let header = contract_header(header);
    SpillwaySettlement::postCall {
        header,
        debits,
        credits,
    }
    .abi_encode()
    .into()
}

/// Calldata of `postRoot`, in root mode.
pub fn post_root_calldata(header: &Header) -> Bytes {
    let header = contract_header(header);
    SpillwaySettlement::postRootCall { header }.abi_encode().into()
}

// Every ABI has structs of its own; each list of fields stands here once.

macro_rules! header_of {
    ($abi:ident, $header:expr) => {{
        let header: &Header = $header;
        $abi::Header {
            sequence: header.sequence,
            count: header.count,
            total: header.total,
            cumulative: header.cumulative,
            previous: header.previous,
            jobsRoot: header.jobsRoot,
            payRoot: header.payRoot,
            spendRoot: header.spendRoot,
            ledgerHash: header.ledgerHash,
            dataHash: header.dataHash,
        }
    }};
}

macro_rules! leaf_of {
    ($abi:ident, $leaf:expr) => {{
        let leaf: &Leaf = $leaf;
        $abi::Leaf {
            job: leaf.job,
            shard: leaf.shard,
            attempt: leaf.attempt,
            kind: leaf.kind,
            payer: leaf.payer,
            provider: leaf.provider,
            amount: leaf.amount,
            order: leaf.order,
            receipt: leaf.receipt,
        }
    }};
}

macro_rules! order_of {
    ($abi:ident, $order:expr) => {{
        let order: &Order = $order;
        $abi::Order {
            job: order.job,
            shard: order.shard,
            attempt: order.attempt,
            kind: order.kind,
            payer: order.payer,
            provider: order.provider,
            unitPrice: order.unitPrice,
            upperBound: order.upperBound,
            expiry: order.expiry,
        }
    }};
}

pub(crate) use {header_of, leaf_of, order_of};

/// The header as calls of the contract take it.
pub fn contract_header(header: &Header) -> SpillwaySettlement::Header {
    header_of!(SpillwaySettlement, header)
}

/// Calldata of `showOrder`: keeps the order's upper bound of a leaving payer's deposit back.
pub fn show_order_calldata(order: &Order, signature: Vec<u8>) -> Bytes {
    SpillwaySettlement::showOrderCall {
        order: order_of!(SpillwaySettlement, order),
        signature: signature.into(),
    }
    .abi_encode()
    .into()
}

/// Calldata of `answerOrder` of the disputes contract: the signed order that a line names.
pub fn answer_order_calldata(id: u64, leaf: &Leaf, order: &Order, signature: Vec<u8>) -> Bytes {
    SpillwayDisputes::answerOrderCall {
        id: U256::from(id),
        leaf: leaf_of!(SpillwayDisputes, leaf),
        order: order_of!(SpillwayDisputes, order),
        signature: signature.into(),
    }
    .abi_encode()
    .into()
}

/// A paid line as the disputes contract takes it; `proof` is of [`spillway_core::batch::jobs_proofs`].
pub fn contract_line(header: &Header, leaf: &Leaf, proof: Vec<B256>) -> SpillwayDisputes::Line {
    SpillwayDisputes::Line {
        header: header_of!(SpillwayDisputes, header),
        leaf: leaf_of!(SpillwayDisputes, leaf),
        proof,
    }
}

/// What the disputes contract is told of a provider's unpaid value in ledger mode, where it asks the books itself.
pub fn nothing_unpaid() -> SpillwayDisputes::Unpaid {
    SpillwayDisputes::Unpaid {
        header: header_of!(
            SpillwayDisputes,
            &Header {
                sequence: 0,
                count: 0,
                total: 0,
                cumulative: 0,
                previous: B256::ZERO,
                jobsRoot: B256::ZERO,
                payRoot: B256::ZERO,
                spendRoot: B256::ZERO,
                ledgerHash: B256::ZERO,
                dataHash: B256::ZERO,
            }
        ),
        cumulative: 0,
        proof: vec![],
    }
}

/// Calldata of `claim`.
pub fn claim_calldata(provider: Address) -> Bytes {
    SpillwaySettlement::claimCall { provider }.abi_encode().into()
}
