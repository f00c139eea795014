//! The leaves document: the batch in canonical JSON (keys in the order below, no white space, hashes and addresses
//! in lower-case hex, amounts as decimal strings). Its keccak256 is the header's `dataHash`.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::Leaf;

const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeavesDocument {
    pub version: u32,
    pub chain_id: u64,
    pub contract: String,
    pub sequence: u64,
    pub previous: B256,
    pub leaves: Vec<LeafRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeafRecord {
    pub job: B256,
    pub shard: u32,
    pub attempt: u16,
    pub kind: u8,
    pub payer: String,
    pub provider: String,
    /// Micro-USD.
    pub amount: String,
    pub order: B256,
    pub receipt: B256,
}

#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the leaves document is not the JSON that was sealed")]
    Json(#[from] serde_json::Error),
    #[error("version {0} of the leaves document is unknown: this reader knows {VERSION}")]
    Version(u32),
    #[error("leaf {index}: {field} is malformed")]
    Field { index: usize, field: &'static str },
}

impl LeavesDocument {
    /// `sorted` in the tree's order.
    pub fn new(chain_id: u64, contract: Address, sequence: u64, previous: B256, sorted: &[Leaf]) -> Self {
        let leaves = sorted.iter().map(LeafRecord::from).collect();
        Self {
            version: VERSION,
            chain_id,
            contract: lower(contract),
            sequence,
            previous,
            leaves,
        }
    }

    /// # Errors
    /// When the bytes are not a leaves document of a known version.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let document: Self = serde_json::from_slice(bytes)?;
        if document.version == VERSION {
            Ok(document)
        } else {
            Err(DocumentError::Version(document.version))
        }
    }

    /// # Errors
    /// Never in practice: strings and integers serialise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// # Errors
    /// When an address or an amount of a record is malformed.
    pub fn leaves(&self) -> Result<Vec<Leaf>, DocumentError> {
        self.leaves
            .iter()
            .enumerate()
            .map(|(index, record)| record.leaf(index))
            .collect()
    }
}

impl From<&Leaf> for LeafRecord {
    fn from(leaf: &Leaf) -> Self {
        Self {
            job: leaf.job,
            shard: leaf.shard,
            attempt: leaf.attempt,
            kind: leaf.kind,
            payer: lower(leaf.payer),
            provider: lower(leaf.provider),
            amount: leaf.amount.to_string(),
            order: leaf.order,
            receipt: leaf.receipt,
        }
    }
}

impl LeafRecord {
    fn leaf(&self, index: usize) -> Result<Leaf, DocumentError> {
        let malformed = |field| DocumentError::Field { index, field };
        Ok(Leaf {
            job: self.job,
            shard: self.shard,
            attempt: self.attempt,
            kind: self.kind,
            payer: self.payer.parse().map_err(|_| malformed("payer"))?,
            provider: self.provider.parse().map_err(|_| malformed("provider"))?,
            amount: self.amount.parse().map_err(|_| malformed("amount"))?,
            order: self.order,
            receipt: self.receipt,
        })
    }
}

/// Addresses print with a checksum in mixed case; the document has one form only.
fn lower(address: Address) -> String {
    format!("0x{}", hex::encode(address))
}
