//! Status of an `InferenceJob`: written by the operator alone, readable as the job's whole story.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, DataClass, ProviderClass, Receipt, Time};

/// Condition types of an InferenceJob; reasons are listed in `docs/src/reference/conditions.md`.
pub mod job_condition {
    /// The spec is valid and a SpendPolicy pays for it.
    pub const ACCEPTED: &str = "Accepted";
    /// The input was split into shards.
    pub const SPLIT: &str = "Split";
    /// Every shard that needs an attempt has offers that fit.
    pub const PLACEABLE: &str = "Placeable";
    /// Every shard has an accepted result, and the results are published.
    pub const COMPLETE: &str = "Complete";
    /// The job will fail: its work is stopped, results that are there already are still judged. As of a Kubernetes Job.
    pub const FAILURE_TARGET: &str = "FailureTarget";
    /// The job cannot complete any more.
    pub const FAILED: &str = "Failed";
    /// What a failed job has is published: its accepted results, and the requests that have none.
    pub const PUBLISHED: &str = "Published";
    /// Everything that was accepted is paid on chain, with finality.
    pub const SETTLED: &str = "Settled";
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InferenceJobStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// For printing only; conditions are the facts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// SpendPolicy that pays, and the payer's address, fixed at acceptance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<Payer>,
    /// Data class that holds for the job: the stricter of its own and the hub's default, fixed at acceptance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_class: Option<DataClass>,
    #[serde(default)]
    pub summary: ShardSummary,
    // Atomic: the operator alone writes it, and as a whole. A map would note who owns which field of which shard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub shards: Vec<ShardStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementExplanation>,
    #[serde(default)]
    pub usage: Usage,
    #[serde(default)]
    pub cost: Cost,
    /// Where the published results lie: all of a complete job, the accepted ones of a failed job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<PublishedResults>,
    /// Sequences of the Settlements that pay for this job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settlements: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Payer {
    pub spend_policy: String,
    /// 0x-prefixed address.
    pub address: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShardSummary {
    pub total: u32,
    pub pending: u32,
    pub running: u32,
    pub verifying: u32,
    pub accepted: u32,
    pub failed: u32,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    pub index: u32,
    pub state: ShardState,
    /// `sha256:<hex>` of the shard's input bytes.
    pub input_digest: String,
    pub input_bytes: u64,
    pub requests: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptStatus>,
    /// The attempt whose result was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_attempt: Option<u16>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardState {
    #[default]
    Pending,
    Running,
    /// A Work attempt completed; its check is pending.
    Verifying,
    Accepted,
    Failed,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AttemptStatus {
    /// Counted per shard from 0 over all kinds.
    pub number: u16,
    pub kind: AttemptKind,
    pub state: AttemptState,
    /// With `placement.burst`: the one provider class that this attempt was planned for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ProviderClass>,
    /// UID of the hub pod, once seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Candidate nodes in rank order, pinned at creation; empty once it has a node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Names the record in the hub store that says among whom they were chosen, by its first attempt `<shard>-<attempt>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub candidates_record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Micro-USD per GPU-hour, locked at dispatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price_micro: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer_revision: Option<u64>,
    /// The most this attempt may cost: reserved while it lives.
    #[serde(default)]
    pub upper_bound_micro: u64,
    /// Payout address and expiry (Unix seconds) of the signed order: with the price, the bound and the payer they
    /// make the order, and so the leaf that pays it, again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_expiry: Option<u64>,
    /// Why the node won: `price 0.90, latency 4 ms, reputation unknown, score 0.81, best of 2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<Receipt>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<Verdict>>,
    /// GPU-milliseconds that the amount follows from: min(runner's meter, wall time that the hub saw, what the bound
    /// pays for); fixed with the amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billed_millis: Option<u64>,
    /// What is owed for this attempt; fixed when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_micro: Option<u64>,
    /// Sequence of the Settlement that pays it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settlement: Option<u64>,
    /// Merkle proof of this attempt's leaf under that Settlement's `jobsRoot`: 0x-prefixed 32-byte hashes, leaf side first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub proof: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptKind {
    #[default]
    Work,
    Check,
    Arbitrate,
    Repair,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttemptState {
    /// Written down before the pod is created; the pod may or may not exist.
    #[default]
    Expected,
    /// The pod is bound and a WorkAssignment exists.
    Assigned,
    Running,
    /// The agent reported a signed receipt.
    Completed,
    Failed,
    /// The provider went silent.
    Lost,
    /// Ended by us: job deleted, candidates ran dry, refused by a check at dispatch.
    Cancelled,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub accepted: bool,
    /// `ExactDigest`, `Tolerance`, `Mismatch`, `InvalidReceipt`.
    pub method: String,
    pub message: String,
    /// The attempt it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<u16>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlacementExplanation {
    /// `0 of 14 offers fit: 6 over the price cap, 5 below 24Gi of GPU memory, 3 of unknown latency`.
    pub message: String,
    pub offers: u32,
    pub fitting: u32,
    /// Offers per exclusion reason.
    #[serde(default)]
    pub excluded: std::collections::BTreeMap<String, u32>,
    /// The smallest change of the spec that would make an offer fit; absent when one fits, or when no change helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<PlacementChange>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlacementChange {
    /// `raise spec.price.maxPerGpuHour from 1.20 to 1.35: 3 offers fit then`.
    pub message: String,
    /// Offers that fit once all of these fields are changed.
    pub fitting: u32,
    #[schemars(length(max = 16))]
    pub fields: Vec<FieldChange>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Path, such as `spec.price.maxPerGpuHour`.
    pub field: String,
    pub action: FieldAction,
    /// Absent for a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Value to write, or to add to a list; absent when the field is to be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldAction {
    Raise,
    Lower,
    Add,
    Remove,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub requests: u64,
    pub failed_requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub gpu_millis: u64,
}

/// Micro-USD, and the total as a decimal string for printing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub reserved_micro: u64,
    pub work_micro: u64,
    pub checks_micro: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub total: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PublishedResults {
    pub uri: String,
    /// `sha256:<hex>` of the published object.
    pub digest: String,
    pub lines: u64,
    /// Requests of a failed job that have no accepted result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<PublishedErrors>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PublishedErrors {
    pub uri: String,
    pub lines: u64,
}
