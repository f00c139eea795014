//! What the chain says ([`ChainView`], a value), and the endpoints that are asked ([`Chain`]).
//!
//! All state of one view is read at one block, by hash, that most endpoints have: a lagging one cannot mix in. State
//! that decides about money needs the same answer from most endpoints; a hint needs one.

mod archive;
mod books;
mod dispute_rules;
mod disputes;
mod earned;
mod endpoint;
mod endpoints;
mod gather;
mod head;
mod identity;
mod limiter;
mod payers;
mod send;

use std::fmt;

use alloy::primitives::{Address, B256};
use spillway_core::batch::Header;
use spillway_core::knowledge::Knowledge;

pub use books::Books;
pub use dispute_rules::{DisputeRules, Purse, Trial};
pub use disputes::{Fault, Filed, Filings, Stage};
pub use earned::{Earned, RootBooks};
pub use endpoint::AskError;
pub use endpoints::{Chain, Confirm, Reach};
pub use head::Head;
pub use identity::StartError;
pub use payers::{BlockFact, PayerFact};
pub use send::{Refusal, Sent};

use crate::contract::Revert;
use crate::transaction::Fees;

/// The one contract that this poster serves; from the settings, never from an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub chain_id: u64,
    pub contract: Address,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "contract {} on chain {}", self.contract, self.chain_id)
    }
}

/// A transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    pub transaction: B256,
    pub block_hash: B256,
    pub block_number: u64,
    pub succeeded: bool,
    /// Not said by an event.
    pub gas_used: Option<u64>,
}

/// What posting would do at the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Simulation {
    Succeeds { gas: u64 },
    Reverts(Revert),
}

/// Why a mined transaction of ours reverted: its call made again at its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    OutOfGas,
    Reverts(Revert),
    /// The same call succeeds at the end of the block.
    Cured,
}

/// A `Posted` event that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    pub header_hash: B256,
    pub header: Header,
    pub inclusion: Inclusion,
}

/// Facts about one Settlement. `Unknown` is "could not be asked", which never is "not there".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainView {
    /// Block that `posted`, `next_sequence`, the nonces, `may_post`, `is_delegated`, `balance` and `simulation` are of.
    pub head: Knowledge<Head>,
    /// `headerHashAt(sequence)`; zero when nothing is there.
    pub posted: Knowledge<B256>,
    /// The same at the `safe` block.
    pub posted_safe: Knowledge<B256>,
    /// The same at the block that counts as final.
    pub posted_final: Knowledge<B256>,
    /// Sequence that the contract expects.
    pub next_sequence: Knowledge<u64>,
    /// The post of a sequence that the contract has forgotten.
    pub archived: Knowledge<Option<Archived>>,
    /// Mined transactions of the poster's account.
    pub nonce: Knowledge<u64>,
    /// The same of the key that signed the last attempt, when that is another one.
    pub last_signers_nonce: Knowledge<u64>,
    /// Whether the contract takes posts of our key.
    pub may_post: Knowledge<bool>,
    /// Whether our account runs code by an EIP-7702 delegation.
    pub is_delegated: Knowledge<bool>,
    /// One per attempt of the status, in its order.
    pub receipts: Vec<Knowledge<Option<Inclusion>>>,
    /// Why the newest mined attempt reverted.
    pub diagnosis: Knowledge<Option<Diagnosis>>,
    /// The contract's event for our sequence and header.
    pub event: Knowledge<Option<Inclusion>>,
    /// Whether the last attempt is known to any node.
    pub in_pool: Knowledge<bool>,
    /// What every endpoint said when the last attempt was sent, if all refused it.
    pub refusal: Option<Refusal>,
    pub fees: Knowledge<Fees>,
    /// Wei of the poster's account.
    pub balance: Knowledge<u128>,
    pub simulation: Knowledge<Simulation>,
}
