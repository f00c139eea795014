//! Which of the waiting leaves the next batch takes: only what the contract would let their payers pay, so that a
//! batch can always be posted and one payer's trouble holds nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use alloy_primitives::Address;

use super::Leaf;
use crate::knowledge::Knowledge;
use crate::money::MicroUsd;

const DAY: u64 = 86_400;

/// What the contract holds of a payer at one block; micro-USD and Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayerFacts {
    pub deposit: u128,
    /// Asked back by the payer, who may take it as soon as its delay is over.
    pub withdraw_requested: u128,
    pub cap_per_day: u128,
    /// Spent in the day (UTC) of `block_time`.
    pub spent_today: u128,
    /// Last second of the order-signing key; zero without one.
    pub expiry: u64,
    pub block_time: u64,
}

/// What a payer may still spend; `in_flight` is sealed and not yet among the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub facts: Knowledge<PayerFacts>,
    pub in_flight: u128,
}

/// Why a leaf waits, in terms of its payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody could say what the payer has.
    Unknown,
    KeyMissing,
    /// Expired, or so soon that a post could come too late.
    KeyExpires {
        expiry: u64,
    },
    /// The leaf alone is more than a whole day's cap.
    OverCap {
        cap: u128,
    },
    /// The next day (UTC) has room.
    CapReached {
        cap: u128,
    },
    DepositTooSmall {
        spendable: u128,
    },
}

impl Refusal {
    /// CamelCase reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "PayerUnknown",
            Self::KeyMissing => "OrderKeyMissing",
            Self::KeyExpires { .. } => "OrderKeyExpired",
            Self::OverCap { .. } => "OverDailyCap",
            Self::CapReached { .. } => "DailyCapReached",
            Self::DepositTooSmall { .. } => "DepositTooSmall",
        }
    }
}

/// Leaves of one payer that wait, and what keeps the oldest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub leaves: usize,
    /// Micro-USD of them all.
    pub amount: u128,
    pub refusal: Refusal,
}

impl fmt::Display for Held {
    /// `3 attempt(s) for 12.00 USD wait: the deposit has 5.00 USD to spend; deposit at least 7.00 USD more`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} attempt(s) for {} USD wait: ",
            self.leaves,
            usd(self.amount)
        )?;
        match self.refusal {
            Refusal::Unknown => formatter.write_str(
                "what the payer has on chain is not known; see that the settlement process runs and reaches the chain",
            ),
            Refusal::KeyMissing => {
                formatter.write_str("the payer has no order key on chain; call authorizeOrderKey with the policy's key")
            }
            Refusal::KeyExpires { expiry } => write!(
                formatter,
                "the payer's order key expires at {expiry} (Unix seconds); call authorizeOrderKey with a later expiry"
            ),
            Refusal::OverCap { cap } => write!(
                formatter,
                "one costs more than the key's cap of {} USD a day; call authorizeOrderKey with a higher cap",
                usd(cap)
            ),
            Refusal::CapReached { cap } => write!(
                formatter,
                "the key's cap of {} USD a day is reached; they go on at 00:00 UTC, or call authorizeOrderKey with a higher cap",
                usd(cap)
            ),
            Refusal::DepositTooSmall { spendable } => write!(
                formatter,
                "the deposit has {} USD to spend; deposit at least {} USD more",
                usd(spendable),
                usd(self.amount.saturating_sub(spendable))
            ),
        }
    }
}

fn usd(micro: u128) -> MicroUsd {
    MicroUsd(u64::try_from(micro).unwrap_or(u64::MAX))
}

impl Allowance {
    /// A payer of whom nothing is known.
    pub const UNKNOWN: Self = Self {
        facts: Knowledge::Unknown,
        in_flight: 0,
    };

    /// Whether `amount` more can be posted; whoever takes it adds it to `in_flight`.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check(&self, amount: u128, times: Times) -> Result<(), Refusal> {
        let Knowledge::Known(facts) = self.facts else {
            return Err(Refusal::Unknown);
        };
        if facts.expiry == 0 {
            return Err(Refusal::KeyMissing);
        }
        if facts.expiry < times.until.max(facts.block_time) {
            return Err(Refusal::KeyExpires { expiry: facts.expiry });
        }
        let cap = facts.cap_per_day;
        if amount > cap {
            return Err(Refusal::OverCap { cap });
        }
        // Whatever is in flight may all be posted in one day.
        if facts
            .spent_on(times.now)
            .saturating_add(self.in_flight)
            .saturating_add(amount)
            > cap
        {
            return Err(Refusal::CapReached { cap });
        }
        let committed = facts.withdraw_requested.saturating_add(self.in_flight);
        let spendable = facts.deposit.saturating_sub(committed);
        if amount > spendable {
            return Err(Refusal::DepositTooSmall { spendable });
        }
        Ok(())
    }
}

impl PayerFacts {
    /// Nothing was spent yet on a day that began after the facts.
    fn spent_on(&self, time: u64) -> u128 {
        if time / DAY > self.block_time / DAY {
            0
        } else {
            self.spent_today
        }
    }
}

/// Unix seconds by the sealer's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub now: u64,
    /// The latest that a batch which is sealed now may be posted: order keys must live until then.
    pub until: u64,
}

/// Bounds of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub leaves: usize,
    /// Gas that booking every account may cost at worst; `None` where a batch books no accounts.
    pub gas: Option<u64>,
}

impl Bounds {
    /// EIP-7825 lets a transaction ask for 16,777,216 gas, and the poster asks for a quarter over its estimate.
    pub const GAS: u64 = 13_000_000;
}

/// At worst, per account: a payer's slot is there and changes, a provider's first credit makes a slot.
const GAS_PER_PAYER: u64 = 7_500;
const GAS_PER_PROVIDER: u64 = 27_000;
const GAS_OF_BATCH: u64 = 90_000;

/// What the next batch takes, and what waits for its payer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Places in the list that was given, ascending.
    pub taken: Vec<usize>,
    /// Micro-USD of what is taken.
    pub amount: u128,
    pub held: BTreeMap<Address, Held>,
    /// Affordable, but over the bounds: the batch is full.
    pub left: usize,
}

/// Goes through `waiting`, oldest first, and takes what its payer can pay. A leaf that does not fit does not hold
/// younger ones of its payer; it is asked first again next time.
pub fn select<'a>(
    waiting: impl IntoIterator<Item = &'a Leaf>,
    allowances: &BTreeMap<Address, Allowance>,
    bounds: &Bounds,
    times: Times,
) -> Selection {
    let mut allowances = allowances.clone();
    let (mut selection, mut accounts) = (Selection::default(), Accounts::default());
    for (index, leaf) in waiting.into_iter().enumerate() {
        let allowance = allowances.entry(leaf.payer).or_insert(Allowance::UNKNOWN);
        match allowance.check(leaf.amount, times) {
            Err(refusal) => selection.hold(leaf, refusal),
            Ok(()) if selection.taken.len() >= bounds.leaves || !accounts.admit(leaf, bounds.gas) => {
                selection.left += 1
            }
            Ok(()) => {
                allowance.in_flight = allowance.in_flight.saturating_add(leaf.amount);
                selection.amount = selection.amount.saturating_add(leaf.amount);
                selection.taken.push(index);
            }
        }
    }
    selection
}

impl Selection {
    /// The oldest leaf's reason is told.
    fn hold(&mut self, leaf: &Leaf, refusal: Refusal) {
        let held = self.held.entry(leaf.payer).or_insert(Held {
            leaves: 0,
            amount: 0,
            refusal,
        });
        held.leaves += 1;
        held.amount = held.amount.saturating_add(leaf.amount);
    }
}

#[derive(Default)]
struct Accounts {
    payers: BTreeSet<Address>,
    providers: BTreeSet<Address>,
}

impl Accounts {
    /// Adds the accounts of a leaf if posting can still pay for them.
    fn admit(&mut self, leaf: &Leaf, most: Option<u64>) -> bool {
        let (payer_is_new, provider_is_new) = (
            !self.payers.contains(&leaf.payer),
            !self.providers.contains(&leaf.provider),
        );
        let payers = self.payers.len() as u64 + u64::from(payer_is_new);
        let providers = self.providers.len() as u64 + u64::from(provider_is_new);
        let gas = GAS_OF_BATCH + payers * GAS_PER_PAYER + providers * GAS_PER_PROVIDER;
        if most.is_some_and(|most| gas > most) {
            return false;
        }
        self.payers.insert(leaf.payer);
        self.providers.insert(leaf.provider);
        true
    }
}

#[cfg(test)]
mod tests;
