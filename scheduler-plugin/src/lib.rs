//! The scheduler extender: answers kube-scheduler's `/filter` and `/prioritize` with facts of this instant.
//!
//! In: watches of GpuProvider, InferenceJob and WorkAssignment; a pod and node names per request. Out: the nodes whose
//! offers the pod's job accepts, why the others do not fit, and the order of those that do. It decides nothing about
//! money: dispatch checks every hard need again. May depend on `core` (which holds the decisions), `crds`, `process`.
//!
//! Way of a request: [`wire`] → [`snapshot`] (read without lock, without a call to the API server) → [`filter`] or
//! [`prioritize`], pure functions → [`wire`]. Way of a fact: watch → [`projection`] → [`world`] → a new snapshot, at
//! most every 20 ms. The kube-scheduler's side is described in `README.md` beside this crate.

pub mod attempt;
pub mod filter;
pub mod given;
pub mod metrics;
pub mod nesting;
pub mod offers;
pub mod prioritize;
pub mod projection;
pub mod publish;
pub mod reply;
pub mod server;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wire;
pub mod world;

pub use filter::filter;
pub use prioritize::prioritize;
pub use snapshot::Snapshot;
