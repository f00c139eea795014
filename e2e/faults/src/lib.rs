//! The settlement process under faults: what the tests stand on. `README.md` says what is where.
//!
//! In: binaries of anvil, etcd and kube-apiserver. Out: worlds in which a poster runs, and the oracle of what the chain
//! must hold. Test code: may depend on everything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    missing_debug_implementations,
    reason = "a test may fail by panic"
)]

pub mod crash;
pub mod ground;
mod http_connection;
pub mod node;
pub mod oracle;
pub mod ordered;
pub mod proxy;
pub mod watched;
pub mod world;
