//! The signed order behind a line, from the hub's store.

use std::collections::HashMap;

use alloy::primitives::B256;
use spillway_core::batch::Leaf;
use spillway_core::knowledge::Knowledge;
use spillway_core::order::{Order, job_id};
use spillway_core::reconcile::Document;
use spillway_crds::StoredReceipt;

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

    /// All lines of a batch, in the tree's order; `None` when the document is not there or not what was sealed.
    pub async fn leaves(&self, data_key: &str, data_hash: B256) -> Knowledge<Option<Vec<Leaf>>> {
        match self.documents.read(data_key, data_hash).await {
            Knowledge::Unknown => Knowledge::Unknown,
            Knowledge::Known(Document::Leaves(leaves)) => Knowledge::Known(Some(leaves)),
            Knowledge::Known(_) => Knowledge::Known(None),
        }
    }

    /// The order that a line names; `None` when the store has none that hashes to it.
    pub async fn order(&mut self, place: &Place, leaf: &Leaf) -> Knowledge<Option<ShownOrder>> {
        let uid = match self.uid(leaf.job).await {
            Knowledge::Known(Some(uid)) => uid,
            Knowledge::Known(None) => return Knowledge::Known(None),
            Knowledge::Unknown => return Knowledge::Unknown,
        };
        let key = StoredReceipt::key(&uid, leaf.shard, leaf.attempt);
        match self.documents.bytes(&key, StoredReceipt::SIZE_MAX).await {
            Knowledge::Unknown => Knowledge::Unknown,
            Knowledge::Known(bytes) => Knowledge::Known(bytes.and_then(|bytes| shown(&bytes, place, leaf))),
        }
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
