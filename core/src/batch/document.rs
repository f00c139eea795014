//! The leaves document: the batch in canonical JSON (keys in the order below, no white space, hashes and addresses
//! in lower-case hex, amounts as decimal strings). Its keccak256 is the header's `dataHash`. In root mode it also tells what
//! every account has earned and spent in all, so that one document proves any claim.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{Leaf, Totals};

const LEDGER_VERSION: u32 = 1;
/// With totals.
const ROOT_VERSION: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeavesDocument {
    pub version: u32,
    pub chain_id: u64,
    pub contract: String,
    pub sequence: u64,
    pub previous: B256,
    pub leaves: Vec<LeafRecord>,
    /// Root mode: by payout address, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earned: Vec<AccountRecord>,
    /// Root mode: by payer, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<AccountRecord>,
}

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// In the tree's order.
    pub leaves: Vec<Leaf>,
    /// Root mode: with this batch.
    pub totals: Option<Totals>,
}

/// What an account has earned or spent since the first batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountRecord {
    pub account: String,
    /// Micro-USD.
    pub cumulative: String,
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
    #[error("version {0} of the leaves document is unknown: this reader knows {LEDGER_VERSION} and {ROOT_VERSION}")]
    Version(u32),
    #[error("leaf {index}: {field} is malformed")]
    Field { index: usize, field: &'static str },
    #[error("the {0} accounts are malformed, or not ascending")]
    Accounts(&'static str),
}

impl LeavesDocument {
    /// Its key in the hub's store.
    pub fn key(data_hash: B256) -> String {
        format!("settlements/{data_hash}.json")
    }

    /// `sorted` in the tree's order.
    pub fn new(chain_id: u64, contract: Address, sequence: u64, previous: B256, sorted: &[Leaf]) -> Self {
        let leaves = sorted.iter().map(LeafRecord::from).collect();
        Self {
            version: LEDGER_VERSION,
            chain_id,
            contract: lower(contract),
            sequence,
            previous,
            leaves,
            earned: Vec::new(),
            spent: Vec::new(),
        }
    }

    /// In root mode.
    #[must_use]
    pub fn with_totals(self, totals: &Totals) -> Self {
        Self {
            version: ROOT_VERSION,
            earned: records(&totals.earned),
            spent: records(&totals.spent),
            ..self
        }
    }

    /// # Errors
    /// When the bytes are not a leaves document of a known version.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let document: Self = serde_json::from_slice(bytes)?;
        match document.version {
            LEDGER_VERSION if document.earned.is_empty() && document.spent.is_empty() => Ok(document),
            LEDGER_VERSION => Err(DocumentError::Accounts("earned and spent")),
            ROOT_VERSION => Ok(document),
            other => Err(DocumentError::Version(other)),
        }
    }

    /// # Errors
    /// Never in practice: strings and integers serialise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// # Errors
    /// As [`LeavesDocument::leaves`] and [`LeavesDocument::totals`].
    pub fn contents(&self) -> Result<Contents, DocumentError> {
        Ok(Contents {
            leaves: self.leaves()?,
            totals: self.totals()?,
        })
    }

    /// `None` in ledger mode.
    ///
    /// # Errors
    /// When an account is malformed, there twice, or out of order.
    pub fn totals(&self) -> Result<Option<Totals>, DocumentError> {
        if self.version == LEDGER_VERSION {
            return Ok(None);
        }
        Ok(Some(Totals {
            earned: sums(&self.earned).ok_or(DocumentError::Accounts("earned"))?,
            spent: sums(&self.spent).ok_or(DocumentError::Accounts("spent"))?,
        }))
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

fn records(sums: &BTreeMap<Address, u128>) -> Vec<AccountRecord> {
    let record = |(account, cumulative): (&Address, &u128)| AccountRecord {
        account: lower(*account),
        cumulative: cumulative.to_string(),
    };
    sums.iter().map(record).collect()
}

fn sums(records: &[AccountRecord]) -> Option<BTreeMap<Address, u128>> {
    let parts = |record: &AccountRecord| Some((record.account.parse().ok()?, record.cumulative.parse().ok()?));
    let parts: Vec<(Address, u128)> = records.iter().map(parts).collect::<Option<_>>()?;
    let ascends = parts.is_sorted_by(|one, next| one.0 < next.0);
    ascends.then(|| parts.into_iter().collect())
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
