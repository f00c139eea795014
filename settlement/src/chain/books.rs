//! The contract's books from its events: what it booked, what came in, what went out. Read up to the block that counts
//! as final, range by range, once.

use std::collections::BTreeMap;

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent;
use spillway_core::knowledge::Knowledge;
use spillway_core::reconcile::{ChainLedger, Held, PostedBatch};

use super::endpoint::read;
use super::{AskError, BlockFact, Chain};
use crate::contract::{SpillwaySettlement, TestToken};

/// Blocks of the first request; endpoints bound their ranges, so a refusal halves it.
const SPAN: u64 = 10_000;

/// What was read so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    next_block: u64,
    span: u64,
    posted: BTreeMap<u64, PostedBatch>,
    deposited: u128,
    paid_out: u128,
}

/// One line of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Posted(u64, Box<PostedBatch>),
    In(u128),
    Out(u128),
}

impl Books {
    /// The contract did nothing before `block`.
    pub fn from_block(block: u64) -> Self {
        Self {
            next_block: block,
            span: SPAN,
            posted: BTreeMap::new(),
            deposited: 0,
            paid_out: 0,
        }
    }

    fn book(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match entry {
                Entry::Posted(sequence, batch) => drop(self.posted.insert(sequence, *batch)),
                Entry::In(amount) => self.deposited = self.deposited.saturating_add(amount),
                Entry::Out(amount) => self.paid_out = self.paid_out.saturating_add(amount),
            }
        }
    }
}

impl Chain {
    /// Reads on to the final block, and what the contract holds there; what was read stays in `books` if that fails.
    pub async fn ledger(&self, books: &mut Books) -> Knowledge<ChainLedger> {
        let Knowledge::Known(last) = self.final_block().await else {
            return Knowledge::Unknown;
        };
        while books.next_block <= last.number {
            let (from, to) = (books.next_block, last.number.min(books.next_block + books.span - 1));
            let contract = self.place.contract;
            match self
                .most("events", |provider| entries(provider, contract, from, to))
                .await
            {
                Knowledge::Known(entries) => {
                    books.book(entries);
                    books.next_block = to + 1;
                    books.span = (books.span * 2).min(SPAN);
                }
                Knowledge::Unknown if books.span == 1 => return Knowledge::Unknown,
                Knowledge::Unknown => books.span /= 2,
            }
        }
        let contract = self.place.contract;
        let balance = self
            .most("holdings", |provider| holdings(provider, contract, last))
            .await;
        Knowledge::Known(ChainLedger {
            block_number: last.number,
            posted: books.posted.clone(),
            held: balance.map(|balance| Held {
                balance,
                deposited: books.deposited,
                paid_out: books.paid_out,
            }),
        })
    }
}

async fn holdings(provider: DynProvider, contract: Address, at: BlockFact) -> Result<u128, AskError> {
    let block = BlockId::hash(at.hash);
    let token = read(&provider, contract, SpillwaySettlement::tokenCall {}, block).await?;
    let call = TestToken::balanceOfCall { account: contract };
    let balance = read(&provider, token, call, block).await?;
    Ok(u128::try_from(balance).unwrap_or(u128::MAX))
}

async fn entries(provider: DynProvider, contract: Address, from: u64, to: u64) -> Result<Vec<Entry>, AskError> {
    let filter = Filter::new().address(contract).from_block(from).to_block(to);
    let logs = provider.get_logs(&filter).await?;
    logs.iter()
        .filter_map(|log| entry(log).transpose())
        .collect::<Result<_, _>>()
        .map_err(|error: alloy::sol_types::Error| AskError::Malformed(error.to_string()))
}

fn entry(log: &Log) -> Result<Option<Entry>, alloy::sol_types::Error> {
    let Some(topic) = log.topic0().copied() else {
        return Ok(None);
    };
    let amount = |amount: U256| u128::try_from(amount).unwrap_or(u128::MAX);
    let data = &log.inner;
    Ok(match topic {
        SpillwaySettlement::Posted::SIGNATURE_HASH => Some(posted(data, log.transaction_hash)?),
        SpillwaySettlement::Deposited::SIGNATURE_HASH => Some(Entry::In(amount(
            SpillwaySettlement::Deposited::decode_log(data)?.amount,
        ))),
        SpillwaySettlement::Withdrawn::SIGNATURE_HASH => Some(Entry::Out(amount(
            SpillwaySettlement::Withdrawn::decode_log(data)?.amount,
        ))),
        SpillwaySettlement::Claimed::SIGNATURE_HASH => Some(Entry::Out(amount(
            SpillwaySettlement::Claimed::decode_log(data)?.amount,
        ))),
        SpillwaySettlement::FeesPaid::SIGNATURE_HASH => Some(Entry::Out(amount(
            SpillwaySettlement::FeesPaid::decode_log(data)?.amount,
        ))),
        _ => None,
    })
}

fn posted(data: &alloy::primitives::Log, transaction: Option<B256>) -> Result<Entry, alloy::sol_types::Error> {
    let event = SpillwaySettlement::Posted::decode_log(data)?;
    let batch = PostedBatch {
        header_hash: event.headerHash,
        jobs_root: event.header.jobsRoot,
        data_hash: event.header.dataHash,
        total: event.header.total,
        count: event.header.count,
        transaction,
    };
    Ok(Entry::Posted(event.sequence, Box::new(batch)))
}
