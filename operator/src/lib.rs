//! The hub's controllers. In: API objects, heartbeats, the hub store. Out: facts, pods, assignments, sealed settlements.
//!
//! `provider` turns claims into facts; `job` plans InferenceJobs and is the one writer of their status, through
//! `pods`, `dispatch` (assignments) and `verification` (results); `accrual` seals what is owed. May depend on core and crds.

pub mod accrual;
pub mod dispatch;
pub mod job;
pub mod keys;
pub mod leadership;
pub mod pods;
pub mod provider;
pub mod settings;
pub mod store;
pub mod verification;
