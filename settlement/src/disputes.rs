//! Disputes about posted batches, from the side of whoever opens one: what can be proven, the proof, and sending it.
//!
//! In: Settlements, leaves documents, stored orders, the contracts. Out: offences as [`spillway_core::offence`] judges
//! them, calldata, transactions that anybody may send. [`Prover`] is pure; [`gather`] reads, [`examine`] asks, [`file`] and
//! [`resolve`] send.

mod docket;
mod filing;
mod findings;
mod proof;
mod refusal;

pub use docket::{Docket, DocketError, Reading, Scope, gather};
pub use filing::{FileError, Lack, Opened, approve, file, lack, resolve, resolve_calldata};
pub use findings::{Answer, Finding, Findings, examine};
pub use proof::{Proof, Prover};
pub(crate) use refusal::refusal;
