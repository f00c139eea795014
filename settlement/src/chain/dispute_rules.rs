//! What somebody who opens a dispute must know of the contracts, at one block that most endpoints have.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use serde::Serialize;
use spillway_core::knowledge::Knowledge;

use super::endpoint::read;
use super::{AskError, BlockFact, Chain};
use crate::advance::TRANSACTION_GAS_MAX;
use crate::contract::{Revert, SpillwayDisputes, SpillwaySettlement, TestToken};

/// Fixed terms of the disputes contract, and how far its settlement contract has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DisputeRules {
    pub disputes: Address,
    /// Takes proofs that a batch does not add up.
    pub sums: Address,
    pub token: Address,
    /// Answers with its stake for what the hub posts.
    pub guarantor: Address,
    /// Micro-USD that a challenge puts up.
    #[serde(rename = "bondMicro")]
    pub bond: u128,
    /// Seconds in which a challenge must be answered.
    pub answer_time: u64,
    /// Seconds in which a verdict may be vetoed.
    pub appeal_time: u64,
    /// Batches below it are final: nothing about them can be disputed.
    pub final_end: u64,
    /// Batches from it on are not posted.
    pub next_sequence: u64,
}

/// What an account has for a bond, micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purse {
    pub balance: u128,
    /// What the disputes contract may take of it.
    pub allowance: u128,
}

/// What a contract would say to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    Taken,
    Refused(Revert),
}

impl Chain {
    /// `Known(None)`: the settlement contract has no disputes contract.
    pub async fn dispute_rules(&self, at: BlockFact) -> Knowledge<Option<DisputeRules>> {
        let contract = self.place.contract;
        self.most("dispute rules", |provider| rules(provider, contract, at.hash))
            .await
    }

    /// Hash of the header that the contract holds at `sequence`; zero when it holds none.
    pub async fn posted_header(&self, sequence: u64, at: BlockFact) -> Knowledge<B256> {
        self.header_at(sequence, BlockId::hash(at.hash)).await
    }

    /// Whether a key that `payer` ever authorised signed `digest`.
    pub async fn ever_signed(&self, payer: Address, digest: B256, signature: &[u8], at: BlockFact) -> Knowledge<bool> {
        let contract = self.place.contract;
        let call = SpillwaySettlement::everSignedCall {
            payer,
            digest,
            signature: signature.to_vec().into(),
        };
        self.most("signature", |provider| {
            let call = call.clone();
            async move { read(&provider, contract, call, BlockId::hash(at.hash)).await }
        })
        .await
    }

    pub async fn purse(&self, owner: Address, rules: &DisputeRules, at: BlockFact) -> Knowledge<Purse> {
        let (token, spender) = (rules.token, rules.disputes);
        self.most("purse", |provider| purse(provider, token, owner, spender, at.hash))
            .await
    }

    /// What `to` would say to this call of `from`, as the first endpoint that answers has it.
    pub async fn trial(&self, from: Address, to: Address, calldata: &Bytes, at: BlockFact) -> Knowledge<Trial> {
        let request = TransactionRequest::default()
            .from(from)
            .to(to)
            .gas_limit(TRANSACTION_GAS_MAX)
            .input(calldata.clone().into());
        self.first("trial", |provider| trial(provider, request.clone(), at.hash))
            .await
    }
}

async fn rules(provider: DynProvider, settlement: Address, block: B256) -> Result<Option<DisputeRules>, AskError> {
    let block = BlockId::hash(block);
    let disputes = read(&provider, settlement, SpillwaySettlement::disputesCall {}, block).await?;
    if disputes.is_zero() {
        return Ok(None);
    }
    let bond: U256 = read(&provider, disputes, SpillwayDisputes::bondCall {}, block).await?;
    Ok(Some(DisputeRules {
        disputes,
        sums: read(&provider, disputes, SpillwayDisputes::sumsCall {}, block).await?,
        token: read(&provider, disputes, SpillwayDisputes::tokenCall {}, block).await?,
        guarantor: read(&provider, disputes, SpillwayDisputes::guarantorCall {}, block).await?,
        bond: bond.saturating_to(),
        answer_time: read(&provider, disputes, SpillwayDisputes::answerTimeCall {}, block).await?,
        appeal_time: read(&provider, disputes, SpillwayDisputes::appealTimeCall {}, block).await?,
        final_end: read(&provider, settlement, SpillwaySettlement::finalEndCall {}, block).await?,
        next_sequence: read(&provider, settlement, SpillwaySettlement::nextSequenceCall {}, block).await?,
    }))
}

async fn purse(
    provider: DynProvider,
    token: Address,
    owner: Address,
    spender: Address,
    block: B256,
) -> Result<Purse, AskError> {
    let block = BlockId::hash(block);
    let balance = TestToken::balanceOfCall { account: owner };
    let balance = read(&provider, token, balance, block).await?;
    let allowance = read(&provider, token, TestToken::allowanceCall { owner, spender }, block).await?;
    Ok(Purse {
        balance: balance.saturating_to(),
        allowance: allowance.saturating_to(),
    })
}

async fn trial(provider: DynProvider, request: TransactionRequest, block: B256) -> Result<Trial, AskError> {
    match provider.call(request).block(BlockId::hash(block)).await {
        Ok(_) => Ok(Trial::Taken),
        Err(error) => match error.as_error_resp() {
            Some(answer) if answer.message.contains("revert") => {
                let data = answer.as_revert_data().unwrap_or_default();
                Ok(Trial::Refused(Revert::decode(&data)))
            }
            _ => Err(error.into()),
        },
    }
}
