//! Plan files of the splitter and the publisher: `/var/run/spillway/plan.json`. They hold presigned URLs, so they
//! travel in Secrets and have no Debug output.

use serde::{Deserialize, Serialize};

use crate::results::ResultError;

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

/// What `runner publish` does: write `<output_uri>errors.jsonl` when there is something unfinished, GET the accepted
/// shards in order, write `<output_uri>results.jsonl`, PUT a [`PublishedReport`] to `report_url`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishPlan {
    /// Ends in a slash.
    pub output_uri: String,
    pub shards: Vec<PublishedShard>,
    /// Of a job that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    pub report_url: String,
}

/// Shards without an accepted result, and what the errors file says of each of their requests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfinished {
    /// Presigned GET URLs of their inputs, in order.
    pub input_urls: Vec<String>,
    pub error: ResultError,
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
    /// Requests without a result, of a job that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<PublishedErrors>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedErrors {
    pub uri: String,
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

opaque_debug!(SplitPlan, PublishPlan, PublishedShard, Unfinished);
