//! Three ledgers held against each other: what the chain booked, what the hub sealed, what was accepted.
//!
//! A pure function of what was read. Read the chain first, then Settlements, then jobs, then leaves documents: each
//! rule below holds for that order whatever happens meanwhile, so a history without faults never shows a drift.
//! What could not be asked is listed as unknown and judged nowhere.

mod drift;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use serde::Serialize;

use crate::batch::{Contents, Leaf, Totals, jobs_root};
use crate::knowledge::Knowledge;

pub use drift::{Drift, Meaning};

/// One batch as the contract's event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedBatch {
    pub header_hash: B256,
    pub jobs_root: B256,
    pub data_hash: B256,
    pub total: u128,
    pub count: u32,
    pub transaction: Option<B256>,
}

/// The contract's books at one block, from its events since it was deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainLedger {
    pub block_number: u64,
    pub posted: BTreeMap<u64, PostedBatch>,
    /// Tokens that the contract holds, and what its events say that it must hold.
    pub held: Knowledge<Held>,
}

/// Micro-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub balance: u128,
    pub deposited: u128,
    /// By payers who left, and to providers and fee takers who claimed.
    pub paid_out: u128,
}

/// One Settlement object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    pub sequence: u64,
    pub header_hash: B256,
    pub previous: B256,
    pub jobs_root: B256,
    pub data_hash: B256,
    pub total: u128,
    pub count: u32,
    /// Root mode only.
    pub roots: Option<Roots>,
    /// What its status says of the chain.
    pub claims: Claim,
    /// Block that carries it, by its status.
    pub block_number: Option<u64>,
    /// Every attempt that it pays carries its mark.
    pub recorded: bool,
    /// Its leaves document was deleted after its retention.
    pub leaves_deleted: bool,
}

/// What a header of root mode says of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Micro-USD of all batches up to this one.
    pub cumulative: u128,
    pub pay: B256,
    pub spend: B256,
}

/// What a Settlement's status claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Not on chain yet, or in a block that a reorg may take.
    Open,
    Final,
    Failed,
}

/// An accepted attempt, from its job's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedReceipt {
    /// `namespace/name` of the job.
    pub job: String,
    pub leaf: Leaf,
    /// Unix seconds of its end.
    pub since: u64,
    /// Sequence of the Settlement that pays it.
    pub settlement: Option<u64>,
    /// The Merkle proof beside the mark leads to this root.
    pub root: Option<B256>,
}

/// A leaves document as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Not in the store.
    Missing,
    /// There, with another hash than the header names, or unreadable.
    Altered,
    Leaves(Contents),
}

/// Everything that was read, in this order.
#[derive(Clone, Debug, Default)]
pub struct Ledgers {
    pub chain: Knowledge<ChainLedger>,
    pub settlements: Knowledge<Vec<SealedBatch>>,
    pub receipts: Knowledge<Vec<AcceptedReceipt>>,
    /// Ids of the jobs that exist: a leaf of a job that is gone cannot be compared.
    pub jobs: BTreeSet<B256>,
    /// By sequence; one that is not here was not asked for.
    pub documents: BTreeMap<u64, Knowledge<Document>>,
    /// Payers whose attempts wait for them, and that is said on their SpendPolicies.
    pub held_payers: BTreeSet<Address>,
    /// Unix seconds.
    pub now: u64,
}

/// When a receipt that is in no batch is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub unsealed_seconds: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            unsealed_seconds: 3_600,
        }
    }
}

/// What the comparison found; an empty `drifts` with an empty `unknown` is a clean audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub compared: Compared,
    pub drifts: Vec<Drift>,
    /// What could not be asked, in words.
    pub unknown: Vec<String>,
}

/// How much was held against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    pub posted: usize,
    pub settlements: usize,
    pub receipts: usize,
    pub documents: usize,
}

/// Compares the three ledgers.
pub fn reconcile(ledgers: &Ledgers, patience: &Patience) -> Report {
    let mut report = Report {
        compared: compared(ledgers),
        drifts: Vec::new(),
        unknown: unknown(ledgers),
    };
    if let (Knowledge::Known(chain), Knowledge::Known(settlements)) = (&ledgers.chain, &ledgers.settlements) {
        against_chain(chain, settlements, &mut report.drifts);
    }
    if let Knowledge::Known(chain) = &ledgers.chain {
        report.drifts.extend(holdings(chain));
    }
    if let Knowledge::Known(settlements) = &ledgers.settlements {
        headers(settlements, &mut report.drifts);
        documents(settlements, ledgers, &mut report.drifts);
    }
    if let (Knowledge::Known(settlements), Knowledge::Known(receipts)) = (&ledgers.settlements, &ledgers.receipts) {
        self::receipts(settlements, receipts, ledgers, patience, &mut report.drifts);
    }
    paid_twice(ledgers, &mut report.drifts);
    report.drifts.sort();
    report.drifts.dedup();
    report
}

fn compared(ledgers: &Ledgers) -> Compared {
    let documents = ledgers.documents.values();
    Compared {
        posted: ledgers.chain.as_ref().known().map_or(0, |chain| chain.posted.len()),
        settlements: ledgers.settlements.as_ref().known().map_or(0, Vec::len),
        receipts: ledgers.receipts.as_ref().known().map_or(0, Vec::len),
        documents: documents.filter(|one| one.as_ref().known().is_some()).count(),
    }
}

fn unknown(ledgers: &Ledgers) -> Vec<String> {
    let mut unknown = Vec::new();
    match &ledgers.chain {
        Knowledge::Unknown => unknown.push("the chain could not be asked".to_owned()),
        Knowledge::Known(chain) if chain.held == Knowledge::Unknown => {
            unknown.push("what the contract holds could not be asked".to_owned());
        }
        Knowledge::Known(_) => {}
    }
    if ledgers.settlements == Knowledge::Unknown {
        unknown.push("the Settlements could not be read".to_owned());
    }
    if ledgers.receipts == Knowledge::Unknown {
        unknown.push("the jobs could not be read".to_owned());
    }
    let silent = ledgers.documents.iter().filter(|(_, one)| **one == Knowledge::Unknown);
    unknown
        .extend(silent.map(|(sequence, _)| format!("the leaves document of settlement {sequence} could not be read")));
    unknown
}

/// Every batch on chain has its object, and every object that says Final is on chain: objects were read later.
fn against_chain(chain: &ChainLedger, settlements: &[SealedBatch], drifts: &mut Vec<Drift>) {
    let objects: BTreeMap<u64, &SealedBatch> = settlements.iter().map(|one| (one.sequence, one)).collect();
    for (sequence, posted) in &chain.posted {
        let sequence = *sequence;
        match objects.get(&sequence) {
            None => drifts.push(Drift::NoObject {
                sequence,
                header_hash: posted.header_hash,
                total: posted.total,
            }),
            Some(object) if object.header_hash != posted.header_hash => drifts.push(Drift::HeaderDiffers {
                sequence,
                on_chain: posted.header_hash,
                sealed: object.header_hash,
            }),
            Some(object) => {
                if (object.total, object.count) != (posted.total, posted.count) {
                    drifts.push(Drift::AmountDiffers {
                        sequence,
                        ledger: "chain",
                        found: posted.total,
                        sealed: object.total,
                    });
                }
                if object.claims == Claim::Failed {
                    drifts.push(Drift::FailedButPosted { sequence });
                }
            }
        }
    }
    let absent = |object: &&SealedBatch| {
        // A block after the one that was read may carry it.
        let was_there = object.block_number.is_some_and(|block| block <= chain.block_number);
        object.claims == Claim::Final && was_there && !chain.posted.contains_key(&object.sequence)
    };
    drifts.extend(settlements.iter().filter(absent).map(|object| Drift::NotOnChain {
        sequence: object.sequence,
        total: object.total,
    }));
}

/// Whoever sends tokens to the contract gives them away; fewer than its books say is a fault.
fn holdings(chain: &ChainLedger) -> Option<Drift> {
    let held = chain.held.as_ref().known()?;
    let owed = held.deposited.saturating_sub(held.paid_out);
    (held.paid_out > held.deposited || held.balance < owed).then_some(Drift::MoneyMissing {
        balance: held.balance,
        owed,
    })
}

/// Sequences from 1 without gaps, each naming the hash of the one before.
fn headers(settlements: &[SealedBatch], drifts: &mut Vec<Drift>) {
    let objects: BTreeMap<u64, &SealedBatch> = settlements.iter().map(|one| (one.sequence, one)).collect();
    let Some(last) = objects.keys().next_back().copied() else {
        return;
    };
    let mut previous = B256::ZERO;
    for sequence in 1..=last {
        let Some(object) = objects.get(&sequence) else {
            drifts.push(Drift::ObjectMissing { sequence });
            // What follows is held against nothing.
            previous = objects.get(&(sequence + 1)).map_or(B256::ZERO, |next| next.previous);
            continue;
        };
        if object.previous != previous {
            drifts.push(Drift::ChainBroken {
                sequence,
                names: object.previous,
                before: previous,
            });
        }
        previous = object.header_hash;
    }
}

/// The document is there, is the one that was sealed, and adds up to its header.
fn documents(settlements: &[SealedBatch], ledgers: &Ledgers, drifts: &mut Vec<Drift>) {
    for object in settlements.iter().filter(|object| !object.leaves_deleted) {
        let sequence = object.sequence;
        let data_hash = object.data_hash;
        match ledgers.documents.get(&sequence) {
            None | Some(Knowledge::Unknown) => {}
            Some(Knowledge::Known(Document::Missing)) => drifts.push(Drift::DocumentMissing { sequence, data_hash }),
            Some(Knowledge::Known(Document::Altered)) => drifts.push(Drift::DocumentAltered { sequence, data_hash }),
            Some(Knowledge::Known(Document::Leaves(Contents { leaves, totals }))) => {
                let sum: u128 = leaves.iter().map(|leaf| leaf.amount).fold(0, u128::saturating_add);
                if sum != object.total || leaves.len() != object.count as usize {
                    drifts.push(Drift::AmountDiffers {
                        sequence,
                        ledger: "leaves document",
                        found: sum,
                        sealed: object.total,
                    });
                }
                if jobs_root(leaves) != Some(object.jobs_root) {
                    drifts.push(Drift::RootDiffers { sequence });
                }
                if !totals_follow(object, leaves, totals.as_ref(), before(ledgers, sequence)) {
                    drifts.push(Drift::TotalsDiffer { sequence });
                }
            }
        }
    }
}

/// What accounts had in all before `sequence`; unknown while the document before it is.
fn before(ledgers: &Ledgers, sequence: u64) -> Option<Totals> {
    if sequence == 1 {
        return Some(Totals::default());
    }
    match ledgers.documents.get(&(sequence - 1))? {
        Knowledge::Known(Document::Leaves(contents)) => contents.totals.clone(),
        _ => None,
    }
}

/// Root mode: the totals are what the header's roots stand for, and those of the batch before with this one's leaves.
fn totals_follow(object: &SealedBatch, leaves: &[Leaf], totals: Option<&Totals>, before: Option<Totals>) -> bool {
    let (roots, totals) = match (object.roots, totals) {
        (None, None) => return true,
        (Some(roots), Some(totals)) => (roots, totals),
        _ => return false,
    };
    let root = |tree: Option<crate::sum_tree::SumTree>| tree.map(|tree| tree.root());
    let is_told = root(totals.pay_tree()) == Some(roots.pay)
        && root(totals.spend_tree()) == Some(roots.spend)
        && totals.cumulative().ok() == Some(roots.cumulative);
    is_told && before.is_none_or(|before| before.with(leaves).is_ok_and(|with| with == *totals))
}

type Payment = (B256, u32, u8);

fn payment(leaf: &Leaf) -> Payment {
    (leaf.job, leaf.shard, leaf.kind)
}

/// Marks, leaves and statuses agree; jobs were read after the Settlements.
fn receipts(
    settlements: &[SealedBatch],
    receipts: &[AcceptedReceipt],
    ledgers: &Ledgers,
    patience: &Patience,
    drifts: &mut Vec<Drift>,
) {
    let objects: BTreeMap<u64, &SealedBatch> = settlements.iter().map(|one| (one.sequence, one)).collect();
    let newest = objects.keys().next_back().copied().unwrap_or_default();
    let leaves = leaves_by_attempt(ledgers);
    for receipt in receipts {
        let at = At::of(receipt);
        match receipt.settlement {
            // Sealed after the Settlements were read.
            Some(sequence) if sequence > newest => {}
            Some(sequence) => drifts.extend(marked(receipt, sequence, &objects, &leaves, ledgers)),
            None if leaves.contains_key(&receipt.leaf.hash()) => {
                let paid_by = leaves[&receipt.leaf.hash()];
                if objects.get(&paid_by).is_some_and(|object| object.recorded) {
                    drifts.push(at.unmarked(paid_by));
                }
            }
            None => {
                let waits = ledgers.now.saturating_sub(receipt.since);
                if waits > patience.unsealed_seconds && !ledgers.held_payers.contains(&receipt.leaf.payer) {
                    drifts.push(at.unsealed(waits));
                }
            }
        }
    }
    let accepted: BTreeMap<Payment, Vec<B256>> = receipts.iter().fold(BTreeMap::new(), |mut all, receipt| {
        all.entry(payment(&receipt.leaf)).or_default().push(receipt.leaf.hash());
        all
    });
    for (sequence, leaf) in all_leaves(ledgers) {
        // Settlements that are not recorded may be older than the jobs that were read: acceptance came first all the same.
        let is_ours = ledgers.jobs.contains(&leaf.job) && sequence <= newest;
        let known = accepted.get(&payment(leaf));
        if is_ours && !known.is_some_and(|hashes| hashes.contains(&leaf.hash())) {
            drifts.push(Drift::LeafNotAccepted {
                sequence,
                job: leaf.job,
                shard: leaf.shard,
                attempt: leaf.attempt,
                amount: leaf.amount,
            });
        }
    }
}

fn marked(
    receipt: &AcceptedReceipt,
    sequence: u64,
    objects: &BTreeMap<u64, &SealedBatch>,
    leaves: &BTreeMap<B256, u64>,
    ledgers: &Ledgers,
) -> Option<Drift> {
    let at = At::of(receipt);
    // A gap is told once, as such.
    let object = objects.get(&sequence)?;
    if receipt.root.is_some_and(|root| root != object.jobs_root) {
        return Some(at.not_in_batch(sequence));
    }
    let is_known = matches!(
        ledgers.documents.get(&sequence),
        Some(Knowledge::Known(Document::Leaves(_)))
    );
    if is_known && leaves.get(&receipt.leaf.hash()) != Some(&sequence) {
        return Some(at.not_in_batch(sequence));
    }
    None
}

/// One job's attempt in the words of a drift.
struct At<'a>(&'a AcceptedReceipt);

impl<'a> At<'a> {
    fn of(receipt: &'a AcceptedReceipt) -> Self {
        Self(receipt)
    }

    fn unmarked(&self, sequence: u64) -> Drift {
        Drift::Unmarked {
            sequence,
            job: self.0.job.clone(),
            shard: self.0.leaf.shard,
            attempt: self.0.leaf.attempt,
        }
    }

    fn unsealed(&self, seconds: u64) -> Drift {
        Drift::Unsealed {
            job: self.0.job.clone(),
            shard: self.0.leaf.shard,
            attempt: self.0.leaf.attempt,
            amount: self.0.leaf.amount,
            seconds,
        }
    }

    fn not_in_batch(&self, sequence: u64) -> Drift {
        Drift::NotInBatch {
            sequence,
            job: self.0.job.clone(),
            shard: self.0.leaf.shard,
            attempt: self.0.leaf.attempt,
            amount: self.0.leaf.amount,
        }
    }
}

fn all_leaves(ledgers: &Ledgers) -> impl Iterator<Item = (u64, &Leaf)> {
    ledgers.documents.iter().flat_map(|(sequence, document)| {
        let leaves = match document {
            Knowledge::Known(Document::Leaves(contents)) => contents.leaves.as_slice(),
            _ => &[],
        };
        leaves.iter().map(|leaf| (*sequence, leaf))
    })
}

/// The first sequence that pays each leaf.
fn leaves_by_attempt(ledgers: &Ledgers) -> BTreeMap<B256, u64> {
    let mut found = BTreeMap::new();
    for (sequence, leaf) in all_leaves(ledgers) {
        found.entry(leaf.hash()).or_insert(sequence);
    }
    found
}

/// Once per (job, shard, kind) over all leaves documents, and over all marks of statuses.
fn paid_twice(ledgers: &Ledgers, drifts: &mut Vec<Drift>) {
    let marks = ledgers.receipts.as_ref().known().into_iter().flatten();
    let marks = marks.filter_map(|receipt| Some((receipt.settlement?, &receipt.leaf)));
    let mut paid = BTreeMap::<Payment, BTreeSet<(u64, u16)>>::new();
    for (sequence, leaf) in all_leaves(ledgers).chain(marks) {
        paid.entry(payment(leaf)).or_default().insert((sequence, leaf.attempt));
    }
    for ((job, shard, kind), payments) in paid.into_iter().filter(|(_, payments)| payments.len() > 1) {
        drifts.push(Drift::PaidTwice {
            sequences: payments.into_iter().map(|(sequence, _)| sequence).collect(),
            job,
            shard,
            kind,
        });
    }
}
