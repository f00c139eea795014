//! What to do next with what is owed: a pure decision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use alloy_primitives::{Address, B256};
use jiff::{SignedDuration, Timestamp};
use spillway_core::batch::Leaf;
use spillway_core::batch::select::{Allowance, Bounds, Held, Times, select};

use super::sealed::AttemptId;

/// A post may come this long after the batch was sealed: a key that expires sooner seals nothing.
pub const POSTED_WITHIN: SignedDuration = SignedDuration::from_mins(30);

/// When a batch is sealed: at this many leaves, at this much money, or when the oldest has waited this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most 4096: a leaf may bring a debit and a credit of its own, and a Settlement holds 4096 of each.
    pub leaves: usize,
    pub oldest: SignedDuration,
    /// Micro-USD.
    pub value: u128,
    /// Gas that booking the accounts of a batch may take at worst; root mode books none.
    pub gas: Option<u64>,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            leaves: 256,
            oldest: SignedDuration::from_secs(10),
            value: u128::MAX,
            gas: Some(Bounds::GAS),
        }
    }
}

/// An accepted attempt whose job's status names no settlement for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payable {
    pub id: AttemptId,
    pub namespace: String,
    /// Of the job.
    pub name: String,
    pub job_uid: String,
    /// What pays it, from the job's status; what was stored at acceptance must say the same.
    pub leaf: Leaf,
    /// When it ended, by the hub's clock.
    pub since: Timestamp,
}

/// The newest Settlement, with what it pays while that is not recorded everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSettlement {
    pub sequence: u64,
    pub header_hash: B256,
    pub recorded: bool,
    /// Its leaves; needed only while it is not recorded.
    pub leaves: BTreeSet<AttemptId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed<'a> {
    pub newest: Option<OpenSettlement>,
    /// Read after `newest`; may lag, so what is sealed or recorded is read again first.
    pub payable: Vec<&'a Payable>,
    /// A payer that is not here is not known.
    pub allowances: BTreeMap<Address, Allowance>,
}

/// What happens next, and who is waited for meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub plan: Plan,
    /// Payers whose leaves wait for them.
    pub held: BTreeMap<Address, Held>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is owed that can be paid.
    Idle,
    /// The batch is neither full nor old enough.
    Gather {
        leaves: usize,
    },
    /// Some attempts of this Settlement are not marked in their jobs yet.
    AwaitMarks {
        sequence: u64,
        unmarked: usize,
    },
    MarkRecorded {
        sequence: u64,
    },
    Seal {
        sequence: u64,
        previous: B256,
        batch: Vec<Payable>,
    },
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => formatter.write_str("nothing is owed that can be paid"),
            Self::Gather { leaves } => write!(formatter, "gather: {leaves} leaves wait"),
            Self::AwaitMarks { sequence, unmarked } => {
                write!(
                    formatter,
                    "settlement {sequence}: {unmarked} attempts are not marked in their jobs yet"
                )
            }
            Self::MarkRecorded { sequence } => write!(formatter, "settlement {sequence} is recorded"),
            Self::Seal { sequence, batch, .. } => {
                write!(formatter, "seal settlement {sequence}: {} leaves", batch.len())
            }
        }
    }
}

/// The next step. One Settlement at a time is on its way into the jobs' statuses; until it is recorded nothing is sealed.
pub fn accrue(observed: &Observed<'_>, limits: &BatchLimits, now: Timestamp) -> Decision {
    match &observed.newest {
        Some(newest) if !newest.recorded => {
            let waiting = observed
                .payable
                .iter()
                .filter(|payable| !newest.leaves.contains(&payable.id));
            let chosen = choose(waiting.copied().collect(), &observed.allowances, limits, now);
            Decision {
                plan: record(newest, &observed.payable),
                held: chosen.held,
            }
        }
        Some(newest) => seal(newest.sequence + 1, newest.header_hash, observed, limits, now),
        None => seal(1, B256::ZERO, observed, limits, now),
    }
}

/// An attempt is marked once it is payable no more; a job that is gone cannot be paid again either.
fn record(newest: &OpenSettlement, payable: &[&Payable]) -> Plan {
    let unmarked = payable
        .iter()
        .filter(|payable| newest.leaves.contains(&payable.id))
        .count();
    match unmarked {
        0 => Plan::MarkRecorded {
            sequence: newest.sequence,
        },
        unmarked => Plan::AwaitMarks {
            sequence: newest.sequence,
            unmarked,
        },
    }
}

fn seal(sequence: u64, previous: B256, observed: &Observed<'_>, limits: &BatchLimits, now: Timestamp) -> Decision {
    let Chosen { batch, full, held } = choose(observed.payable.clone(), &observed.allowances, limits, now);
    let plan = match batch.first() {
        None => Plan::Idle,
        Some(oldest) if !full && now.duration_since(oldest.since) < limits.oldest => {
            Plan::Gather { leaves: batch.len() }
        }
        Some(_) => Plan::Seal {
            sequence,
            previous,
            batch: batch.into_iter().cloned().collect(),
        },
    };
    Decision { plan, held }
}

/// What the next batch would hold, oldest first.
struct Chosen<'a> {
    batch: Vec<&'a Payable>,
    full: bool,
    held: BTreeMap<Address, Held>,
}

fn choose<'a>(
    mut waiting: Vec<&'a Payable>,
    allowances: &BTreeMap<Address, Allowance>,
    limits: &BatchLimits,
    now: Timestamp,
) -> Chosen<'a> {
    waiting.sort_unstable_by_key(|payable| (payable.since, payable.id));
    let bounds = Bounds {
        leaves: limits.leaves.max(1),
        gas: limits.gas,
    };
    let second = u64::try_from(now.as_second()).unwrap_or_default();
    let times = Times {
        now: second,
        until: second + POSTED_WITHIN.as_secs().unsigned_abs(),
    };
    let selection = select(waiting.iter().map(|payable| &payable.leaf), allowances, &bounds, times);
    Chosen {
        full: selection.left > 0 || selection.taken.len() >= bounds.leaves || selection.amount >= limits.value,
        batch: selection.taken.into_iter().map(|index| waiting[index]).collect(),
        held: selection.held,
    }
}

#[cfg(test)]
mod tests;
