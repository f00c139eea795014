//! From a receipt to a verdict: is it valid, do two results agree, what is written down of it.
//!
//! In: an attempt in state Completed, the results object in the hub store. Out: [`Examined`] and [`Compared`] as values
//! for the planner; a [`StoredReceipt`](spillway_crds::StoredReceipt) and a verdict object in the store; counts for a provider's reputation.
//! What cannot be asked now is `Unknown`, never a rejection.

mod comparison;
mod examination;
mod record;
mod reputation;

pub use comparison::{Compared, compare};
pub use examination::{Examination, Examined, examine};
pub use record::{RecordError, record_accepted, record_rejected, stored_receipt};
pub use reputation::{keep_reputation, reputation_counts};

/// Most bytes of one shard's results that the operator reads.
pub const RESULTS_LIMIT: u64 = 64 << 20;

#[cfg(test)]
pub(crate) use examination::tests as test_facts;
