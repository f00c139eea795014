//! Calldata that opens a dispute: the proof of an offence that was judged on the same record.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use alloy::primitives::{Address, B256, Bytes};
use alloy::sol_types::SolCall;
use spillway_core::batch::{Header, Leaf, jobs_proofs};
use spillway_core::knowledge::Knowledge;
use spillway_core::offence::{At, Offence, PaidBatch, Record};
use spillway_core::order::Order;

use crate::chain::DisputeRules;
use crate::contract::{SpillwayDisputes, SpillwaySums, contract_line, header_of, leaf_of, nothing_unpaid, order_of};

/// A transaction that opens or proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub to: Address,
    pub calldata: Bytes,
    /// Micro-USD that the disputes contract takes of the sender; zero for what one transaction proves.
    pub bond: u128,
}

/// Makes proofs; the tree of a batch is hashed once.
#[derive(Debug)]
pub struct Prover<'a> {
    record: &'a Record,
    rules: &'a DisputeRules,
    trees: BTreeMap<u64, Vec<Vec<B256>>>,
}

/// A line with its proof.
struct Shown<'a> {
    header: &'a Header,
    leaf: &'a Leaf,
    proof: Vec<B256>,
}

impl Shown<'_> {
    fn for_disputes(self) -> SpillwayDisputes::Line {
        contract_line(self.header, self.leaf, self.proof)
    }

    fn for_sums(self) -> SpillwaySums::Line {
        SpillwaySums::Line {
            header: header_of!(SpillwaySums, self.header),
            leaf: leaf_of!(SpillwaySums, self.leaf),
            proof: self.proof,
        }
    }
}

impl<'a> Prover<'a> {
    pub fn new(record: &'a Record, rules: &'a DisputeRules) -> Self {
        Self {
            record,
            rules,
            trees: BTreeMap::new(),
        }
    }

    /// The proof of an offence; `None` when the record lacks what it is about.
    pub fn proof(&mut self, offence: &Offence) -> Option<Proof> {
        match *offence {
            Offence::MissingOrder { at, .. } => self.challenge_order(at),
            Offence::ExceededOrder { at, .. } => self.exceeded_order(at),
            Offence::Duplicate { at, first, .. } => {
                let call = SpillwayDisputes::proveDuplicateCall {
                    first: self.line(first)?.for_disputes(),
                    second: self.line(at)?.for_disputes(),
                    unpaid: nothing_unpaid(),
                };
                Some(self.to_disputes(&call, 0))
            }
            Offence::WithheldPay { at, .. } => self.challenge_pay(at),
            Offence::WrongLeaf { at } => {
                let line = self.line(at)?.for_sums();
                Some(self.to_sums(&SpillwaySums::proveWrongLeafCall { line }))
            }
            Offence::WrongNeighbours { at } => self.wrong_neighbours(at),
            Offence::WrongCredit { at, .. } => self.wrong_credit(at),
            Offence::CreditWithoutLine { at, provider, .. } => self.credit_without_line(at, provider),
            Offence::ExcessCredit {
                settlement, provider, ..
            } => self.excess_credit(settlement, provider),
            Offence::ExcessDebit { settlement, payer, .. } => self.excess_debit(settlement, payer),
        }
    }

    /// Asks for the signed order of a line, whether or not anything is known of it: an answer costs the bond.
    pub fn challenge_order(&mut self, at: At) -> Option<Proof> {
        let line = self.line(at)?.for_disputes();
        let call = SpillwayDisputes::challengeOrderCall { line };
        Some(self.to_disputes(&call, self.rules.bond))
    }

    /// Root mode: asks for the place of the line's provider in the pay root, likewise.
    pub fn challenge_pay(&mut self, at: At) -> Option<Proof> {
        let line = self.line(at)?.for_disputes();
        let call = SpillwayDisputes::challengePayCall { line };
        Some(self.to_disputes(&call, self.rules.bond))
    }

    fn exceeded_order(&mut self, at: At) -> Option<Proof> {
        let line = self.line(at)?;
        let order = self.order(line.leaf.order)?;
        let call = SpillwayDisputes::proveExceededOrderCall {
            order: order_of!(SpillwayDisputes, order),
            line: line.for_disputes(),
            unpaid: nothing_unpaid(),
        };
        Some(self.to_disputes(&call, 0))
    }

    fn wrong_neighbours(&mut self, at: At) -> Option<Proof> {
        let (left, right) = (self.line(at)?, self.line(next(at)?)?);
        let call = SpillwaySums::proveWrongNeighboursCall {
            header: header_of!(SpillwaySums, left.header),
            left: leaf_of!(SpillwaySums, left.leaf),
            leftProof: left.proof,
            right: leaf_of!(SpillwaySums, right.leaf),
            rightProof: right.proof,
        };
        Some(self.to_sums(&call))
    }

    fn wrong_credit(&mut self, at: At) -> Option<Proof> {
        let (next, next_proof) = self.next_or_same(at)?;
        let batch = self.batch(at.settlement)?;
        let call = SpillwaySums::proveWrongCreditCall {
            last: self.line(at)?.for_sums(),
            next,
            nextProof: next_proof,
            debits: batch.debits.clone(),
            credits: batch.credits.clone(),
        };
        Some(self.to_sums(&call))
    }

    fn credit_without_line(&mut self, at: At, provider: Address) -> Option<Proof> {
        let (right, right_proof) = self.next_or_same(at)?;
        let batch = self.batch(at.settlement)?;
        let call = SpillwaySums::proveCreditWithoutLineCall {
            left: self.line(at)?.for_sums(),
            right,
            rightProof: right_proof,
            debits: batch.debits.clone(),
            credits: batch.credits.clone(),
            provider,
        };
        Some(self.to_sums(&call))
    }

    fn excess_credit(&self, settlement: u64, provider: Address) -> Option<Proof> {
        let batch = self.batch(settlement)?;
        let call = SpillwaySums::proveExcessCreditCall {
            header: header_of!(SpillwaySums, &batch.header),
            leaves: all_leaves(batch),
            debits: batch.debits.clone(),
            credits: batch.credits.clone(),
            provider,
        };
        Some(self.to_sums(&call))
    }

    fn excess_debit(&self, settlement: u64, payer: Address) -> Option<Proof> {
        let batch = self.batch(settlement)?;
        let call = SpillwaySums::proveExcessDebitCall {
            header: header_of!(SpillwaySums, &batch.header),
            leaves: all_leaves(batch),
            debits: batch.debits.clone(),
            credits: batch.credits.clone(),
            payer,
        };
        Some(self.to_sums(&call))
    }

    fn to_disputes(&self, call: &impl SolCall, bond: u128) -> Proof {
        Proof {
            to: self.rules.disputes,
            calldata: call.abi_encode().into(),
            bond,
        }
    }

    fn to_sums(&self, call: &impl SolCall) -> Proof {
        Proof {
            to: self.rules.sums,
            calldata: call.abi_encode().into(),
            bond: 0,
        }
    }

    fn batch(&self, settlement: u64) -> Option<&'a PaidBatch> {
        self.record.batches.get(&settlement)
    }

    fn order(&self, hash: B256) -> Option<&'a Order> {
        match self.record.orders.get(&hash)? {
            Knowledge::Known(Some(found)) => Some(&found.order),
            _ => None,
        }
    }

    fn line(&mut self, at: At) -> Option<Shown<'a>> {
        let batch = self.batch(at.settlement)?;
        let index = usize::try_from(at.line).ok()?;
        let tree = match self.trees.entry(at.settlement) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(place) => place.insert(jobs_proofs(&batch.leaves)?),
        };
        Some(Shown {
            header: &batch.header,
            leaf: batch.leaves.get(index)?,
            proof: tree.get(index)?.clone(),
        })
    }

    /// The line after this one; itself where it is the last, for the contract reads none then.
    fn next_or_same(&mut self, at: At) -> Option<(SpillwaySums::Leaf, Vec<B256>)> {
        let next = next(at).and_then(|next| self.line(next));
        let shown = match next {
            Some(next) => next,
            None => self.line(at)?,
        };
        Some((leaf_of!(SpillwaySums, shown.leaf), shown.proof))
    }
}

fn next(at: At) -> Option<At> {
    let line = at.line.checked_add(1)?;
    Some(At { line, ..at })
}

fn all_leaves(batch: &PaidBatch) -> Vec<SpillwaySums::Leaf> {
    batch.leaves.iter().map(|leaf| leaf_of!(SpillwaySums, leaf)).collect()
}
