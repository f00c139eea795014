//! What the contract holds of payers, at one block that most endpoints have.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider};
use spillway_core::knowledge::Knowledge;

use super::endpoints::within;
use super::{AskError, Chain};
use crate::contract::SpillwaySettlement;

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFact {
    pub number: u64,
    pub hash: B256,
    /// Unix seconds.
    pub time: u64,
}

/// A payer's books; amounts are micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayerFact {
    pub deposit: u128,
    pub withdraw_requested: u128,
    pub order_key: Address,
    pub cap_per_day: u128,
    pub spent_today: u128,
    pub expiry: u64,
}

impl Chain {
    /// The newest block that more than half of the endpoints have, by number, hash and time.
    pub async fn common_block(&self) -> Knowledge<BlockFact> {
        let mut heights = Vec::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            match within(async { Ok(endpoint.get_block_number().await?) }).await {
                Ok(height) => heights.push(height),
                Err(error) => tracing::debug!(endpoint = index, %error, "an endpoint cannot be asked"),
            }
        }
        heights.sort_unstable_by(|one, other| other.cmp(one));
        match heights.get(self.endpoints.len() / 2) {
            None => Knowledge::Unknown,
            Some(number) => self.most("block", |provider| block(provider, (*number).into())).await,
        }
    }

    /// The block that counts as final, as more than half of the endpoints say.
    pub async fn final_block(&self) -> Knowledge<BlockFact> {
        let tag = self.confirm.tag();
        self.most("final block", |provider| block(provider, tag)).await
    }

    /// A payer as most endpoints have it at a block.
    pub async fn payer(&self, payer: Address, at: BlockFact) -> Knowledge<PayerFact> {
        let contract = self.place.contract;
        self.most("payer", |provider| payer_fact(provider, contract, payer, at.hash))
            .await
    }
}

async fn block(provider: DynProvider, number: BlockNumberOrTag) -> Result<BlockFact, AskError> {
    let found = provider.get_block_by_number(number).await?;
    let header = found
        .ok_or_else(|| AskError::Malformed(format!("no block {number}")))?
        .header;
    Ok(BlockFact {
        number: header.number,
        hash: header.hash,
        time: header.timestamp,
    })
}

async fn payer_fact(
    provider: DynProvider,
    contract: Address,
    payer: Address,
    block: B256,
) -> Result<PayerFact, AskError> {
    let contract = SpillwaySettlement::new(contract, provider);
    let balances = contract.balances(payer).block(BlockId::hash(block)).call().await?;
    let key = contract.orderKey(payer).block(BlockId::hash(block)).call().await?;
    Ok(PayerFact {
        deposit: balances.deposit,
        withdraw_requested: balances.withdrawRequested,
        order_key: key.key,
        cap_per_day: key.capPerDay,
        spent_today: key.spentToday,
        expiry: key.expiry,
    })
}
