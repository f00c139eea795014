//! The record that the operator keeps of an attempt's candidates, from the hub's object store.
//!
//! Tenants have no key to that store and need none: the winner's terms and the counts stand in the job's status. Whoever
//! runs the hub reads the record with the operator's own settings.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use kube::ResourceExt;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use spillway_crds::{AttemptKind, InferenceJob, Time};

/// 5,000 candidates of about 300 bytes have 1.5 MB.
const LIMIT: u64 = 16 << 20;

/// What was known when the attempt was planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidates {
    pub(super) kind: AttemptKind,
    pub(super) planned_at: Time,
    /// Offers looked at.
    pub(super) offers: u32,
    /// Offers that did not fit, per reason.
    pub(super) excluded: BTreeMap<String, u32>,
    /// Everyone who fits, best first.
    pub(super) candidates: Vec<CandidateTerms>,
    /// Attempts that were planned over these candidates.
    pub(super) attempts: Vec<PinnedAttempt>,
}

/// Places in `candidates` that an attempt was pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PinnedAttempt {
    pub(super) shard: u32,
    pub(super) attempt: u16,
    pub(super) pinned: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateTerms {
    pub(super) node: String,
    pub(super) provider: String,
    pub(super) offer_revision: u64,
    pub(super) unit_price_micro: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_p95_micros: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reputation: Option<f64>,
    pub(super) price_term: f64,
    pub(super) latency_term: f64,
    pub(super) reputation_term: f64,
    pub(super) score: f64,
}

/// Reads the record of an attempt, the shard's last one where none is named.
pub(super) async fn fetch(
    store: &str,
    job: &InferenceJob,
    shard: u32,
    attempt: Option<u16>,
) -> anyhow::Result<Candidates> {
    let name = record_name(job, shard, attempt)?;
    let (bucket, prefix) = bucket_and_prefix(store)?;
    let objects = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .build()
        .context("--store")?;
    let key = format!("jobs/{}/candidates/{name}.json", job.uid().unwrap_or_default());
    let path = Path::from_iter(prefix.parts().chain(Path::from(key.as_str()).parts()));
    let found = objects
        .get(&path)
        .await
        .with_context(|| format!("read {path} from {store}"))?;
    let bytes = found.meta.size;
    ensure!(
        bytes <= LIMIT,
        "{path} has {bytes} bytes, more than the {LIMIT} that are read"
    );
    let body = found
        .bytes()
        .await
        .with_context(|| format!("read {path} from {store}"))?;
    serde_json::from_slice(&body).with_context(|| format!("{path} is no record of candidates"))
}

fn record_name(job: &InferenceJob, shard: u32, attempt: Option<u16>) -> anyhow::Result<String> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    let found = shards.into_iter().find(|candidate| candidate.index == shard);
    let attempts = found.map(|shard| shard.attempts.as_slice()).unwrap_or_default();
    let found = match attempt {
        Some(number) => attempts.iter().find(|candidate| candidate.number == number),
        None => attempts.last(),
    };
    let found = found.with_context(|| match attempt {
        Some(number) => format!("--attempt {number}: shard {shard} has no such attempt"),
        None => format!("--store: shard {shard} has no attempt yet"),
    })?;
    Ok(found
        .candidates_record
        .clone()
        .unwrap_or_else(|| format!("{shard}-{}", found.number)))
}

fn bucket_and_prefix(url: &str) -> anyhow::Result<(&str, Path)> {
    let form = || format!("--store `{url}`: write s3://bucket or s3://bucket/prefix");
    let rest = url.strip_prefix("s3://").with_context(form)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    ensure!(!bucket.is_empty(), form());
    Ok((bucket, Path::parse(prefix.trim_end_matches('/')).with_context(form)?))
}
