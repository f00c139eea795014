//! A batch of paid attempts: leaves, header, ledger entries and the leaves document, sealed from a set of leaves.
//!
//! The order in which leaves arrive changes nothing: the same set seals to the same bytes.

mod document;
mod ledger;
pub mod select;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::HashSet;

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue};

use crate::merkle;

pub use document::{AccountRecord, Contents, DocumentError, LeafRecord, LeavesDocument};
pub use ledger::{entries, entry_parts, ledger_hash};
pub use totals::Totals;

alloy_sol_types::sol! {
    /// One paid attempt. `amount` is micro-USD; `order` and `receipt` are EIP-712 struct hashes.
    #[derive(Debug, PartialEq, Eq)]
    struct Leaf {
        bytes32 job;
        uint32 shard;
        uint16 attempt;
        uint8 kind;
        address payer;
        address provider;
        uint128 amount;
        bytes32 order;
        bytes32 receipt;
    }

    /// One batch. `previous` is the hash of the header before it, zero for sequence 1. In ledger mode `cumulative`,
    /// `payRoot` and `spendRoot` are zero; in root mode `ledgerHash` is zero, `cumulative` the sum of all totals up to this
    /// one, and the two roots are [`crate::sum_tree`]s of it: provider => earned in all, payer => spent in all.
    #[derive(Debug, PartialEq, Eq)]
    struct Header {
        uint64 sequence;
        uint32 count;
        uint128 total;
        uint128 cumulative;
        bytes32 previous;
        bytes32 jobsRoot;
        bytes32 payRoot;
        bytes32 spendRoot;
        bytes32 ledgerHash;
        bytes32 dataHash;
    }

    /// Root mode: what a payer owes in all up to the batch at `sequence`, micro-USD, signed with its order key.
    #[derive(Debug, PartialEq, Eq)]
    struct Voucher {
        address payer;
        uint64 sequence;
        uint128 cumulative;
    }
}

impl Leaf {
    /// Hashed twice, so that no inner node of the tree can pass for a leaf.
    pub fn hash(&self) -> B256 {
        keccak256(self.eip712_hash_struct())
    }

    pub(crate) fn sort_key(&self) -> (Address, B256, u32, u8, u16) {
        (self.provider, self.job, self.shard, self.kind, self.attempt)
    }
}

impl Voucher {
    /// EIP-712 `hashStruct`, without the domain.
    pub fn hash(&self) -> B256 {
        self.eip712_hash_struct()
    }

    /// What the payer's order key signs; `domain` is [`crate::order::domain`].
    pub fn signing_hash(&self, domain: &Eip712Domain) -> B256 {
        self.eip712_signing_hash(domain)
    }
}

/// Place of a leaf in `jobsRoot`, the first word of its proof: index << 128 | sum << 64 | running. Up to the leaf and with
/// it, `sum` is what all leaves of the batch come to, `running` what those of its provider do, micro-USD. Two neighbours
/// so show every sum that breaks.
pub fn position(index: u32, sum: u64, running: u64) -> B256 {
    let mut word = B256::ZERO;
    word[12..16].copy_from_slice(&index.to_be_bytes());
    word[16..24].copy_from_slice(&sum.to_be_bytes());
    word[24..].copy_from_slice(&running.to_be_bytes());
    word
}

/// Root over leaves in the tree's order; `None` without leaves, or when the total does not fit 64 bits.
pub fn jobs_root(sorted: &[Leaf]) -> Option<B256> {
    let nodes: Vec<B256> = placed(sorted)?.into_iter().map(|(_, node)| node).collect();
    merkle::root(&nodes)
}

/// Proof of every leaf under [`jobs_root`], in the leaves' order: its position, then the siblings from it up.
pub fn jobs_proofs(sorted: &[Leaf]) -> Option<Vec<Vec<B256>>> {
    let (positions, nodes): (Vec<B256>, Vec<B256>) = placed(sorted)?.into_iter().unzip();
    let siblings = merkle::proofs(&nodes);
    let proof = |(position, above): (B256, Vec<B256>)| std::iter::once(position).chain(above).collect();
    Some(positions.into_iter().zip(siblings).map(proof).collect())
}

/// Position and tree node of every leaf.
fn placed(sorted: &[Leaf]) -> Option<Vec<(B256, B256)>> {
    let (mut sum, mut running) = (0u64, (Address::ZERO, 0u64));
    let mut nodes = Vec::with_capacity(sorted.len());
    for (index, leaf) in (0u32..).zip(sorted) {
        let before = if running.0 == leaf.provider { running.1 } else { 0 };
        let amount = u64::try_from(leaf.amount).ok()?;
        sum = sum.checked_add(amount)?;
        running = (leaf.provider, before.checked_add(amount)?);
        let position = position(index, sum, running.1);
        nodes.push((position, merkle::parent(leaf.hash(), position)));
    }
    Some(nodes)
}

impl Header {
    /// keccak256(abi.encode(typehash, chain id, contract, fields)): the identity of a batch.
    pub fn hash(&self, chain_id: u64, contract: Address) -> B256 {
        let place = (
            self.eip712_type_hash(),
            alloy_primitives::U256::from(chain_id),
            contract,
        )
            .abi_encode();
        keccak256([place, self.abi_encode()].concat())
    }
}

/// A sealed batch: everything that a Settlement and the contract need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub header: Header,
    pub header_hash: B256,
    /// In the tree's order.
    pub leaves: Vec<Leaf>,
    /// The leaves document, as stored under `settlements/<dataHash>.json`.
    pub document: Vec<u8>,
    /// Packed `address | uint96`, ascending; root mode does not post them.
    pub debits: Vec<B256>,
    pub credits: Vec<B256>,
    /// Root mode: with this batch.
    pub totals: Option<Totals>,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("a batch needs at least one leaf")]
    Empty,
    #[error("a batch has at most {most} leaves, got {0}", most = u32::MAX)]
    TooManyLeaves(usize),
    #[error("sequences start at 1")]
    SequenceZero,
    #[error("sequence 1 has no header before it: previous must be zero, and of no other sequence")]
    Previous,
    #[error("job {job} shard {shard}: kind {kind} is paid twice")]
    PaidTwice { job: B256, shard: u32, kind: u8 },
    #[error("job {job} shard {shard} attempt {attempt}: {role} is the zero address")]
    ZeroAddress {
        job: B256,
        shard: u32,
        attempt: u16,
        role: &'static str,
    },
    #[error("job {job} shard {shard} attempt {attempt}: no kind has code {kind}")]
    UnknownKind {
        job: B256,
        shard: u32,
        attempt: u16,
        kind: u8,
    },
    #[error("the sum of {account} exceeds 2^96 - 1 micro-USD")]
    SumTooLarge { account: Address },
    #[error("the total exceeds 2^64 - 1 micro-USD")]
    TotalTooLarge,
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Seals a set of leaves into the batch at `sequence`, in ledger mode; `previous` is the hash of the header before.
///
/// # Errors
/// When a leaf is invalid or paid twice, a sum is too large, or sequence and previous contradict each other.
pub fn seal(
    chain_id: u64,
    contract: Address,
    sequence: u64,
    previous: B256,
    leaves: Vec<Leaf>,
) -> Result<Sealed, SealError> {
    Draft::new(chain_id, contract, sequence, previous, leaves)?.seal(None)
}

/// The same in root mode; `before` is what the batches before this one come to.
///
/// # Errors
/// As [`seal`], and when all batches together exceed 2^64 - 1 micro-USD.
pub fn seal_root(
    chain_id: u64,
    contract: Address,
    sequence: u64,
    previous: B256,
    before: &Totals,
    leaves: Vec<Leaf>,
) -> Result<Sealed, SealError> {
    let draft = Draft::new(chain_id, contract, sequence, previous, leaves)?;
    let totals = before.with(&draft.leaves)?;
    draft.seal(Some(totals))
}

/// Leaves that were checked and sorted, and their place.
struct Draft {
    chain_id: u64,
    contract: Address,
    sequence: u64,
    previous: B256,
    count: u32,
    leaves: Vec<Leaf>,
}

impl Draft {
    fn new(
        chain_id: u64,
        contract: Address,
        sequence: u64,
        previous: B256,
        mut leaves: Vec<Leaf>,
    ) -> Result<Self, SealError> {
        check_place(sequence, previous)?;
        let count = check_leaves(&leaves)?;
        leaves.sort_unstable_by_key(Leaf::sort_key);
        Ok(Self {
            chain_id,
            contract,
            sequence,
            previous,
            count,
            leaves,
        })
    }

    fn seal(self, totals: Option<Totals>) -> Result<Sealed, SealError> {
        let (debits, credits) = ledger::entries(&self.leaves)?;
        let document = self.document(totals.as_ref()).to_bytes()?;
        let header = Header {
            sequence: self.sequence,
            count: self.count,
            total: total(&self.leaves)?,
            previous: self.previous,
            jobsRoot: jobs_root(&self.leaves).ok_or(SealError::TotalTooLarge)?,
            dataHash: keccak256(&document),
            ..summary(totals.as_ref(), &debits, &credits)?
        };
        Ok(Sealed {
            header_hash: header.hash(self.chain_id, self.contract),
            header,
            leaves: self.leaves,
            document,
            debits,
            credits,
            totals,
        })
    }

    fn document(&self, totals: Option<&Totals>) -> LeavesDocument {
        let document = LeavesDocument::new(self.chain_id, self.contract, self.sequence, self.previous, &self.leaves);
        match totals {
            Some(totals) => document.with_totals(totals),
            None => document,
        }
    }
}

/// A header with nothing but what the mode says of accounts.
fn summary(totals: Option<&Totals>, debits: &[B256], credits: &[B256]) -> Result<Header, SealError> {
    let (cumulative, pay_root, spend_root) = match totals {
        Some(totals) => (
            totals.cumulative()?,
            totals.pay_tree().ok_or(SealError::Empty)?.root(),
            totals.spend_tree().ok_or(SealError::Empty)?.root(),
        ),
        None => (0, B256::ZERO, B256::ZERO),
    };
    Ok(Header {
        sequence: 0,
        count: 0,
        total: 0,
        cumulative,
        previous: B256::ZERO,
        jobsRoot: B256::ZERO,
        payRoot: pay_root,
        spendRoot: spend_root,
        ledgerHash: if totals.is_some() {
            B256::ZERO
        } else {
            ledger_hash(debits, credits)
        },
        dataHash: B256::ZERO,
    })
}

fn check_place(sequence: u64, previous: B256) -> Result<(), SealError> {
    match (sequence, previous.is_zero()) {
        (0, _) => Err(SealError::SequenceZero),
        (1, false) | (2.., true) => Err(SealError::Previous),
        _ => Ok(()),
    }
}

fn check_leaves(leaves: &[Leaf]) -> Result<u32, SealError> {
    let mut paid = HashSet::new();
    for leaf in leaves {
        check_leaf(leaf)?;
        // Covers the same attempt twice as well.
        if !paid.insert((leaf.job, leaf.shard, leaf.kind)) {
            return Err(SealError::PaidTwice {
                job: leaf.job,
                shard: leaf.shard,
                kind: leaf.kind,
            });
        }
    }
    match u32::try_from(leaves.len()) {
        Ok(0) => Err(SealError::Empty),
        Ok(count) => Ok(count),
        Err(_) => Err(SealError::TooManyLeaves(leaves.len())),
    }
}

fn check_leaf(leaf: &Leaf) -> Result<(), SealError> {
    let Leaf {
        job,
        shard,
        attempt,
        kind,
        payer,
        provider,
        ..
    } = *leaf;
    if payer.is_zero() {
        return Err(SealError::ZeroAddress {
            job,
            shard,
            attempt,
            role: "payer",
        });
    }
    if provider.is_zero() {
        return Err(SealError::ZeroAddress {
            job,
            shard,
            attempt,
            role: "provider",
        });
    }
    match crate::order::Kind::from_code(kind) {
        Some(_) => Ok(()),
        None => Err(SealError::UnknownKind {
            job,
            shard,
            attempt,
            kind,
        }),
    }
}

/// The contract holds amounts in 64 bits: a larger total could never be posted.
fn total(leaves: &[Leaf]) -> Result<u128, SealError> {
    let sum = leaves.iter().try_fold(0u128, |sum, leaf| sum.checked_add(leaf.amount));
    sum.filter(|sum| *sum <= u128::from(u64::MAX))
        .ok_or(SealError::TotalTooLarge)
}
