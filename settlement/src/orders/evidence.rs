//! The signed order behind a line, from the hub's store.

use std::collections::HashMap;

use alloy::primitives::B256;
use spillway_core::batch::Leaf;
use spillway_core::knowledge::Knowledge;
use spillway_core::order::{Order, job_id};
use spillway_core::reconcile::Document;
use spillway_crds::{SettlementSpec, StoredReceipt};

use crate::chain::Place;
use crate::reconcile::Documents;

/// An order and what its payer's key signed it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownOrder {
    pub order: Order,
    pub signature: Vec<u8>,
}

/// Reads the store. Lines name jobs by the hash of their uid; the uids are the folders of receipts.
#[derive(Debug)]
pub struct Evidence {
    documents: Documents,
    uids: HashMap<B256, String>,
}

impl Evidence {
    pub fn new(documents: Documents) -> Self {
        Self {
            documents,
            uids: HashMap::new(),
        }
    }

    /// All lines of a batch, in the tree's order; none when the document is not there or not what was sealed: the
    /// reconciler tells of that.
    pub async fn leaves(&self, batch: &SettlementSpec) -> Knowledge<Vec<Leaf>> {
        let Ok(data_hash) = batch.data_hash.parse() else {
            return Knowledge::Known(vec![]);
        };
        let document = self.documents.read(&batch.data_key, data_hash).await;
        document.map(|document| match document {
            Document::Leaves(contents) => contents.leaves,
            _ => vec![],
        })
    }

    /// The order that a line names; `None` when the store has none that hashes to it.
    pub async fn order(&mut self, place: &Place, leaf: &Leaf) -> Knowledge<Option<ShownOrder>> {
        let uid = match self.uid(leaf.job).await {
            Knowledge::Known(Some(uid)) => uid,
            Knowledge::Known(None) => return Knowledge::Known(None),
            Knowledge::Unknown => return Knowledge::Unknown,
        };
        let key = StoredReceipt::key(&uid, leaf.shard, leaf.attempt);
        let stored = self.documents.bytes(&key, StoredReceipt::SIZE_MAX).await;
        stored.map(|bytes| bytes.and_then(|bytes| shown(&bytes, place, leaf)))
    }

    async fn uid(&mut self, job: B256) -> Knowledge<Option<String>> {
        if !self.uids.contains_key(&job) {
            let Knowledge::Known(folders) = self.documents.folders(StoredReceipt::PREFIX).await else {
                return Knowledge::Unknown;
            };
            self.uids = folders.into_iter().map(|uid| (job_id(&uid), uid)).collect();
        }
        Knowledge::Known(self.uids.get(&job).cloned())
    }
}

/// Only what the line names is shown: another order would be refused.
fn shown(bytes: &[u8], place: &Place, leaf: &Leaf) -> Option<ShownOrder> {
    let stored: StoredReceipt = serde_json::from_slice(bytes).ok()?;
    let paid = stored.leaf(place.chain_id, place.contract).ok()?;
    let order = stored
        .order
        .order(&stored.job_uid, stored.shard, stored.attempt, stored.kind)
        .ok()?;
    let signature = stored.order.signature_bytes().ok()?;
    (paid.order == leaf.order).then_some(ShownOrder { order, signature })
}
