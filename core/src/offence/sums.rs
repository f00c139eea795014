//! Count, order and sums of a batch, and what its entries book against what its lines say.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};

use super::{At, Doubt, Judgement, Offence, PaidBatch, placed};
use crate::batch::{Leaf, Totals, entry_parts, ledger_hash};

/// Positions follow from the leaves, for these have the posted root: no sum between two lines can break.
pub(super) fn all(batch: &PaidBatch, judgement: &mut Judgement) {
    let settlement = batch.header.sequence;
    let (count, found) = (batch.header.count, batch.leaves.len());
    if found < count as usize {
        judgement.doubts.push(Doubt::LinesMissing {
            settlement,
            count,
            found,
        });
    }
    judgement.offences.extend(wrong_leaf(batch));
    let unordered = wrong_neighbours(batch);
    judgement.offences.extend(unordered);
    if batch.header.ledgerHash.is_zero() {
        judgement.offences.extend(withheld_pay(batch));
        return;
    }
    if ledger_hash(&batch.debits, &batch.credits) != batch.header.ledgerHash {
        judgement.doubts.push(Doubt::LedgerDiffers { settlement });
        return;
    }
    credits(batch, unordered.is_none(), judgement);
    debits(batch, judgement);
}

/// Root mode: whether the sums that the document tells have the posted root and total.
fn withheld_pay(batch: &PaidBatch) -> Option<Offence> {
    let tree = batch.totals.as_ref().and_then(Totals::pay_tree);
    let told = tree.map(|tree| (tree.root(), tree.total()));
    if told == Some((batch.header.payRoot, batch.header.cumulative)) {
        return None;
    }
    let (at, leaf) = placed(batch).next()?;
    Some(Offence::WithheldPay {
        at,
        provider: leaf.provider,
    })
}

/// The first line that cannot stand where it stands.
fn wrong_leaf(batch: &PaidBatch) -> Option<Offence> {
    let count = batch.header.count;
    let mut sum = 0u128;
    placed(batch).find_map(|(at, leaf)| {
        sum = sum.saturating_add(leaf.amount);
        let is_last = at.line.checked_add(1) == Some(count);
        let is_wrong = at.line >= count || (is_last && sum != batch.header.total);
        is_wrong.then_some(Offence::WrongLeaf { at })
    })
}

/// The first line that the next one may not follow.
fn wrong_neighbours(batch: &PaidBatch) -> Option<Offence> {
    let next = batch.leaves.iter().skip(1);
    let mut pairs = placed(batch).zip(next);
    pairs.find_map(|((at, leaf), next)| (leaf.sort_key() >= next.sort_key()).then_some(Offence::WrongNeighbours { at }))
}

/// What a provider is credited, and what its lines come to, where these differ.
struct Tilted {
    provider: Address,
    has_line: bool,
    credited: u128,
    earned: u128,
}

fn credits(batch: &PaidBatch, is_ordered: bool, judgement: &mut Judgement) {
    for tilted in tilted(batch) {
        // A batch breaks once: an order that does is not said again by the credits of providers that it tears apart.
        if is_ordered {
            judgement.offences.extend(tilted.offence(batch));
        }
        let excess = excess(tilted.credited, tilted.earned);
        judgement
            .offences
            .extend(excess.map(|excess_micro| Offence::ExcessCredit {
                settlement: batch.header.sequence,
                provider: tilted.provider,
                excess_micro,
            }));
    }
}

fn tilted(batch: &PaidBatch) -> Vec<Tilted> {
    let (credited, earned) = (entries(&batch.credits), sums(&batch.leaves, |leaf| leaf.provider));
    let providers: BTreeSet<Address> = credited.keys().chain(earned.keys()).copied().collect();
    let all = providers.into_iter().map(|provider| Tilted {
        provider,
        has_line: earned.contains_key(&provider),
        credited: credited.get(&provider).copied().unwrap_or_default(),
        earned: earned.get(&provider).copied().unwrap_or_default(),
    });
    all.filter(|its| its.credited != its.earned).collect()
}

impl Tilted {
    /// By one line, in a batch whose lines are in order.
    fn offence(&self, batch: &PaidBatch) -> Option<Offence> {
        let (provider, credited_micro) = (self.provider, self.credited);
        if self.has_line {
            last_of(batch, provider).map(|at| Offence::WrongCredit {
                at,
                provider,
                credited_micro,
                earned_micro: self.earned,
            })
        } else {
            beside(batch, provider).map(|at| Offence::CreditWithoutLine {
                at,
                provider,
                credited_micro,
            })
        }
    }
}

/// The provider's last line, when the one after it is there or not needed.
fn last_of(batch: &PaidBatch, provider: Address) -> Option<At> {
    let behind = batch.leaves.partition_point(|leaf| leaf.provider <= provider);
    followed(batch, behind)
}

/// The line before the provider's place, or the first one behind it.
fn beside(batch: &PaidBatch, provider: Address) -> Option<At> {
    match batch.leaves.partition_point(|leaf| leaf.provider < provider) {
        0 => placed(batch).next().map(|(at, _)| at),
        behind => followed(batch, behind),
    }
}

/// The line before `next`, when that is a line, or the header's count ends there.
fn followed(batch: &PaidBatch, next: usize) -> Option<At> {
    let is_end = next == batch.header.count as usize;
    let (at, _) = placed(batch).nth(next.checked_sub(1)?)?;
    (is_end || next < batch.leaves.len()).then_some(at)
}

fn debits(batch: &PaidBatch, judgement: &mut Judgement) {
    let owed = sums(&batch.leaves, |leaf| leaf.payer);
    for (payer, debited) in entries(&batch.debits) {
        let owed = owed.get(&payer).copied().unwrap_or_default();
        judgement
            .offences
            .extend(excess(debited, owed).map(|excess_micro| Offence::ExcessDebit {
                settlement: batch.header.sequence,
                payer,
                excess_micro,
            }));
    }
}

fn excess(booked: u128, shown: u128) -> Option<u128> {
    booked.checked_sub(shown).filter(|excess| *excess != 0)
}

fn entries(packed: &[B256]) -> BTreeMap<Address, u128> {
    // The contract posts entries that ascend: none is there twice.
    packed.iter().map(|entry| entry_parts(*entry)).collect()
}

fn sums(leaves: &[Leaf], account: impl Fn(&Leaf) -> Address) -> BTreeMap<Address, u128> {
    leaves.iter().fold(BTreeMap::new(), |mut sums, leaf| {
        let sum: &mut u128 = sums.entry(account(leaf)).or_default();
        *sum = sum.saturating_add(leaf.amount);
        sums
    })
}
