//! The settlement poster: takes sealed `Settlement`s to final on the chain, and holds the only chain-signing key.
//!
//! In: Settlements (the write-ahead log is their status), what the chain says ([`chain::ChainView`]).
//! Out: signed transactions, statuses. [`advance`] decides and is pure; [`chain`] and [`poster`] do the IO.
//! Beside it: [`payers`] says on SpendPolicies what the chain holds, [`reconcile`] compares the ledgers, [`rebuild`] makes
//! lost Settlements again, [`collector`] brings in what payers owe in root mode, [`claimer`] takes what providers earned,
//! [`orders`] shows signed orders to the contracts when they ask, [`disputes`] opens disputes about posted batches.
//! May depend on core and crds.

pub mod advance;
pub mod chain;
pub mod claim;
pub mod claimer;
pub mod claims;
pub mod collector;
pub mod contract;
pub mod deploy;
pub mod disputes;
pub mod orders;
pub mod payers;
pub mod perform;
pub mod poster;
pub mod rebuild;
pub mod reconcile;
pub mod signer;
mod ticks;
pub mod transaction;
