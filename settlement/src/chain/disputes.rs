//! Disputes as the contract holds them, and those that ask for an answer, at one block that most endpoints have.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::DynProvider;
use serde::Serialize;
use spillway_core::knowledge::Knowledge;
use spillway_core::offence::At;

use super::endpoint::read;
use super::{AskError, BlockFact, Chain};
use crate::contract::{ISpillwayDisputes, SpillwayDisputes, SpillwaySettlement};

/// Read in one pass; more are read in the next ones.
const PER_PASS: u64 = 256;
/// The contract's numbers of the states of a dispute.
const OPEN: u8 = 1;
const REFUTED: u8 = 3;

/// How far a dispute has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Stage {
    Open,
    /// What was asked for was shown, or the verdict was vetoed.
    Answered,
    /// The deadline passed and it was resolved: the line is void.
    Proven,
}

impl Stage {
    fn of(state: u8) -> Self {
        match state {
            OPEN => Self::Open,
            REFUTED => Self::Answered,
            _ => Self::Proven,
        }
    }
}

/// What a dispute is about, in the order of the contract's numbers. Those that one transaction proves are no disputes
/// that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Fault {
    MissingOrder,
    WithheldPay,
    ExceededOrder,
    Duplicate,
    Equivocation,
    BrokenSum,
    WrongResult,
    SlaBreach,
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::MissingOrder,
        Self::WithheldPay,
        Self::ExceededOrder,
        Self::Duplicate,
        Self::Equivocation,
        Self::BrokenSum,
        Self::WrongResult,
        Self::SlaBreach,
    ];

    fn of(code: u8) -> Result<Self, AskError> {
        let unknown = || AskError::Malformed(format!("no fault has code {code}"));
        Self::ALL.get(usize::from(code)).copied().ok_or_else(unknown)
    }
}

/// A dispute that waits for its answer or appeal, or did. Amounts are micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filed {
    pub id: u64,
    pub fault: Fault,
    pub stage: Stage,
    #[serde(flatten)]
    pub at: At,
    pub challenger: Address,
    pub payer: Address,
    pub provider: Address,
    /// What the payer gets back when it is proven.
    #[serde(rename = "refundMicro")]
    pub refund: u128,
    /// Unix seconds, block time: an answer or veto counts before, it can be resolved from then on.
    pub deadline: u64,
    /// Hash of the line.
    pub leaf_hash: B256,
}

/// Disputes from some id on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filings {
    /// `None`: this contract has no disputes.
    pub contract: Option<Address>,
    pub listed: Vec<Filed>,
    /// No dispute below it is open at that block.
    pub closed_below: u64,
}

impl Chain {
    /// Disputes from `from` on, as of a block.
    pub async fn filings(&self, from: u64, at: BlockFact) -> Knowledge<Filings> {
        let contract = self.place.contract;
        let ask = |provider| filings(provider, contract, from, at.hash);
        self.most("filings", ask).await
    }

    /// Ids go from zero up to it.
    pub async fn dispute_count(&self, disputes: Address, at: BlockFact) -> Knowledge<u64> {
        let ask = |provider| async move {
            let call = SpillwayDisputes::disputeCountCall {};
            let count = read(&provider, disputes, call, BlockId::hash(at.hash)).await?;
            Ok(count.saturating_to())
        };
        self.most("disputes", ask).await
    }

    /// The dispute of this id, which must be below the count.
    pub async fn dispute(&self, disputes: Address, id: u64, at: BlockFact) -> Knowledge<Filed> {
        let ask = |provider| async move {
            let call = SpillwayDisputes::disputeCall { id: U256::from(id) };
            filed(id, &read(&provider, disputes, call, BlockId::hash(at.hash)).await?)
        };
        self.most("dispute", ask).await
    }
}

async fn filings(provider: DynProvider, settlement: Address, from: u64, block: B256) -> Result<Filings, AskError> {
    let block = BlockId::hash(block);
    let contract = read(&provider, settlement, SpillwaySettlement::disputesCall {}, block).await?;
    if contract.is_zero() {
        return Ok(Filings::default());
    }
    let count = read(&provider, contract, SpillwayDisputes::disputeCountCall {}, block).await?;
    let end = u64::try_from(count)
        .unwrap_or(u64::MAX)
        .min(from.saturating_add(PER_PASS));
    let mut found = Filings {
        contract: Some(contract),
        listed: vec![],
        closed_below: end.max(from),
    };
    for id in from..end {
        let call = SpillwayDisputes::disputeCall { id: U256::from(id) };
        let its = read(&provider, contract, call, block).await?;
        if its.state == OPEN {
            found.closed_below = found.closed_below.min(id);
        }
        found.listed.push(filed(id, &its)?);
    }
    Ok(found)
}

fn filed(id: u64, its: &ISpillwayDisputes::Dispute) -> Result<Filed, AskError> {
    Ok(Filed {
        id,
        fault: Fault::of(its.fault)?,
        stage: Stage::of(its.state),
        at: At {
            settlement: (its.rank >> 32_usize).saturating_to(),
            line: (its.rank & U256::from(u32::MAX)).saturating_to(),
        },
        challenger: its.challenger,
        payer: its.payer,
        provider: its.provider,
        refund: its.refund,
        deadline: its.deadline,
        leaf_hash: its.leafHash,
    })
}
