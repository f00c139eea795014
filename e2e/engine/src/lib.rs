//! The small engine of the end-to-end tests: all-MiniLM-L6-v2 on the CPU behind OpenAI's embeddings API.
//!
//! In: HTTP requests, and a folder of model files laid out by `weights.sh`. Out: vectors.
//! It stands in for a foreign engine (vLLM, TEI), so it depends on nothing of ours and nothing of ours depends on it.
//! [`compare`] holds results against the golden vectors of `reference/`, which another implementation computed.

pub mod api;
pub mod compare;
pub mod gate;
pub mod model;
pub mod server;
