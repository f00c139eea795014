//! The domain of Spillway: money, market, shards, attempts, verification, orders, receipts, batches.
//!
//! In: plain values (observed offers, receipts, times given by the caller). Out: decisions as values.
//! No IO, no clock, no randomness, no async, no Kubernetes client; may depend on nothing of ours.

pub mod batch;
pub mod duration;
pub mod earnings;
pub mod invoice;
pub mod knowledge;
pub mod latency;
pub mod market;
pub mod memory;
pub mod merkle;
pub mod money;
pub mod offence;
pub mod order;
pub mod receipt;
pub mod reconcile;
pub mod reputation;
pub mod results;
pub mod sealing;
pub mod shard;
pub mod signature;
pub mod sum_tree;

#[cfg(test)]
mod vectors;
