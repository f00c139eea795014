//! The signed order behind a line, from the hub's store.

use std::collections::{BTreeSet, HashMap};

use alloy::primitives::B256;
use futures::future::join_all;
use spillway_core::batch::{Contents, Leaf};
use spillway_core::knowledge::Knowledge;
use spillway_core::order::{Order, job_id};
use spillway_core::reconcile::Document;
use spillway_crds::{SettlementSpec, StoredReceipt};

use crate::chain::Place;
use crate::reconcile::Documents;

/// Orders read at the same time.
const AT_ONCE: usize = 16;

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
        self.contents(batch).await.map(|contents| contents.leaves)
    }

    /// The lines, and in root mode what every account has in all.
    pub async fn contents(&self, batch: &SettlementSpec) -> Knowledge<Contents> {
        let Ok(data_hash) = batch.data_hash.parse() else {
            return Knowledge::Known(Contents::default());
        };
        let document = self.documents.read(&batch.data_key, data_hash).await;
        document.map(|document| match document {
            Document::Leaves(contents) => contents,
            _ => Contents::default(),
        })
    }

    /// The order that a line names; `None` when the store has none that hashes to it.
    pub async fn order(&mut self, place: &Place, leaf: &Leaf) -> Knowledge<Option<ShownOrder>> {
        let uid = self.uid(leaf.job).await;
        let found = stored(&self.documents, place, leaf, uid.as_ref().map(Option::as_deref)).await;
        // Only what the line names is shown: another order would be refused.
        found.map(|found| found.filter(|its| its.order.hash() == leaf.order))
    }

    /// The orders that lie where those of these lines belong, whatever the lines name; in the lines' order.
    pub async fn stored(&mut self, place: &Place, leaves: &[&Leaf]) -> Vec<Knowledge<Option<ShownOrder>>> {
        let jobs: BTreeSet<B256> = leaves.iter().map(|leaf| leaf.job).collect();
        let mut uids = HashMap::new();
        for job in jobs {
            uids.insert(job, self.uid(job).await);
        }
        let documents = &self.documents;
        let mut found = Vec::with_capacity(leaves.len());
        for some in leaves.chunks(AT_ONCE) {
            let read = some.iter().map(|leaf| {
                let uid = uids.get(&leaf.job).map_or(Knowledge::Unknown, Knowledge::as_ref);
                stored(documents, place, leaf, uid.map(Option::as_deref))
            });
            found.extend(join_all(read).await);
        }
        found
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

async fn stored(
    documents: &Documents,
    place: &Place,
    leaf: &Leaf,
    uid: Knowledge<Option<&str>>,
) -> Knowledge<Option<ShownOrder>> {
    let uid = match uid {
        Knowledge::Known(Some(uid)) => uid,
        Knowledge::Known(None) => return Knowledge::Known(None),
        Knowledge::Unknown => return Knowledge::Unknown,
    };
    let key = StoredReceipt::key(uid, leaf.shard, leaf.attempt);
    let bytes = documents.bytes(&key, StoredReceipt::SIZE_MAX).await;
    bytes.map(|bytes| bytes.and_then(|bytes| parse(&bytes, place)))
}

fn parse(bytes: &[u8], place: &Place) -> Option<ShownOrder> {
    let stored: StoredReceipt = serde_json::from_slice(bytes).ok()?;
    // Refuses what is of another chain or contract.
    stored.leaf(place.chain_id, place.contract).ok()?;
    let order = stored
        .order
        .order(&stored.job_uid, stored.shard, stored.attempt, stored.kind)
        .ok()?;
    let signature = stored.order.signature_bytes().ok()?;
    Some(ShownOrder { order, signature })
}
