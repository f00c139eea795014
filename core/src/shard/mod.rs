//! Shards: cutting OpenAI batch JSONL at line ends, the manifest that names them, and the files handed to the runner.

mod manifest;
mod plan;
mod split;
mod task;

pub use manifest::{MAX_SHARDS, ManifestError, ShardEntry, ShardManifest};
pub use plan::{PublishPlan, PublishedErrors, PublishedReport, PublishedShard, ShardCount, SplitPlan, Unfinished};
pub use split::{SplitError, split};
pub use task::{WorkReport, WorkTask};

use sha2::{Digest, Sha256};

/// `sha256:<64 hex digits>` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
