//! Seals what is owed into Settlements, one at a time.
//!
//! In: watches of jobs, Settlements and SpendPolicies ([`picture`]), stored receipts. Out: leaves documents, in root mode
//! payers' signed vouchers, Settlements, `Settlement.status.recorded`, and the condition Payable of SpendPolicies. Watches say what to do; what
//! is sealed or recorded is read again first, Settlement **before** jobs: a Settlement that was recorded when it was
//! read has marked its attempts in every job read later, so no attempt is sealed twice; two sealers meet at the name.
//! Jobs are marked by the job controller, from [`SealedAttempts`]; this module never writes a job.

mod books;
mod controller;
mod holds;
mod picture;
mod plan;
mod projection;
mod retention;
mod seal;
mod sealed;

pub use controller::{Accrual, AccrualError, run};
pub use holds::conditions;
pub use picture::{Debits, FACTS_LIVE, Policy, allowances};
pub use plan::{BatchLimits, Decision, Observed, OpenSettlement, Payable, Plan, accrue};
pub use retention::is_over;
pub use sealed::{AttemptId, Paid, Proof, SealedAttempts, payables};
