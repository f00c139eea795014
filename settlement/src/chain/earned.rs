//! What the contract owes a provider, and what a claim costs.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use spillway_core::earnings::ClaimCost;
use spillway_core::knowledge::Knowledge;

use super::endpoint::read;
use super::{AskError, BlockFact, Chain};
use crate::contract::SpillwaySettlement;

/// Micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earned {
    /// On chain, and not claimable yet.
    pub in_window: u128,
    pub claimable: u128,
    pub claimed: u128,
}

/// Root mode: how far batches, collection and claims have come. Amounts are micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootBooks {
    pub next_sequence: u64,
    /// Sequences below it are final by the contract's windows.
    pub final_end: u64,
    /// What vouchers have brought in all.
    pub collected: u128,
    /// What claims have taken in all.
    pub paid: u128,
}

impl Chain {
    /// A provider's books; in root mode only `claimed` counts.
    pub async fn earned(&self, provider: Address, at: BlockFact) -> Knowledge<Earned> {
        let contract = self.place.contract;
        self.most("earned", |endpoint| earned(endpoint, contract, provider, at.hash))
            .await
    }

    pub async fn root_books(&self, at: BlockFact) -> Knowledge<RootBooks> {
        let contract = self.place.contract;
        self.most("books", |endpoint| root_books(endpoint, contract, at.hash))
            .await
    }

    /// Seconds between a payer's request to leave and its leaving.
    pub async fn withdraw_delay(&self) -> Knowledge<u64> {
        let contract = self.place.contract;
        self.identify(false).await;
        self.most("withdraw delay", |endpoint| async move {
            read(
                &endpoint,
                contract,
                SpillwaySettlement::withdrawDelayCall {},
                BlockId::latest(),
            )
            .await
        })
        .await
    }

    /// Gas of a claim, as the first endpoint that answers estimates it, at the market's fee.
    pub async fn claim_cost(&self, provider: Address, calldata: &Bytes) -> Knowledge<ClaimCost> {
        let contract = self.place.contract;
        self.first("claim cost", |endpoint| {
            claim_cost(endpoint, contract, provider, calldata.clone())
        })
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

async fn root_books(endpoint: DynProvider, contract: Address, block: B256) -> Result<RootBooks, AskError> {
    let block = BlockId::hash(block);
    let next_sequence = read(&endpoint, contract, SpillwaySettlement::nextSequenceCall {}, block).await?;
    let final_end = read(&endpoint, contract, SpillwaySettlement::finalEndCall {}, block).await?;
    let totals = read(&endpoint, contract, SpillwaySettlement::totalsCall {}, block).await?;
    Ok(RootBooks {
        next_sequence,
        final_end,
        collected: totals.collected.into(),
        paid: totals.paid.into(),
    })
}

async fn claim_cost(
    endpoint: DynProvider,
    contract: Address,
    provider: Address,
    calldata: Bytes,
) -> Result<ClaimCost, AskError> {
    let request = TransactionRequest::default()
        .from(provider)
        .to(contract)
        .input(calldata.into());
    Ok(ClaimCost {
        gas: endpoint.estimate_gas(request).await?,
        wei_per_gas: endpoint.get_gas_price().await?,
    })
}
