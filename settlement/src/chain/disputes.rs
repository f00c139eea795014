//! Disputes that ask for an answer, at one block that most endpoints have.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::DynProvider;
use spillway_core::knowledge::Knowledge;

use super::endpoint::read;
use super::{AskError, BlockFact, Chain};
use crate::contract::{ISpillwayDisputes, SpillwayDisputes, SpillwaySettlement};

/// Read in one pass; more are read in the next ones.
const PER_PASS: u64 = 256;
/// The contract's numbers of the fault `MissingOrder` and of the states of a dispute.
const MISSING_ORDER: u8 = 0;
const OPEN: u8 = 1;
const REFUTED: u8 = 3;

/// How far a challenge has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Open,
    /// The order was shown.
    Answered,
    /// The deadline passed: the line is void.
    Proven,
}

/// Somebody asks for the signed order of a paid line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub id: u64,
    pub stage: Stage,
    /// Of the batch, and of the line in it.
    pub sequence: u64,
    pub index: u32,
    pub leaf_hash: B256,
    /// Unix seconds, block time; from then on no answer counts.
    pub deadline: u64,
}

/// Challenges from some id on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenges {
    /// `None`: this contract has no disputes.
    pub contract: Option<Address>,
    pub listed: Vec<Challenge>,
    /// No dispute below it is open at that block.
    pub closed_below: u64,
}

impl Chain {
    /// What was asked for from dispute `from` on, as of a block.
    pub async fn challenges(&self, from: u64, at: BlockFact) -> Knowledge<Challenges> {
        let contract = self.place.contract;
        let ask = |provider| challenges(provider, contract, from, at.hash);
        self.most("challenges", ask).await
    }
}

async fn challenges(
    provider: DynProvider,
    settlement: Address,
    from: u64,
    block: B256,
) -> Result<Challenges, AskError> {
    let block = BlockId::hash(block);
    let contract = read(&provider, settlement, SpillwaySettlement::disputesCall {}, block).await?;
    if contract.is_zero() {
        return Ok(Challenges::default());
    }
    let count = read(&provider, contract, SpillwayDisputes::disputeCountCall {}, block).await?;
    let end = u64::try_from(count)
        .unwrap_or(u64::MAX)
        .min(from.saturating_add(PER_PASS));
    let mut found = Challenges {
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
        found.listed.extend(challenge(id, &its));
    }
    Ok(found)
}

fn challenge(id: u64, its: &ISpillwayDisputes::Dispute) -> Option<Challenge> {
    let stage = match its.state {
        OPEN => Stage::Open,
        REFUTED => Stage::Answered,
        _ => Stage::Proven,
    };
    (its.fault == MISSING_ORDER).then(|| Challenge {
        id,
        stage,
        sequence: (its.rank >> 32_usize).saturating_to(),
        index: (its.rank & U256::from(u32::MAX)).saturating_to(),
        leaf_hash: its.leafHash,
        deadline: its.deadline,
    })
}
