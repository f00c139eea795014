//! What the chain says ([`ChainView`], a value), and the endpoints that are asked ([`Chain`]).

mod books;
mod earned;
mod endpoints;
mod gather;
mod payers;
mod send;

use std::fmt;

use alloy::primitives::{Address, B256};
use spillway_core::knowledge::Knowledge;

pub use books::Books;
pub use earned::Earned;
pub use endpoints::{AskError, Chain, Confirm, StartError};
pub use payers::{BlockFact, PayerFact};
pub use send::Sent;

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

/// Facts about one Settlement. `Unknown` is "could not be asked", which never is "not there".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainView {
    /// `headerHashAt(sequence)` at the head; zero when nothing is there.
    pub posted: Knowledge<B256>,
    /// The same at the `safe` block.
    pub posted_safe: Knowledge<B256>,
    /// The same at the block that counts as final, as most endpoints say.
    pub posted_final: Knowledge<B256>,
    /// Sequence that the contract expects.
    pub next_sequence: Knowledge<u64>,
    /// Mined transactions of the poster's account.
    pub nonce: Knowledge<u64>,
    /// One per attempt of the status, in its order.
    pub receipts: Vec<Knowledge<Option<Inclusion>>>,
    /// The contract's event for our sequence and header.
    pub event: Knowledge<Option<Inclusion>>,
    /// Whether the last attempt is known to a node.
    pub in_pool: Knowledge<bool>,
    pub fees: Knowledge<Fees>,
    /// Wei of the poster's account.
    pub balance: Knowledge<u128>,
    pub simulation: Knowledge<Simulation>,
}
