//! The ground of the bench and of the test of the ledgers; see README.md.

#![allow(missing_debug_implementations, reason = "processes and their clients")]

pub mod chain;
pub mod hub;
pub mod marks;
