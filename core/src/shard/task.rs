//! The runner's task (`/var/run/spillway/task.json`) and its report (the container's termination message, ≤ 4 KiB).

use serde::{Deserialize, Serialize};

use super::plan::opaque_debug;

/// One shard attempt. Holds presigned URLs: lies in a Secret, has no Debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkTask {
    /// Presigned GET.
    pub input_url: String,
    /// Presigned PUT.
    pub output_url: String,
    /// `sha256:<hex>` that the input must have.
    pub input_digest: String,
    pub requests: u32,
    /// Such as `http://127.0.0.1:8000`.
    pub engine_url: String,
    pub health_path: String,
    pub gpus: u32,
    /// Requests to the engine at the same time.
    pub concurrency: u32,
}

opaque_debug!(WorkTask);

/// How the attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum WorkReport {
    #[serde(rename_all = "camelCase")]
    Completed {
        input_digest: String,
        /// `sha256:<hex>` of the results object, byte for byte.
        output_digest: String,
        output_bytes: u64,
        requests: u64,
        failed_requests: u64,
        /// Unix seconds.
        started_unix: u64,
        finished_unix: u64,
        /// GPU-milliseconds: wall time from engine readiness to the last answer, times GPUs.
        metered_millis: u64,
        prompt_tokens: u64,
        completion_tokens: u64,
    },
    Failed {
        message: String,
    },
}
