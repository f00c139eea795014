//! Plan files of the splitter and the publisher: `/var/run/spillway/plan.json`. They hold presigned URLs, so they
//! travel in Secrets and have no Debug output.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShardCount {
    Auto,
    Count(u32),
}

/// What `runner split` does: read `input_uri` with the credentials in its environment, PUT shard n to `shard_urls[n]`,
/// then PUT the manifest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitPlan {
    pub input_uri: String,
    pub shards: ShardCount,
    /// Presigned PUT URLs, one per possible shard.
    pub shard_urls: Vec<String>,
    /// Presigned PUT URL of the manifest; written last.
    pub manifest_url: String,
}

/// What `runner publish` does: GET the accepted shards in order, write `<output_uri>results.jsonl`, PUT a
/// [`PublishedReport`] to `report_url`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishPlan {
    /// Ends in a slash.
    pub output_uri: String,
    pub shards: Vec<PublishedShard>,
    pub report_url: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedShard {
    /// Presigned GET URL of the accepted results.
    pub url: String,
    /// `sha256:<hex>` that the bytes must have.
    pub digest: String,
}

/// What was published, written by the publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedReport {
    pub uri: String,
    /// `sha256:<hex>` of the whole object.
    pub digest: String,
    pub lines: u64,
}

macro_rules! opaque_debug {
    ($($kind:ident),*) => {$(
        impl std::fmt::Debug for $kind {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(concat!(stringify!($kind), " { .. }"))
            }
        }
    )*};
}
pub(super) use opaque_debug;

opaque_debug!(SplitPlan, PublishPlan, PublishedShard);
