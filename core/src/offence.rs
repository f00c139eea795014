//! What is provably wrong with posted batches: everything that the disputes contracts take a proof of, or must answer for.
//!
//! In: headers, leaves, ledger entries, orders as they were found. Out: each offence with the line or account that it is
//! about, and what could not be judged. Pure; it decides as the contracts do (`settlement/contracts/src/disputes`), so what
//! is listed here is taken there while the batch is not final. Receipts are not judged: two results of one attempt, or a
//! wrong one, show in no document of the hub.

mod lines;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use alloy_primitives::{Address, B256};
use serde::Serialize;

use crate::batch::{Header, Leaf, Totals, jobs_root};
use crate::knowledge::Knowledge;
use crate::order::Order;

/// A posted batch as its documents show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidBatch {
    pub header: Header,
    /// As the leaves document lists them: in the order of the tree.
    pub leaves: Vec<Leaf>,
    /// Packed entries whose hash is the header's `ledgerHash`; empty in root mode.
    pub debits: Vec<B256>,
    pub credits: Vec<B256>,
    /// Root mode: what the document says that every account has in all.
    pub totals: Option<Totals>,
    /// Not final yet. Of a final batch only one thing counts: a later line may pay the same again.
    pub is_disputable: bool,
}

/// An order that lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOrder {
    pub order: Order,
    pub signature: Vec<u8>,
    /// Whether a key that the payer ever authorised made the signature, as the settlement contract says.
    pub is_signed: Knowledge<bool>,
}

/// All that is known of the batches in question.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// By sequence.
    pub batches: BTreeMap<u64, PaidBatch>,
    /// By hash, for every order that was looked for.
    pub orders: HashMap<B256, Knowledge<Option<FoundOrder>>>,
}

/// Where a paid line stands: sequence of its batch, and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct At {
    pub settlement: u64,
    pub line: u32,
}

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "settlement {} line {}", self.settlement, self.line)
    }
}

/// One thing that a contract takes a proof of. Amounts are micro-USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Offence {
    /// No order that could answer a challenge is in the store: `is_unsigned` when one is and no key of the payer signed it.
    MissingOrder {
        #[serde(flatten)]
        at: At,
        payer: Address,
        is_unsigned: bool,
        refund_micro: u128,
    },
    /// The order that the line names is for something else, or for less.
    ExceededOrder {
        #[serde(flatten)]
        at: At,
        payer: Address,
        refund_micro: u128,
    },
    /// `first` pays the same shard and kind of the same job.
    Duplicate {
        #[serde(flatten)]
        at: At,
        first: At,
        payer: Address,
        refund_micro: u128,
    },
    /// Root mode: the document does not tell the sums that `payRoot` stands for, so that nobody can claim by it. At the batch's
    /// first line; `provider` is who is paid by it.
    WithheldPay {
        #[serde(flatten)]
        at: At,
        provider: Address,
    },
    /// The line stands beyond the header's count, or is the last by it and does not end at the header's total.
    WrongLeaf {
        #[serde(flatten)]
        at: At,
    },
    /// The next line may not follow this one.
    WrongNeighbours {
        #[serde(flatten)]
        at: At,
    },
    /// The provider's lines, of which this is the last one, come to another sum than it is credited.
    WrongCredit {
        #[serde(flatten)]
        at: At,
        provider: Address,
        credited_micro: u128,
        earned_micro: u128,
    },
    /// The provider is credited and has no line; its place would be beside this one.
    CreditWithoutLine {
        #[serde(flatten)]
        at: At,
        provider: Address,
        credited_micro: u128,
    },
    /// All lines of the batch show that the provider is credited too much.
    ExcessCredit {
        settlement: u64,
        provider: Address,
        excess_micro: u128,
    },
    /// All lines of the batch show that the payer is debited too much.
    ExcessDebit {
        settlement: u64,
        payer: Address,
        excess_micro: u128,
    },
}

/// The kinds of offences, by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OffenceKind {
    MissingOrder,
    ExceededOrder,
    Duplicate,
    WithheldPay,
    WrongLeaf,
    WrongNeighbours,
    WrongCredit,
    CreditWithoutLine,
    ExcessCredit,
    ExcessDebit,
}

impl OffenceKind {
    pub const ALL: [Self; 10] = [
        Self::MissingOrder,
        Self::ExceededOrder,
        Self::Duplicate,
        Self::WithheldPay,
        Self::WrongLeaf,
        Self::WrongNeighbours,
        Self::WrongCredit,
        Self::CreditWithoutLine,
        Self::ExcessCredit,
        Self::ExcessDebit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::MissingOrder => "missing-order",
            Self::ExceededOrder => "exceeded-order",
            Self::Duplicate => "duplicate",
            Self::WithheldPay => "withheld-pay",
            Self::WrongLeaf => "wrong-leaf",
            Self::WrongNeighbours => "wrong-neighbours",
            Self::WrongCredit => "wrong-credit",
            Self::CreditWithoutLine => "credit-without-line",
            Self::ExcessCredit => "excess-credit",
            Self::ExcessDebit => "excess-debit",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it shows that the batch does not add up: the first such proof stops the poster, and only excess is put
    /// right after it, once for each account.
    pub fn breaks_batch(self) -> bool {
        !matches!(
            self,
            Self::MissingOrder | Self::ExceededOrder | Self::Duplicate | Self::WithheldPay
        )
    }
}

impl fmt::Display for OffenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Offence {
    pub fn kind(&self) -> OffenceKind {
        match self {
            Self::MissingOrder { .. } => OffenceKind::MissingOrder,
            Self::ExceededOrder { .. } => OffenceKind::ExceededOrder,
            Self::Duplicate { .. } => OffenceKind::Duplicate,
            Self::WithheldPay { .. } => OffenceKind::WithheldPay,
            Self::WrongLeaf { .. } => OffenceKind::WrongLeaf,
            Self::WrongNeighbours { .. } => OffenceKind::WrongNeighbours,
            Self::WrongCredit { .. } => OffenceKind::WrongCredit,
            Self::CreditWithoutLine { .. } => OffenceKind::CreditWithoutLine,
            Self::ExcessCredit { .. } => OffenceKind::ExcessCredit,
            Self::ExcessDebit { .. } => OffenceKind::ExcessDebit,
        }
    }

    /// The line that its proof starts at; none when it takes all lines of the batch.
    pub fn at(&self) -> Option<At> {
        match *self {
            Self::MissingOrder { at, .. }
            | Self::ExceededOrder { at, .. }
            | Self::Duplicate { at, .. }
            | Self::WithheldPay { at, .. }
            | Self::WrongLeaf { at }
            | Self::WrongNeighbours { at }
            | Self::WrongCredit { at, .. }
            | Self::CreditWithoutLine { at, .. } => Some(at),
            Self::ExcessCredit { .. } | Self::ExcessDebit { .. } => None,
        }
    }

    /// Sequence of the batch that it is about.
    pub fn settlement(&self) -> u64 {
        match *self {
            Self::ExcessCredit { settlement, .. } | Self::ExcessDebit { settlement, .. } => settlement,
            _ => self.at().map_or(0, |at| at.settlement),
        }
    }

    /// Whose money it is about.
    pub fn account(&self) -> Option<Address> {
        match *self {
            Self::MissingOrder { payer, .. }
            | Self::ExceededOrder { payer, .. }
            | Self::Duplicate { payer, .. }
            | Self::ExcessDebit { payer, .. } => Some(payer),
            Self::WithheldPay { provider, .. }
            | Self::WrongCredit { provider, .. }
            | Self::CreditWithoutLine { provider, .. }
            | Self::ExcessCredit { provider, .. } => Some(provider),
            Self::WrongLeaf { .. } | Self::WrongNeighbours { .. } => None,
        }
    }

    /// What a payer gets back by it, micro-USD.
    pub fn refund(&self) -> u128 {
        match *self {
            Self::MissingOrder { refund_micro, .. }
            | Self::ExceededOrder { refund_micro, .. }
            | Self::Duplicate { refund_micro, .. } => refund_micro,
            Self::ExcessDebit { excess_micro, .. } => excess_micro,
            _ => 0,
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at() {
            Some(at) => write!(formatter, "{at}: ")?,
            None => write!(formatter, "settlement {}: ", self.settlement())?,
        }
        match *self {
            Self::MissingOrder { is_unsigned: false, .. } => formatter.write_str("its order is not in the store"),
            Self::MissingOrder { payer, .. } => write!(formatter, "no key of payer {payer} signed its order"),
            Self::ExceededOrder { refund_micro, .. } => {
                write!(formatter, "its order does not allow {refund_micro} micro-USD of it")
            }
            Self::Duplicate { first, .. } => write!(formatter, "{first} pays the same shard"),
            Self::WithheldPay { provider, .. } => {
                write!(
                    formatter,
                    "its document does not tell what {provider} can claim by the posted pay root"
                )
            }
            Self::WrongLeaf { .. } => formatter.write_str("count or total of the header does not allow it there"),
            Self::WrongNeighbours { .. } => formatter.write_str("the next line may not follow it"),
            Self::WrongCredit {
                provider,
                credited_micro,
                earned_micro,
                ..
            } => write!(
                formatter,
                "{provider} is credited {credited_micro} micro-USD, its lines come to {earned_micro}"
            ),
            Self::CreditWithoutLine {
                provider,
                credited_micro,
                ..
            } => write!(
                formatter,
                "{provider} is credited {credited_micro} micro-USD and has no line"
            ),
            Self::ExcessCredit {
                provider: account,
                excess_micro,
                ..
            } => write!(formatter, "{account} is credited {excess_micro} micro-USD too much"),
            Self::ExcessDebit {
                payer: account,
                excess_micro,
                ..
            } => write!(formatter, "{account} is debited {excess_micro} micro-USD too much"),
        }
    }
}

/// What could not be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The leaves do not have the root that was posted: no proof follows from them.
    RootDiffers { settlement: u64 },
    /// The entries do not have the hash that was posted.
    LedgerDiffers { settlement: u64 },
    /// The header counts more lines than there are.
    LinesMissing { settlement: u64, count: u32, found: usize },
    /// Neither found nor known to be absent, or who signed it could not be asked.
    OrderUnknown { at: At },
}

impl fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootDiffers { settlement } => write!(
                formatter,
                "settlement {settlement}: its leaves document does not have the posted root, nothing can be proven by it"
            ),
            Self::LedgerDiffers { settlement } => write!(
                formatter,
                "settlement {settlement}: its debits and credits do not have the posted hash"
            ),
            Self::LinesMissing {
                settlement,
                count,
                found,
            } => write!(
                formatter,
                "settlement {settlement}: its header counts {count} lines, there are {found}; no contract takes that as proof"
            ),
            Self::OrderUnknown { at } => write!(formatter, "{at}: its order could not be asked for"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub offences: Vec<Offence>,
    pub doubts: Vec<Doubt>,
}

/// Judges every batch that may still be disputed. What is in doubt is no offence.
pub fn judge(record: &Record) -> Judgement {
    let mut judgement = Judgement::default();
    let mut explained = Vec::new();
    for batch in record.batches.values() {
        if jobs_root(&batch.leaves) == Some(batch.header.jobsRoot) {
            explained.push(batch);
        } else if batch.is_disputable {
            let settlement = batch.header.sequence;
            judgement.doubts.push(Doubt::RootDiffers { settlement });
        }
    }
    for batch in explained.iter().filter(|batch| batch.is_disputable) {
        lines::orders(batch, &record.orders, &mut judgement);
        sums::all(batch, &mut judgement);
    }
    judgement.offences.extend(lines::duplicates(&explained));
    judgement.offences.sort_by_key(Offence::settlement);
    judgement
}

/// Lines of a batch with where they stand.
fn placed(batch: &PaidBatch) -> impl Iterator<Item = (At, &Leaf)> {
    let settlement = batch.header.sequence;
    (0u32..)
        .zip(&batch.leaves)
        .map(move |(line, leaf)| (At { settlement, line }, leaf))
}
