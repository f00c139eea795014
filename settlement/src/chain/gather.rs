//! Gathers a [`ChainView`]. The contract is read first: what is read later can only be newer.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::{Filter, Log, TransactionReceipt, TransactionRequest};
use alloy::sol_types::{SolCall, SolEvent};
use spillway_core::knowledge::Knowledge;
use spillway_crds::{SettlementSpec, SettlementStatus};

use super::{AskError, Chain, ChainView, Inclusion, Simulation};
use crate::advance::Batch;
use crate::contract::{Revert, SpillwaySettlement};
use crate::transaction::Fees;

/// How far back the Posted event of an unfinished Settlement may lie.
const EVENT_BLOCKS: u64 = 50_000;

impl Chain {
    /// Asks for what a step of this Settlement needs; a spec that cannot be read asks for nothing.
    pub async fn view(&self, spec: &SettlementSpec, status: &SettlementStatus) -> ChainView {
        let Ok(batch) = Batch::of(spec) else {
            return ChainView::default();
        };
        let posted = self.header_at(spec.sequence, BlockId::latest()).await;
        let view = ChainView {
            posted,
            receipts: self.receipts(status).await,
            ..ChainView::default()
        };
        if posted == Knowledge::Known(batch.header_hash) {
            self.view_of_posted(view, spec.sequence, batch.header_hash).await
        } else {
            self.view_of_missing(view, spec.sequence, status, &batch.destination.calldata)
                .await
        }
    }

    async fn view_of_posted(&self, view: ChainView, sequence: u64, header_hash: B256) -> ChainView {
        ChainView {
            posted_safe: self.header_at(sequence, BlockId::safe()).await,
            posted_final: self.final_header(sequence).await,
            event: self.event(sequence, header_hash).await,
            ..view
        }
    }

    async fn view_of_missing(
        &self,
        view: ChainView,
        sequence: u64,
        status: &SettlementStatus,
        calldata: &Bytes,
    ) -> ChainView {
        let poster = self.poster;
        let last = status.attempts.last().and_then(|attempt| attempt.hash.parse().ok());
        let in_pool = match last {
            Some(hash) => self.first("pool", |provider| in_pool(provider, hash)).await,
            None => Knowledge::Unknown,
        };
        ChainView {
            posted_final: self.final_header(sequence).await,
            next_sequence: self.next_sequence().await,
            nonce: self
                .first("nonce", |provider| async move {
                    Ok(provider.get_transaction_count(poster).await?)
                })
                .await,
            in_pool,
            fees: self.first("fees", market_fees).await,
            balance: self.first("balance", |provider| balance(provider, poster)).await,
            simulation: self.simulate(calldata).await,
            ..view
        }
    }

    async fn header_at(&self, sequence: u64, block: BlockId) -> Knowledge<B256> {
        let contract = self.place.contract;
        self.first("header", |provider| header_hash_at(provider, contract, sequence, block))
            .await
    }

    async fn final_header(&self, sequence: u64) -> Knowledge<B256> {
        let (contract, block) = (self.place.contract, self.confirm.block());
        self.most("final header", |provider| {
            header_hash_at(provider, contract, sequence, block)
        })
        .await
    }

    async fn next_sequence(&self) -> Knowledge<u64> {
        let contract = self.place.contract;
        self.first("next sequence", |provider| async move {
            Ok(SpillwaySettlement::new(contract, provider)
                .nextSequence()
                .call()
                .await?)
        })
        .await
    }

    async fn receipts(&self, status: &SettlementStatus) -> Vec<Knowledge<Option<Inclusion>>> {
        let mut receipts = Vec::new();
        for attempt in &status.attempts {
            receipts.push(match attempt.hash.parse() {
                Ok(hash) => self.first("receipt", |provider| receipt(provider, hash)).await,
                Err(_) => Knowledge::Known(None),
            });
        }
        receipts
    }

    async fn event(&self, sequence: u64, header_hash: B256) -> Knowledge<Option<Inclusion>> {
        let contract = self.place.contract;
        self.first("event", |provider| {
            posted_event(provider, contract, sequence, header_hash)
        })
        .await
    }

    async fn simulate(&self, calldata: &Bytes) -> Knowledge<Simulation> {
        let request = TransactionRequest::default()
            .from(self.poster)
            .to(self.place.contract)
            .input(calldata.clone().into());
        self.first("simulation", |provider| simulate(provider, request.clone()))
            .await
    }
}

/// Empty data at an old block means that the contract was not there yet; at the head, that it is not there at all.
async fn header_hash_at(
    provider: DynProvider,
    contract: Address,
    sequence: u64,
    block: BlockId,
) -> Result<B256, AskError> {
    let calldata = SpillwaySettlement::headerHashAtCall { sequence }.abi_encode();
    let request = TransactionRequest::default().to(contract).input(calldata.into());
    let answer = provider.call(request).block(block).await?;
    match answer.is_empty() {
        true if block == BlockId::latest() => Err(AskError::NoContract),
        true => Ok(B256::ZERO),
        false => SpillwaySettlement::headerHashAtCall::abi_decode_returns(&answer)
            .map_err(|error| AskError::Malformed(error.to_string())),
    }
}

async fn in_pool(provider: DynProvider, hash: B256) -> Result<bool, AskError> {
    Ok(provider.get_transaction_by_hash(hash).await?.is_some())
}

async fn market_fees(provider: DynProvider) -> Result<Fees, AskError> {
    let estimate = provider.estimate_eip1559_fees().await?;
    Ok(Fees {
        max_fee_per_gas: estimate.max_fee_per_gas,
        max_priority_fee_per_gas: estimate.max_priority_fee_per_gas,
    })
}

async fn balance(provider: DynProvider, account: Address) -> Result<u128, AskError> {
    let wei = provider.get_balance(account).await?;
    // More than 2^128 wei do not exist; saturating is enough to compare.
    Ok(u128::try_from(wei).unwrap_or(u128::MAX))
}

pub(super) async fn receipt(provider: DynProvider, hash: B256) -> Result<Option<Inclusion>, AskError> {
    Ok(provider
        .get_transaction_receipt(hash)
        .await?
        .and_then(|receipt| included(&receipt)))
}

fn included(receipt: &TransactionReceipt) -> Option<Inclusion> {
    Some(Inclusion {
        transaction: receipt.transaction_hash,
        block_hash: receipt.block_hash?,
        block_number: receipt.block_number?,
        succeeded: receipt.inner.status(),
        gas_used: Some(receipt.gas_used),
    })
}

async fn posted_event(
    provider: DynProvider,
    contract: Address,
    sequence: u64,
    header_hash: B256,
) -> Result<Option<Inclusion>, AskError> {
    let head = provider.get_block_number().await?;
    let filter = Filter::new()
        .address(contract)
        .event_signature(SpillwaySettlement::Posted::SIGNATURE_HASH)
        .topic1(alloy::primitives::U256::from(sequence))
        .topic2(header_hash)
        .from_block(head.saturating_sub(EVENT_BLOCKS));
    Ok(provider.get_logs(&filter).await?.iter().find_map(logged))
}

fn logged(log: &Log) -> Option<Inclusion> {
    Some(Inclusion {
        transaction: log.transaction_hash?,
        block_hash: log.block_hash?,
        block_number: log.block_number?,
        succeeded: true,
        gas_used: None,
    })
}

/// At the head, not at the pending block: there our own waiting transaction would make this one a cheap repeat.
async fn simulate(provider: DynProvider, request: TransactionRequest) -> Result<Simulation, AskError> {
    match provider.estimate_gas(request).block(BlockId::latest()).await {
        Ok(gas) => Ok(Simulation::Succeeds { gas }),
        Err(error) => match error.as_error_resp() {
            Some(answer) if answer.message.contains("revert") => Ok(Simulation::Reverts(Revert::decode(
                &answer.as_revert_data().unwrap_or_default(),
            ))),
            _ => Err(error.into()),
        },
    }
}
