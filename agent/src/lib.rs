//! The agent's parts; `main.rs` wires them. A library so that tests drive them against a real API server.

pub mod bundle;
pub mod credential;
pub mod elastic;
pub mod heartbeat;
pub mod hub;
pub mod inventory;
pub mod keys;
pub mod label_node;
pub mod metrics;
pub mod pong;
pub mod request;
pub mod settings;
pub mod work;

/// As which API servers know the agent.
pub const PROGRAM: &str = "spillway-agent";
