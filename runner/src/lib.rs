//! The small binary in each work pod, and in a job's splitter and publisher pods.
//!
//! In: a task or plan file under `/var/run/spillway` (it holds presigned URLs), an OpenAI-compatible engine on loopback,
//! or the tenant's store credentials in the environment. Out: results and shards by plain HTTP PUT, and a report in the
//! termination message. May depend on `core`.

pub mod engine;
pub mod publish;
pub mod report;
pub mod split;
pub mod store;
pub mod transfer;
pub mod work;
