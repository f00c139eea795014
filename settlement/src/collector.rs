//! Root mode: brings what payers owe from their deposits into the contract's pot, by the vouchers that the operator stored
//! with each batch. Anyone may call `collect`, so the key needs coins for gas and no right; it must not be the poster's.
//!
//! The newest final batch says what every payer has spent in all, the contract what was collected; the difference is
//! taken by the newest voucher of each payer. Nothing is remembered between passes.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use kube::{Api, Client};
use spillway_core::batch::{Totals, Voucher};
use spillway_core::knowledge::Knowledge;
use spillway_core::reconcile::Document;
use spillway_crds::money::{debits_of, hash};
use spillway_crds::{Settlement, SettlementMode, StoredVouchers, names};
use tokio_util::sync::CancellationToken;

use crate::chain::{BlockFact, Chain};
use crate::claim::{CallError, call, connect};
use crate::contract::collect_calldata;
use crate::reconcile::Documents;
use crate::ticks::Ticks;

/// Vouchers of one transaction: each takes some 60,000 gas.
const VOUCHERS_AT_ONCE: usize = 100;

/// Batches that are searched for a payer's newest voucher: one that owes for longer has nothing to take.
const LOOK_BACK: usize = 10_000;
/// A payer that asks to leave must meet this many passes, finality and failed ones included.
const PASSES_IN_DELAY: u64 = 4;

/// A payer's word and its signature.
pub type Signed = (Voucher, Vec<u8>);

/// One hub's payers.
#[derive(Debug)]
pub struct Collector {
    settlements: Api<Settlement>,
    chain: Chain,
    documents: Documents,
    rpc_url: String,
    signer: PrivateKeySigner,
    pub every: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("the contract is in ledger mode: there is nothing to collect")]
    Ledger,
    #[error("what the contract's withdraw delay is could not be asked")]
    Unknown,
    #[error("--every: payers may leave after {delay} s, so collect every {} s at least", longest.as_secs())]
    TooSeldom { longest: Duration, delay: u64 },
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Collector {
    /// `namespace` is where Settlements live; `rpc_url` sends.
    pub fn new(
        client: Client,
        namespace: &str,
        chain: Chain,
        documents: Documents,
        rpc_url: String,
        signer: PrivateKeySigner,
    ) -> Self {
        Self {
            settlements: Api::namespaced(client, namespace),
            chain,
            documents,
            rpc_url,
            signer,
            every: Duration::from_secs(3600),
        }
    }

    /// Whether what payers owe is collected long before they can leave.
    ///
    /// # Errors
    /// When `every` is too long for the contract's withdraw delay, or that cannot be asked.
    pub async fn check(&self) -> Result<(), CollectError> {
        let Knowledge::Known(delay) = self.chain.withdraw_delay().await else {
            return Err(CollectError::Unknown);
        };
        let longest = Duration::from_secs(delay / PASSES_IN_DELAY);
        if self.every <= longest {
            return Ok(());
        }
        Err(CollectError::TooSeldom { longest, delay })
    }

    /// # Errors
    /// None: a pass that failed is logged and made again.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = Ticks::every(self.every, cancelled);
        while ticks
            .pass("what payers owe could not be collected", || self.pass())
            .await
        {}
        Ok(())
    }

    /// Collects everything that final batches have spent; micro-USD that came in.
    ///
    /// # Errors
    /// When the API server cannot be asked or a transaction fails; what could not be known is left for the next pass.
    pub async fn pass(&self) -> Result<u128, CollectError> {
        let Knowledge::Known(at) = self.chain.final_block().await else {
            return Ok(0);
        };
        match self.chain.mode().await {
            Knowledge::Known(SettlementMode::Root) => {}
            Knowledge::Known(SettlementMode::Ledger) => return Err(CollectError::Ledger),
            Knowledge::Unknown => return Ok(0),
        }
        let Knowledge::Known(books) = self.chain.root_books(at).await else {
            return Ok(0);
        };
        let newest = books.next_sequence - 1;
        let Knowledge::Known(Some(totals)) = self.totals(newest).await else {
            return Ok(0);
        };
        let owing = self.owing(&totals, at).await;
        let vouchers = self.vouchers(newest, owing).await?;
        self.collect(vouchers).await
    }

    /// What everybody has spent with this batch; none before the first.
    async fn totals(&self, sequence: u64) -> Knowledge<Option<Totals>> {
        if sequence == 0 {
            return Knowledge::Known(None);
        }
        let Knowledge::Known(Some(posted)) = self.chain.archived(sequence).await else {
            return Knowledge::Unknown;
        };
        let document = self.documents.sealed(posted.header.dataHash).await;
        document.map(|document| match document {
            Document::Leaves(contents) => contents.totals,
            // The reconciler tells of it.
            Document::Missing | Document::Altered => None,
        })
    }

    /// Payers of whom less was collected than they spent, with what was collected.
    async fn owing(&self, totals: &Totals, at: BlockFact) -> BTreeMap<Address, u128> {
        let mut owing = BTreeMap::new();
        for (payer, spent) in &totals.spent {
            match self.chain.collected(*payer, at).await {
                Knowledge::Known(collected) if collected < *spent => drop(owing.insert(*payer, collected)),
                _ => {}
            }
        }
        owing
    }

    /// The newest voucher of each, back from the batch at `newest`.
    async fn vouchers(&self, newest: u64, mut owing: BTreeMap<Address, u128>) -> kube::Result<Vec<Signed>> {
        let mut found = Vec::new();
        for sequence in (1..=newest).rev().take(LOOK_BACK) {
            if owing.is_empty() {
                break;
            }
            let Some(settlement) = self.settlements.get_opt(&names::settlement(sequence)).await? else {
                continue;
            };
            let debits = debits_of(&settlement.spec).unwrap_or_default();
            let payers = debits.into_iter().map(|(payer, _)| payer);
            let wanted: Vec<Address> = payers.filter(|payer| owing.contains_key(payer)).collect();
            if wanted.is_empty() {
                continue;
            }
            let Some(stored) = self.stored(&settlement).await else {
                continue;
            };
            for payer in wanted {
                let collected = owing.remove(&payer).unwrap_or_default();
                found.extend(
                    self.signed(&stored, payer)
                        .filter(|(voucher, _)| voucher.cumulative > collected),
                );
            }
        }
        Ok(found)
    }

    async fn stored(&self, settlement: &Settlement) -> Option<StoredVouchers> {
        let header_hash: B256 = hash("spec.headerHash", &settlement.spec.header_hash).ok()?;
        let key = StoredVouchers::key(&header_hash.to_string());
        let bytes = self.documents.bytes(&key, StoredVouchers::SIZE_MAX).await.known()?;
        let stored = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if stored.is_none() {
            tracing::error!(key, "vouchers of a batch are not in the store, or cannot be read");
        }
        stored
    }

    fn signed(&self, stored: &StoredVouchers, payer: Address) -> Option<Signed> {
        let place = &self.chain.place;
        match stored.of(place.chain_id, place.contract, payer) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!(%payer, %error, "a voucher cannot be read");
                None
            }
        }
    }

    /// A voucher that the contract refuses keeps back nobody else's.
    async fn collect(&self, mut vouchers: Vec<Signed>) -> Result<u128, CollectError> {
        let mut collected = 0;
        while !vouchers.is_empty() {
            let rest = vouchers.split_off(vouchers.len().min(VOUCHERS_AT_ONCE));
            collected += self.collect_some(vouchers).await?;
            vouchers = rest;
        }
        Ok(collected)
    }

    async fn collect_some(&self, mut vouchers: Vec<Signed>) -> Result<u128, CollectError> {
        let place = self.chain.place;
        let endpoint = connect(&self.rpc_url, place.chain_id, self.signer.clone()).await?;
        while !vouchers.is_empty() {
            let before = collected_in_all(&endpoint, place.contract).await?;
            match call(&endpoint, place.contract, collect_calldata(&vouchers)).await {
                Ok(transaction) => {
                    let collected = collected_in_all(&endpoint, place.contract)
                        .await?
                        .saturating_sub(before);
                    tracing::info!(vouchers = vouchers.len(), collected, %transaction, "collected what payers owe");
                    return Ok(collected);
                }
                Err(CallError::Reverts(revert)) => {
                    let Some(payer) = revert
                        .payer
                        .filter(|payer| vouchers.iter().any(|(voucher, _)| voucher.payer == *payer))
                    else {
                        return Err(CallError::Reverts(revert).into());
                    };
                    tracing::error!(%payer, reason = revert.reason, message = revert.message, "a payer's voucher is refused");
                    vouchers.retain(|(voucher, _)| voucher.payer != payer);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }
}

async fn collected_in_all(endpoint: &alloy::providers::DynProvider, contract: Address) -> Result<u128, CallError> {
    let contract = crate::contract::SpillwaySettlement::new(contract, endpoint);
    Ok(contract.totals().call().await?.collected.into())
}
