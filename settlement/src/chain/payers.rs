//! What the contract holds of payers, at one block that most endpoints have.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256};
use alloy::providers::DynProvider;
use spillway_core::knowledge::Knowledge;
use spillway_crds::SettlementMode;

use super::endpoint::read;
use super::head::{Head, block};
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
        fact(self.head().await)
    }

    /// The block that counts as final, as more than half of the endpoints say.
    pub async fn final_block(&self) -> Knowledge<BlockFact> {
        let tag = self.reach.confirm.tag();
        self.identify(false).await;
        let found = self
            .most("final block", |provider| async move { block(&provider, tag).await })
            .await;
        fact(found)
    }

    /// What vouchers have moved out of a payer's deposit in all, micro-USD; root mode.
    pub async fn collected(&self, payer: Address, at: BlockFact) -> Knowledge<u128> {
        let (contract, block) = (self.place.contract, BlockId::hash(at.hash));
        let asked = self
            .most("collected", |provider| async move {
                read(&provider, contract, SpillwaySettlement::collectedCall { payer }, block).await
            })
            .await;
        asked.map(|amount| u128::try_from(amount).unwrap_or(u128::MAX))
    }

    /// How the contract moves money. It never changes: asked until it is known.
    pub async fn mode(&self) -> Knowledge<SettlementMode> {
        if let Some(mode) = self.mode.get() {
            return Knowledge::Known(*mode);
        }
        let contract = self.place.contract;
        self.identify(false).await;
        let asked = self
            .most("mode", |provider| async move {
                read(&provider, contract, SpillwaySettlement::modeCall {}, BlockId::latest()).await
            })
            .await;
        asked.map(|mode| {
            *self.mode.get_or_init(|| match mode {
                0 => SettlementMode::Ledger,
                _ => SettlementMode::Root,
            })
        })
    }

    /// A payer as most endpoints have it at a block.
    pub async fn payer(&self, payer: Address, at: BlockFact) -> Knowledge<PayerFact> {
        let contract = self.place.contract;
        self.most("payer", |provider| payer_fact(provider, contract, payer, at.hash))
            .await
    }
}

fn fact(head: Knowledge<Head>) -> Knowledge<BlockFact> {
    head.map(|head| BlockFact {
        number: head.number,
        hash: head.hash,
        time: head.timestamp,
    })
}

async fn payer_fact(
    provider: DynProvider,
    contract: Address,
    payer: Address,
    block: B256,
) -> Result<PayerFact, AskError> {
    let block = BlockId::hash(block);
    let balances = read(
        &provider,
        contract,
        SpillwaySettlement::balancesCall { account: payer },
        block,
    )
    .await?;
    let key = read(&provider, contract, SpillwaySettlement::orderKeyCall { payer }, block).await?;
    Ok(PayerFact {
        deposit: balances.deposit,
        withdraw_requested: balances.withdrawRequested,
        order_key: key.key,
        cap_per_day: key.capPerDay,
        spent_today: key.spentToday,
        expiry: key.expiry,
    })
}
