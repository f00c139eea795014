//! The drifts there are, and what each means to whoever reads it.

use std::fmt;

use alloy_primitives::B256;
use serde::Serialize;

use crate::money::MicroUsd;

/// Two ledgers disagree. Amounts are micro-USD; `job` is `namespace/name`, or keccak256 of the job's UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "drift", rename_all_fields = "camelCase")]
pub enum Drift {
    /// A Settlement says Final and the contract holds nothing at its sequence.
    NotOnChain { sequence: u64, total: u128 },
    /// The contract booked a batch that the hub has no Settlement for.
    NoObject {
        sequence: u64,
        header_hash: B256,
        total: u128,
    },
    /// The contract holds another header than the hub sealed.
    HeaderDiffers {
        sequence: u64,
        on_chain: B256,
        sealed: B256,
    },
    /// A ledger adds up to another amount than the Settlement names.
    AmountDiffers {
        sequence: u64,
        ledger: &'static str,
        found: u128,
        sealed: u128,
    },
    /// A Settlement says Failed and its batch was booked.
    FailedButPosted { sequence: u64 },
    /// The contract has fewer tokens than its events say that it owes.
    MoneyMissing { balance: u128, owed: u128 },
    /// A sequence between others has no Settlement.
    ObjectMissing { sequence: u64 },
    /// A Settlement does not name the hash of the one before it.
    ChainBroken { sequence: u64, names: B256, before: B256 },
    /// The leaves document is not in the store although its retention is not over.
    DocumentMissing { sequence: u64, data_hash: B256 },
    /// The leaves document has another hash than its header names.
    DocumentAltered { sequence: u64, data_hash: B256 },
    /// The document's leaves have another root than the Settlement names.
    RootDiffers { sequence: u64 },
    /// Root mode: what accounts have in all does not follow from the batch before and this one's leaves, or has other roots.
    TotalsDiffer { sequence: u64 },
    /// A job's status says that this Settlement pays the attempt, and it does not.
    NotInBatch {
        sequence: u64,
        job: String,
        shard: u32,
        attempt: u16,
        amount: u128,
    },
    /// A recorded Settlement pays the attempt, and the job's status does not say so.
    Unmarked {
        sequence: u64,
        job: String,
        shard: u32,
        attempt: u16,
    },
    /// An accepted attempt is in no batch although it is old and its payer is not waited for.
    Unsealed {
        job: String,
        shard: u32,
        attempt: u16,
        amount: u128,
        seconds: u64,
    },
    /// A batch pays an attempt that its job did not accept, or pays it differently.
    LeafNotAccepted {
        sequence: u64,
        job: B256,
        shard: u32,
        attempt: u16,
        amount: u128,
    },
    /// One (job, shard, kind) is paid more than once.
    PaidTwice {
        sequences: Vec<u64>,
        job: B256,
        shard: u32,
        kind: u8,
    },
}

/// Name, consequence and next step of a drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// CamelCase, as in JSON and metrics.
    pub name: &'static str,
    pub means: &'static str,
    pub next: &'static str,
}

impl Drift {
    /// Settlements that it concerns.
    pub fn sequences(&self) -> Vec<u64> {
        match self {
            Self::NotOnChain { sequence, .. }
            | Self::NoObject { sequence, .. }
            | Self::HeaderDiffers { sequence, .. }
            | Self::AmountDiffers { sequence, .. }
            | Self::FailedButPosted { sequence }
            | Self::ObjectMissing { sequence }
            | Self::ChainBroken { sequence, .. }
            | Self::DocumentMissing { sequence, .. }
            | Self::DocumentAltered { sequence, .. }
            | Self::RootDiffers { sequence }
            | Self::TotalsDiffer { sequence }
            | Self::NotInBatch { sequence, .. }
            | Self::Unmarked { sequence, .. }
            | Self::LeafNotAccepted { sequence, .. } => vec![*sequence],
            Self::PaidTwice { sequences, .. } => sequences.clone(),
            Self::MoneyMissing { .. } | Self::Unsealed { .. } => Vec::new(),
        }
    }

    pub fn meaning(&self) -> Meaning {
        MEANINGS[self.place()]
    }

    /// Names of all drifts, for metrics that show zero.
    pub fn names() -> impl Iterator<Item = &'static str> {
        MEANINGS.iter().map(|meaning| meaning.name)
    }

    fn place(&self) -> usize {
        match self {
            Self::NotOnChain { .. } => 0,
            Self::NoObject { .. } => 1,
            Self::HeaderDiffers { .. } => 2,
            Self::AmountDiffers { .. } => 3,
            Self::FailedButPosted { .. } => 4,
            Self::MoneyMissing { .. } => 5,
            Self::ObjectMissing { .. } => 6,
            Self::ChainBroken { .. } => 7,
            Self::DocumentMissing { .. } => 8,
            Self::DocumentAltered { .. } => 9,
            Self::RootDiffers { .. } => 10,
            Self::NotInBatch { .. } => 11,
            Self::Unmarked { .. } => 12,
            Self::Unsealed { .. } => 13,
            Self::LeafNotAccepted { .. } => 14,
            Self::PaidTwice { .. } => 15,
            Self::TotalsDiffer { .. } => 16,
        }
    }
}

/// In the order of [`Drift::place`].
const MEANINGS: [Meaning; 17] = [
    Meaning {
        name: "NotOnChain",
        means: "providers were told that they are paid, and the contract does not know of it",
        next: "compare RPC endpoints and contract address; stop the settlement process until they agree",
    },
    Meaning {
        name: "NoObject",
        means: "money moved that this hub did not seal: another hub posts here, or etcd was restored from an old copy",
        next: "restore the newest copy of etcd; if there was none, revoke the poster",
    },
    Meaning {
        name: "HeaderDiffers",
        means: "the contract booked another batch at this sequence: two hubs post, or etcd was restored from an old copy",
        next: "stop the settlement process; see the runbook `A settlement is stuck`",
    },
    Meaning {
        name: "AmountDiffers",
        means: "more or less is paid than was sealed",
        next: "compare the leaves document with the Settlement line by line; a batch can be disputed until its window ends",
    },
    Meaning {
        name: "FailedButPosted",
        means: "the batch is paid although the hub gave it up: sealing it again would pay twice",
        next: "do not seal these attempts again; report it",
    },
    Meaning {
        name: "MoneyMissing",
        means: "the contract cannot pay everybody whom it owes",
        next: "pause posting and claiming; report it",
    },
    Meaning {
        name: "ObjectMissing",
        means: "a Settlement was deleted: the operator seals nothing until it is back",
        next: "restore the object from a copy of etcd",
    },
    Meaning {
        name: "ChainBroken",
        means: "the contract will refuse this batch and all after it, or sealed another one before it",
        next: "compare the Settlements with the Posted events of the contract",
    },
    Meaning {
        name: "DocumentMissing",
        means: "nobody can prove or dispute what this batch pays any more",
        next: "restore the object from the store's backup before the dispute window ends",
    },
    Meaning {
        name: "DocumentAltered",
        means: "somebody changed what the batch is said to pay; the sealed hash tells it",
        next: "restore the object from the store's backup; find out who may write there",
    },
    Meaning {
        name: "RootDiffers",
        means: "leaves of this batch cannot be proven against its header",
        next: "report it: document and header were not made from the same leaves",
    },
    Meaning {
        name: "NotInBatch",
        means: "the provider is told that it is paid, and it is not",
        next: "the receipt lies in the hub store; report it, it must be paid by a later batch",
    },
    Meaning {
        name: "Unmarked",
        means: "the attempt is paid, and could be sealed a second time",
        next: "stop the operator; mark the attempt in the job's status with this sequence",
    },
    Meaning {
        name: "Unsealed",
        means: "the provider waits for money without a reason that is known",
        next: "the operator's log names the attempt; see that sealing goes on (`kubectl get settlements`)",
    },
    Meaning {
        name: "LeafNotAccepted",
        means: "somebody is paid for work that no job accepted at that price",
        next: "dispute the leaf before the window ends",
    },
    Meaning {
        name: "PaidTwice",
        means: "two payments for one shard and kind",
        next: "dispute one of the two with a proof of both leaves",
    },
    Meaning {
        name: "TotalsDiffer",
        means: "providers can claim more or less than their lines come to",
        next: "dispute the batch before its window ends: once it is proven wrong, it and all after it pay nothing",
    },
];

impl fmt::Display for Drift {
    /// `settlement 7: NotOnChain: 1.200000 USD are said to be final and the contract holds no header there`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequences().as_slice() {
            [] => formatter.write_str("hub: ")?,
            [sequence] => write!(formatter, "settlement {sequence}: ")?,
            several => write!(formatter, "settlements {several:?}: ")?,
        }
        write!(formatter, "{}: ", self.meaning().name)?;
        self.facts(formatter)
    }
}

impl Drift {
    fn facts(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOnChain { total, .. } => write!(
                formatter,
                "{} USD are said to be final and the contract holds no header there",
                usd(*total)
            ),
            Self::NoObject { header_hash, total, .. } => write!(
                formatter,
                "the contract booked {} USD under header {header_hash}, the hub has no Settlement",
                usd(*total)
            ),
            Self::HeaderDiffers { on_chain, sealed, .. } => {
                write!(
                    formatter,
                    "the contract holds header {on_chain}, the hub sealed {sealed}"
                )
            }
            Self::AmountDiffers {
                ledger, found, sealed, ..
            } => write!(
                formatter,
                "the {ledger} says {} USD, the Settlement {} USD",
                usd(*found),
                usd(*sealed)
            ),
            Self::FailedButPosted { .. } => formatter.write_str("it says Failed and the contract booked it"),
            Self::MoneyMissing { balance, owed } => write!(
                formatter,
                "the contract has {} USD and owes {} USD",
                usd(*balance),
                usd(*owed)
            ),
            Self::ObjectMissing { .. } => formatter.write_str("there is none, and there are later ones"),
            Self::ChainBroken { names, before, .. } => {
                write!(formatter, "it names {names} as the header before it, which is {before}")
            }
            Self::DocumentMissing { data_hash, .. } => write!(formatter, "{data_hash} is not in the store"),
            Self::DocumentAltered { data_hash, .. } => write!(formatter, "what is stored does not hash to {data_hash}"),
            Self::RootDiffers { .. } => formatter.write_str("its leaves have another root"),
            Self::TotalsDiffer { .. } => formatter
                .write_str("what accounts have in all does not follow from the batch before and its own leaves"),
            Self::PaidTwice { job, shard, kind, .. } => {
                write!(formatter, "job {job} shard {shard} kind {kind} is paid twice")
            }
            _ => self.facts_of_attempt(formatter),
        }
    }

    fn facts_of_attempt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInBatch {
                job,
                shard,
                attempt,
                amount,
                ..
            } => write!(
                formatter,
                "job {job} shard {shard} attempt {attempt} ({} USD) is said to be paid here and is not",
                usd(*amount)
            ),
            Self::Unmarked {
                job, shard, attempt, ..
            } => write!(
                formatter,
                "it pays job {job} shard {shard} attempt {attempt}, whose status does not say so"
            ),
            Self::Unsealed {
                job,
                shard,
                attempt,
                amount,
                seconds,
            } => write!(
                formatter,
                "job {job} shard {shard} attempt {attempt} ({} USD) has waited {seconds} s for a batch",
                usd(*amount)
            ),
            Self::LeafNotAccepted {
                job,
                shard,
                attempt,
                amount,
                ..
            } => write!(
                formatter,
                "it pays {} USD for job {job} shard {shard} attempt {attempt}, which the job did not accept so",
                usd(*amount)
            ),
            _ => Ok(()),
        }
    }
}

fn usd(micro: u128) -> MicroUsd {
    MicroUsd(u64::try_from(micro).unwrap_or(u64::MAX))
}
