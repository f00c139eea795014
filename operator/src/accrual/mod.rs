//! Seals what is owed into Settlements, one at a time.
//!
//! In: all jobs' statuses, all Settlements, stored receipts. Out: leaves documents, Settlements, and
//! `Settlement.status.recorded`. A pass reads Settlements **before** jobs: a Settlement that was recorded when it was
//! read has marked its attempts in every job read later, so no attempt is sealed twice; two sealers meet at the name.
//! Jobs are marked by the job controller, from [`SealedAttempts`]; this module never writes a job.

mod controller;
mod plan;
mod sealed;

pub use controller::{Accrual, AccrualError, run};
pub use plan::{BatchLimits, Observed, OpenSettlement, Payable, Plan, accrue};
pub use sealed::{AttemptId, Proof, SealedAttempts, payables};
