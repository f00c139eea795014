//! From a bound pod to a provider: re-check, order, sealed URLs, WorkAssignment; and its state back into the pod.
//!
//! In: an attempt whose terms (node, price, bound, payout, expiry) are written in the job's status, and the bound
//! node's offer. Out: a WorkAssignment, a pod status patch, Events on pods that nobody asked for. The caller creates
//! and patches; everything but presigning and reading the order key is pure.

mod assignment;
pub mod forged;
mod key;
mod mirror;
mod order;
mod recheck;

pub use assignment::{DispatchError, Handover, build_assignment, sign_order};
pub use key::{KeyError, OrderKey};
pub use mirror::{mirror, phase_of};
pub use order::ChainPlace;
pub use recheck::recheck;

#[cfg(test)]
pub(crate) use key::tests::test_key;
