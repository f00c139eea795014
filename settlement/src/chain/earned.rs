//! What the contract owes a provider, and what a claim costs.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use spillway_core::earnings::ClaimCost;
use spillway_core::knowledge::Knowledge;

use super::endpoint::read;
use super::{AskError, Chain};
use crate::contract::{SpillwaySettlement, claim_calldata};

/// Micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earned {
    pub in_window: u128,
    pub claimable: u128,
    pub claimed: u128,
}

impl Chain {
    /// A provider's books at the newest block that most endpoints have.
    pub async fn earned(&self, provider: Address) -> Knowledge<Earned> {
        let Knowledge::Known(block) = self.common_block().await else {
            return Knowledge::Unknown;
        };
        let contract = self.place.contract;
        self.most("earned", |endpoint| earned(endpoint, contract, provider, block.hash))
            .await
    }

    /// Gas of a claim, as the first endpoint that answers estimates it, at the market's fee.
    pub async fn claim_cost(&self, provider: Address) -> Knowledge<ClaimCost> {
        let contract = self.place.contract;
        self.first("claim cost", |endpoint| claim_cost(endpoint, contract, provider))
            .await
    }
}

async fn earned(endpoint: DynProvider, contract: Address, provider: Address, block: B256) -> Result<Earned, AskError> {
    let call = SpillwaySettlement::balancesCall { account: provider };
    let balances = read(&endpoint, contract, call, BlockId::hash(block)).await?;
    Ok(Earned {
        in_window: balances.pending,
        claimable: balances.claimable,
        claimed: balances.claimed,
    })
}

async fn claim_cost(endpoint: DynProvider, contract: Address, provider: Address) -> Result<ClaimCost, AskError> {
    let request = TransactionRequest::default()
        .from(provider)
        .to(contract)
        .input(claim_calldata(provider).into());
    Ok(ClaimCost {
        gas: endpoint.estimate_gas(request).await?,
        wei_per_gas: endpoint.get_gas_price().await?,
    })
}
