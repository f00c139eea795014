//! What to do next with what is owed: a pure decision.

use std::collections::BTreeSet;
use std::fmt;

use alloy_primitives::B256;
use jiff::{SignedDuration, Timestamp};
use spillway_core::batch::Leaf;

use super::sealed::AttemptId;

/// When a batch is sealed: at this many leaves, or when the oldest has waited this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most 4096: a leaf may bring a debit and a credit of its own, and a Settlement holds 4096 of each.
    pub leaves: usize,
    pub oldest: SignedDuration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            leaves: 256,
            oldest: SignedDuration::from_secs(10),
        }
    }
}

/// An accepted attempt whose job's status names no settlement for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payable {
    pub id: AttemptId,
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
pub struct Observed {
    pub newest: Option<OpenSettlement>,
    /// Read after `newest`.
    pub payable: Vec<Payable>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is owed.
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
            Self::Idle => formatter.write_str("nothing is owed"),
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
pub fn accrue(observed: &Observed, limits: &BatchLimits, now: Timestamp) -> Plan {
    match &observed.newest {
        Some(newest) if !newest.recorded => record(newest, &observed.payable),
        Some(newest) => seal(newest.sequence + 1, newest.header_hash, &observed.payable, limits, now),
        None => seal(1, B256::ZERO, &observed.payable, limits, now),
    }
}

/// An attempt is marked once it is payable no more; a job that is gone cannot be paid again either.
fn record(newest: &OpenSettlement, payable: &[Payable]) -> Plan {
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

fn seal(sequence: u64, previous: B256, payable: &[Payable], limits: &BatchLimits, now: Timestamp) -> Plan {
    let Some(oldest) = payable.iter().map(|payable| payable.since).min() else {
        return Plan::Idle;
    };
    let full = payable.len() >= limits.leaves;
    if !full && now.duration_since(oldest) < limits.oldest {
        return Plan::Gather { leaves: payable.len() };
    }
    Plan::Seal {
        sequence,
        previous,
        batch: oldest_first(payable, limits.leaves),
    }
}

fn oldest_first(payable: &[Payable], most: usize) -> Vec<Payable> {
    let mut batch = payable.to_vec();
    batch.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
    batch.truncate(most.max(1));
    batch
}

#[cfg(test)]
mod tests;
