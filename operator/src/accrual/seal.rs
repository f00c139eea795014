//! Seals a batch: receipts read again, signatures, documents, then the Settlement.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::PostParams;
use spillway_core::batch::{Leaf, LeavesDocument, Sealed, Voucher, seal, seal_root};
use spillway_crds::{Settlement, SettlementSpec, StoredVouchers, names};

use super::books::Books;
use super::controller::{AT_ONCE, Accrual, AccrualError};
use super::picture::Policy;
use super::plan::Payable;
use super::sealed::AttemptId;
use crate::dispatch::{KeyError, OrderKey};
use crate::store::StoreError;
use crate::verification::{RecordError, stored_receipt};

type Keys = BTreeMap<Address, OrderKey>;

impl Accrual {
    /// Seals what of `batch` can be paid at a place, sequence and hash of the header before it; false when nothing can.
    pub(super) async fn seal(
        &self,
        (sequence, previous): (u64, B256),
        batch: &[Payable],
        books: &Books,
        now: Timestamp,
    ) -> Result<bool, AccrualError> {
        let leaves = self.leaves(batch, now).await?;
        let (chain_id, contract) = (self.place.chain_id, self.place.contract);
        let sealed = match books {
            _ if leaves.is_empty() => return Ok(false),
            Books::Ledger => seal(chain_id, contract, sequence, previous, leaves)?,
            Books::Root(before) => {
                let keys = self.keys_of(&leaves).await?;
                let leaves = self.signable(leaves, &keys, now).await;
                if leaves.is_empty() {
                    return Ok(false);
                }
                let sealed = seal_root(chain_id, contract, sequence, previous, before, leaves)?;
                self.store_vouchers(&sealed, &keys).await?;
                sealed
            }
        };
        self.create(sealed).await?;
        Ok(true)
    }

    /// A receipt that is missing or says something else holds back its own attempt only.
    async fn leaves(&self, batch: &[Payable], now: Timestamp) -> Result<Vec<Leaf>, AccrualError> {
        let reads: Vec<_> = batch.iter().map(|payable| self.leaf(payable)).collect();
        let read: Vec<_> = futures::stream::iter(reads).buffered(AT_ONCE).collect().await;
        let mut leaves = Vec::with_capacity(batch.len());
        for (payable, leaf) in batch.iter().zip(read) {
            let (shard, attempt) = (payable.id.shard, payable.id.attempt);
            match leaf {
                Ok(leaf) => leaves.push(leaf),
                Err(RecordError::Store(error @ StoreError::Unavailable { .. })) => return Err(error.into()),
                Err(error) => {
                    self.set_aside.lock().await.insert(payable.id, now);
                    tracing::error!(
                        job = payable.job_uid,
                        shard,
                        attempt,
                        error = &error as &dyn std::error::Error,
                        "an accepted attempt cannot be paid"
                    );
                }
            }
        }
        Ok(leaves)
    }

    /// What was stored at acceptance must say what the status says now.
    async fn leaf(&self, payable: &Payable) -> Result<Leaf, RecordError> {
        let (shard, attempt) = (payable.id.shard, payable.id.attempt);
        let stored = stored_receipt(&self.store, &payable.job_uid, shard, attempt)
            .await?
            .leaf(self.place.chain_id, self.place.contract)?;
        if stored == payable.leaf {
            Ok(stored)
        } else {
            Err(RecordError::Differs("leaf"))
        }
    }

    /// Documents first; the name of the Settlement is the fence.
    async fn create(&self, sealed: Sealed) -> Result<(), AccrualError> {
        let data_key = LeavesDocument::key(sealed.header.dataHash);
        let spec = SettlementSpec::from_sealed(self.place.chain_id, self.place.contract, &sealed, data_key)?;
        self.store.put(&spec.data_key, sealed.document).await?;
        let sequence = spec.sequence;
        let settlement = Settlement::new(&names::settlement(sequence), spec);
        match self.settlements.create(&PostParams::default(), &settlement).await {
            Ok(_) => {
                tracing::info!(sequence, leaves = sealed.header.count, "settlement sealed");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                tracing::info!(sequence, "another sealer was first");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    // Root mode

    /// The key of every payer that can sign now.
    async fn keys_of(&self, leaves: &[Leaf]) -> Result<Keys, AccrualError> {
        let payers: BTreeSet<Address> = leaves.iter().map(|leaf| leaf.payer).collect();
        let policies = self.picture.policies();
        let mut keys = Keys::new();
        for payer in payers {
            let Some(policy) = policies.iter().find(|policy| signs_for(policy, payer)) else {
                tracing::error!(%payer, "no SpendPolicy names the key that this payer authorised on chain");
                continue;
            };
            let client = self.settlements.clone().into_client();
            match OrderKey::load(client, &self.namespace, &policy.order_signing_key).await {
                Ok(key) => drop(keys.insert(payer, key)),
                Err(error @ KeyError::Unavailable(..)) => return Err(error.into()),
                Err(error) => tracing::error!(%payer, policy = policy.name, %error, "a payer cannot sign what it owes"),
            }
        }
        Ok(keys)
    }

    /// Without a signature nothing could be collected for a leaf: it waits.
    async fn signable(&self, leaves: Vec<Leaf>, keys: &Keys, now: Timestamp) -> Vec<Leaf> {
        let (signable, others): (Vec<Leaf>, Vec<Leaf>) =
            leaves.into_iter().partition(|leaf| keys.contains_key(&leaf.payer));
        let waiting = others.iter().map(|leaf| (AttemptId::of(leaf), now));
        self.set_aside.lock().await.extend(waiting);
        signable
    }

    async fn store_vouchers(&self, sealed: &Sealed, keys: &Keys) -> Result<(), AccrualError> {
        let (place, sequence) = (&self.place, sealed.header.sequence);
        let mut stored = StoredVouchers::new(place.chain_id, place.contract, sequence);
        let spent = sealed.totals.iter().flat_map(|totals| &totals.spent);
        for (payer, cumulative) in spent {
            let Some(key) = keys.get(payer) else { continue };
            let voucher = Voucher {
                payer: *payer,
                sequence,
                cumulative: *cumulative,
            };
            stored.push(&voucher, &key.sign_voucher(place, &voucher)?)?;
        }
        let bytes = serde_json::to_vec(&stored).map_err(spillway_core::batch::DocumentError::from)?;
        let key = StoredVouchers::key(&sealed.header_hash.to_string());
        Ok(self.store.put(&key, bytes).await?)
    }
}

/// By the key that the contract knows of the payer.
fn signs_for(policy: &Policy, payer: Address) -> bool {
    let authorised = policy.chain.as_ref().map(|chain| chain.order_key.as_str());
    let names = policy.order_signing_key.address.parse::<Address>().ok();
    policy.payer == payer && names.is_some() && authorised.and_then(|key| key.parse().ok()) == names
}
