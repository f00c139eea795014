//! Shows signed orders to the contracts: to the disputes contract when somebody challenges a line, and to the settlement
//! contract when a payer leaves or loses its key before a batch that it owes is posted.
//!
//! In: challenges and payers on chain, Settlements, leaves documents and stored receipts. Out: transactions that anybody
//! might send, so the key needs coins and no right; a condition `Disputed`. [`plan`] decides and is pure; [`evidence`] and
//! [`shower`] do the IO.

pub mod evidence;
pub mod plan;
mod shower;

pub use evidence::Evidence;
pub use shower::OrderShower;
