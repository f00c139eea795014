//! `GpuProvider`: spec by the hub's admin, status holds facts that the operator checked.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, Isolation, ProviderClass, Time};

/// One owner of GPUs.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spillway.dev",
    version = "v1alpha1",
    kind = "GpuProvider",
    plural = "gpuproviders",
    shortname = "gpup",
    category = "spillway",
    status = "GpuProviderStatus",
    printcolumn = r#"{"name":"Class","type":"string","jsonPath":".spec.class"}"#,
    printcolumn = r#"{"name":"Region","type":"string","jsonPath":".spec.region"}"#,
    printcolumn = r#"{"name":"GPUs","type":"integer","jsonPath":".status.gpus"}"#,
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".status.pricePerGpuHour"}"#,
    printcolumn = r#"{"name":"Joined","type":"string","jsonPath":".status.conditions[?(@.type==\"Joined\")].status"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 40 characters: it becomes part of node and namespace names")
)]
#[serde(rename_all = "camelCase")]
pub struct GpuProviderSpec {
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.class cannot be changed: join the provider again under another name"))]
    pub class: ProviderClass,
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub jurisdiction: Option<String>,
    /// Address that is paid: 0x and 40 hex digits.
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{40}$"))]
    pub payout_address: String,
    /// Highest isolation tier that the provider's cluster gives to work.
    #[serde(default, skip_serializing_if = "Isolation::is_standard")]
    pub isolation: Isolation,
    /// Whether the provider passed qualification; nobody has said so, or the opposite, while absent: then it counts as
    /// passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qualified: Option<bool>,
    /// How long before leaving the owner gives notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub notice: Option<String>,
}

pub mod provider_condition {
    /// An agent used its join token and the token is gone.
    pub const JOINED: &str = "Joined";
    /// Heartbeats are fresh and at least one GPU is offered.
    pub const READY: &str = "Ready";
    /// Every claimed round trip was checked from the other end.
    pub const LATENCY_KNOWN: &str = "LatencyKnown";
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GpuProviderStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The provider's namespace on the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Address whose signature receipts must carry; pinned at the first heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_signer: Option<String>,
    /// X25519 public key (base64) that URLs and secrets are sealed to; pinned at the first heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<String>,
    /// GPUs offered over all hosts.
    #[serde(default)]
    pub gpus: u32,
    /// Decimal USD, for printing; the integer lies in `unit_price_micro`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub price_per_gpu_hour: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price_micro: Option<u64>,
    /// Grows with every change of price or hosts.
    #[serde(default)]
    pub offer_revision: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostFact>,
    /// Checked round trips to named locations; a location that is missing is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["to"]))]
    pub latencies: Vec<LatencyFact>,
    #[serde(default)]
    pub reputation: ReputationFact,
    /// Stake that covers no running attempt yet, in micro-USD; an attempt whose upper bound is above it goes elsewhere.
    /// No limit while absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stake_headroom_micro: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<Time>,
}

/// One GPU host, mirrored by one virtual node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HostFact {
    /// The host's node name on the provider's cluster.
    pub name: String,
    /// The virtual node on the hub.
    pub node: String,
    /// GPU product as GPU feature discovery names it.
    pub product: String,
    pub gpus: u32,
    /// Memory per GPU.
    pub memory_mebibytes: u64,
    /// CUDA compute capability, such as `8.9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<String>,
    /// The host does not run yet: it appears when work is placed there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elastic: bool,
    /// How long an elastic host takes to appear, such as `3m`; paid like work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub start_time: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyFact {
    /// `hub`, or the location of a probe target.
    pub to: String,
    /// The probe target, `host:port`; absent for the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub median_micros: u64,
    pub p95_micros: u64,
    /// Mean difference between one round trip and the next.
    pub jitter_micros: u64,
    pub samples: u32,
    pub measured_at: Time,
}

/// Counts of settled checks; the score is recomputed from them.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReputationFact {
    pub accepted: u64,
    pub rejected: u64,
}
