//! Posts that the contract's ring has forgotten, from its `Posted` events: bounded ranges of final blocks, scanned once.

use std::collections::BTreeMap;

use alloy::consensus::Transaction;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent;
use spillway_core::knowledge::Knowledge;

use super::gather::logged;
use super::{Archived, AskError, Chain};
use crate::contract::{SpillwaySettlement, posted_header};

/// Blocks of the first request; endpoints bound their ranges, so a refusal halves it.
const SPAN: u64 = 10_000;
/// Requests of one pass.
const RANGES_MAX: usize = 50;

/// What was scanned so far.
#[derive(Debug)]
pub(super) struct Archive {
    next_block: u64,
    span: u64,
    posts: BTreeMap<u64, Archived>,
}

impl Archive {
    pub(super) fn from_block(next_block: u64) -> Self {
        Self {
            next_block,
            span: SPAN,
            posts: BTreeMap::new(),
        }
    }
}

impl Chain {
    /// The final post of `sequence`; `Known(None)` when every final block was scanned in vain.
    pub async fn archived(&self, sequence: u64) -> Knowledge<Option<Archived>> {
        let mut archive = self.archive.lock().await;
        if let Some(found) = archive.posts.get(&sequence) {
            return Knowledge::Known(Some(found.clone()));
        }
        let Knowledge::Known(last) = self.final_height().await else {
            return Knowledge::Unknown;
        };
        for _ in 0..RANGES_MAX {
            if archive.next_block > last {
                return Knowledge::Known(None);
            }
            self.scan(&mut archive, last).await;
            if let Some(found) = archive.posts.get(&sequence) {
                return Knowledge::Known(Some(found.clone()));
            }
        }
        Knowledge::Unknown
    }

    /// Input of a transaction; `None` when the endpoint does not know it. Whoever asks holds it against a hash.
    pub async fn calldata(&self, transaction: B256) -> Knowledge<Option<Bytes>> {
        self.first("calldata", |provider| async move {
            let found = provider.get_transaction_by_hash(transaction).await?;
            Ok(found.map(|found| found.input().clone()))
        })
        .await
    }

    async fn scan(&self, archive: &mut Archive, last: u64) {
        let (from, contract) = (archive.next_block, self.place.contract);
        let to = last.min(from.saturating_add(archive.span - 1));
        match self.most("posts", |provider| posts(provider, contract, from, to)).await {
            Knowledge::Known(found) => {
                archive.posts.extend(found);
                archive.next_block = to + 1;
            }
            Knowledge::Unknown => archive.span = (archive.span / 2).max(1),
        }
    }
}

async fn posts(provider: DynProvider, contract: Address, from: u64, to: u64) -> Result<Vec<(u64, Archived)>, AskError> {
    let filter = Filter::new()
        .address(contract)
        .event_signature(SpillwaySettlement::Posted::SIGNATURE_HASH)
        .from_block(from)
        .to_block(to);
    Ok(provider.get_logs(&filter).await?.iter().filter_map(archived).collect())
}

fn archived(log: &Log) -> Option<(u64, Archived)> {
    let event = SpillwaySettlement::Posted::decode_log(&log.inner).ok()?.data;
    let archived = Archived {
        header_hash: event.headerHash,
        header: posted_header(&event.header),
        inclusion: logged(log)?,
    };
    Some((event.sequence, archived))
}
