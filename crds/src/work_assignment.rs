//! `WorkAssignment`: one attempt handed to one provider. Spec by the operator, immutable; status by the agent.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptKind, Engine, Isolation, Time};

/// The finalizer that the operator holds; it is released once the agent answered `Gone`, or the provider fell silent for good.
pub const ASSIGNMENT_FINALIZER: &str = "spillway.dev/assignment";

#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spillway.dev",
    version = "v1alpha1",
    kind = "WorkAssignment",
    plural = "workassignments",
    shortname = "work",
    category = "spillway",
    namespaced,
    status = "WorkAssignmentStatus",
    printcolumn = r#"{"name":"Job","type":"string","jsonPath":".spec.job.name"}"#,
    printcolumn = r#"{"name":"Shard","type":"integer","jsonPath":".spec.shard"}"#,
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.kind"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the spec of an assignment never changes"))]
pub struct WorkAssignmentSpec {
    pub job: JobReference,
    pub shard: u32,
    pub attempt: u16,
    pub kind: AttemptKind,
    /// Node of the provider's cluster that must compute it.
    pub host: String,
    pub engine: Engine,
    /// Count of `nvidia.com/gpu`.
    pub gpus: u32,
    pub cpu: String,
    pub memory: String,
    /// An agent whose cluster cannot give it refuses.
    #[serde(default, skip_serializing_if = "Isolation::is_standard")]
    pub isolation: Isolation,
    pub input: ShardInput,
    pub order: SignedOrder,
    /// URLs, sealed to the provider's key; clear text is `SealedUrls` as JSON.
    pub sealed: SealedPayload,
    /// `host:port` pairs that the work pod must reach; everything else stays closed.
    #[schemars(length(max = 8))]
    pub egress: Vec<String>,
    /// The agent stops the work at this time, unasked.
    pub not_after: Time,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct JobReference {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ShardInput {
    /// `sha256:<hex>`.
    pub digest: String,
    pub bytes: u64,
    pub requests: u32,
}

/// An EIP-712 `Order` and its signature, as `spillway_core::order` defines it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SignedOrder {
    pub chain_id: u64,
    /// Settlement contract, the EIP-712 `verifyingContract`.
    pub contract: String,
    pub payer: String,
    /// Payout address of the provider.
    pub provider: String,
    /// Micro-USD per GPU-hour.
    pub unit_price_micro: u64,
    pub upper_bound_micro: u64,
    /// Unix seconds.
    pub expiry: u64,
    /// 0x-prefixed 65 bytes.
    pub signature: String,
}

/// HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305 (RFC 9180).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SealedPayload {
    /// base64.
    pub encapsulated_key: String,
    /// base64.
    pub ciphertext: String,
}

/// Clear text of [`SealedPayload`]; never stored unsealed in the API.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SealedUrls {
    /// GET of the shard's input.
    pub input: String,
    /// PUT of the shard's results.
    pub output: String,
}

impl std::fmt::Debug for SealedUrls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SealedUrls { .. }")
    }
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkAssignmentStatus {
    #[serde(default)]
    pub state: AssignmentState,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<Receipt>>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssignmentState {
    #[default]
    Pending,
    /// Order and price were checked; the local pod is being made.
    Accepted,
    Running,
    Completed,
    Failed,
    /// The agent will not do it: order, price or capacity; see reason.
    Refused,
    /// Nothing of it is left on the provider's cluster.
    Gone,
}

impl AssignmentState {
    /// Whether the GPUs of the assignment are in use, or may be at any time.
    pub fn holds_gpus(self) -> bool {
        matches!(self, Self::Pending | Self::Accepted | Self::Running)
    }
}

/// An EIP-712 `Receipt` and its signature, as `spillway_core::receipt` defines it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// `sha256:<hex>`.
    pub input_digest: String,
    /// `sha256:<hex>` of the canonical results.
    pub output_digest: String,
    pub output_bytes: u64,
    pub requests: u64,
    pub failed_requests: u64,
    /// Unix seconds.
    pub started: u64,
    pub finished: u64,
    /// GPU-milliseconds metered by the runner.
    pub metered_millis: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// 0x-prefixed 65 bytes by the provider's receipt key.
    pub signature: String,
}
