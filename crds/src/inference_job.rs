//! `InferenceJob`: what a team applies. Its status lies in `inference_job_status`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::InferenceJobStatus;

/// What stays as it was applied: everything but the budget, the deadline and `ttlSecondsAfterFinished`.
const KEPT: &str = "self.mode == oldSelf.mode && self.engine == oldSelf.engine && self.input == oldSelf.input \
    && self.output == oldSelf.output && self.resources == oldSelf.resources && self.placement == oldSelf.placement \
    && self.data == oldSelf.data && self.verification == oldSelf.verification \
    && has(self.sla) == has(oldSelf.sla) && (!has(self.sla) || self.sla == oldSelf.sla) \
    && self.price.maxPerGpuHour == oldSelf.price.maxPerGpuHour \
    && self.execution.shards == oldSelf.execution.shards && self.execution.parallelism == oldSelf.execution.parallelism \
    && self.execution.retries == oldSelf.execution.retries \
    && self.execution.shardTimeout == oldSelf.execution.shardTimeout";

/// A batch of inference requests to compute on offered GPUs under a price.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spillway.dev",
    version = "v1alpha1",
    kind = "InferenceJob",
    plural = "inferencejobs",
    shortname = "ijob",
    category = "spillway",
    namespaced,
    status = "InferenceJobStatus",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Accepted","type":"integer","jsonPath":".status.summary.accepted"}"#,
    printcolumn = r#"{"name":"Shards","type":"integer","jsonPath":".status.summary.total"}"#,
    printcolumn = r#"{"name":"Cost","type":"string","jsonPath":".status.cost.total"}"#,
    printcolumn = r#"{"name":"Settled","type":"string","jsonPath":".status.conditions[?(@.type==\"Settled\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Complete\")].message","priority":1}"#,
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters: pods are named <job>-<shard>-<attempt>")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(KEPT).message("spec cannot be changed after the job was applied, but for price.budget, execution.deadline and ttlSecondsAfterFinished: delete the job, or apply it under a new name"),
    validation = Rule::new("quantity(self.price.budget).compareTo(quantity(oldSelf.price.budget)) >= 0").message("spec.price.budget can be raised, not lowered: what it covers may be promised already"),
    validation = Rule::new("quantity(self.price.budget).compareTo(quantity('1000000000000')) <= 0").message("spec.price.budget must be at most 1000000000000"),
    validation = Rule::new("duration(self.execution.deadline) >= duration(oldSelf.execution.deadline)").message("spec.execution.deadline can be made longer, not shorter: delete the job to end it"),
    validation = Rule::new("has(self.input.inline) || has(self.output.secretRef)").message("spec.output.secretRef must name a Secret with the credentials of the output store (keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, optional AWS_ENDPOINT_URL, AWS_REGION)")
)]
pub struct InferenceJobSpec {
    /// Batch is the only mode; Online is reserved.
    #[serde(default)]
    pub mode: JobMode,
    pub engine: Engine,
    pub input: JobInput,
    pub output: JobOutput,
    #[serde(default)]
    pub resources: JobResources,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default)]
    pub data: DataPolicy,
    pub price: PriceLimit,
    #[serde(default)]
    pub execution: Execution,
    #[serde(default)]
    pub verification: VerificationPolicy,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla: Option<ServiceLevel>,
    /// The job is deleted this long after it is complete or failed, but never before it is settled and what it has is
    /// published. Kept until somebody deletes it when absent. May be changed at any time. As of a Kubernetes Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ttl_seconds_after_finished: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobMode {
    #[default]
    Batch,
}

/// Any container that serves the OpenAI HTTP API.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    /// Container image, best pinned by digest: `registry/engine@sha256:…`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\s]+$"))]
    pub image: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EngineEnv>,
    /// TCP port of the engine's HTTP server.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: u16,
    /// HTTP path that answers 200 once the engine is ready.
    #[serde(default = "default_health_path")]
    #[schemars(length(max = 256), regex(pattern = r"^/"))]
    pub health_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
}

fn default_port() -> u16 {
    8000
}

fn default_health_path() -> String {
    "/health".to_owned()
}

/// A plain, public environment variable. Nothing secret belongs here.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct EngineEnv {
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    #[schemars(length(max = 4096))]
    pub value: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Model {
    #[schemars(length(min = 1, max = 1024))]
    pub uri: String,
    /// `sha256:<64 hex digits>` of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
}

/// OpenAI batch JSONL, either in an object store or written here.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.uri) != has(self.inline)").message("give exactly one of input.uri (s3://bucket/key) and input.inline"),
    validation = Rule::new("!has(self.uri) || has(self.secretRef)").message("input.secretRef must name a Secret with the credentials of the input store")
)]
pub struct JobInput {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^s3://[^/]+/.+"))]
    pub uri: Option<String>,
    /// JSONL lines, for small jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262144))]
    pub inline: Option<String>,
    /// Name of a Secret in the job's namespace: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_ref: Option<String>,
}

/// Where accepted results are published: `<uri>results.jsonl`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobOutput {
    /// A folder: ends in a slash.
    #[schemars(length(max = 1024), regex(pattern = r"^s3://[^/]+/(.*/)?$"))]
    pub uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_ref: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobResources {
    /// GPUs per shard attempt.
    #[serde(default = "default_gpus")]
    #[schemars(range(min = 1, max = 16))]
    pub gpus: u32,
    /// Accepted GPU products, as GPU feature discovery names them; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub models: Vec<String>,
    /// Least memory per GPU, such as `24Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$"))]
    pub min_memory: Option<String>,
    /// Least CUDA compute capability, such as `8.9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,2}\.[0-9]{1,2}$"))]
    pub min_compute_capability: Option<String>,
    /// Processor for the engine container.
    #[serde(default = "default_cpu")]
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]+m?$"))]
    pub cpu: String,
    /// Main memory for the engine container.
    #[serde(default = "default_memory")]
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$"))]
    pub memory: String,
}

fn default_gpus() -> u32 {
    1
}

fn default_cpu() -> String {
    "500m".to_owned()
}

fn default_memory() -> String {
    "1Gi".to_owned()
}

impl Default for JobResources {
    fn default() -> Self {
        Self {
            gpus: default_gpus(),
            models: Vec::new(),
            min_memory: None,
            min_compute_capability: None,
            cpu: default_cpu(),
            memory: default_memory(),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    #[serde(default)]
    pub policy: PlacementPolicy,
    /// What matters how much among the offers that fit; taken instead of `policy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PlacementWeights>,
    /// Provider classes that may compute; empty means any that `data.class` allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub classes: Vec<ProviderClass>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub regions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub jurisdictions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<LatencyBound>,
    /// Least lower bound of a provider's reputation, from "0" to "1". A provider without a check does not meet it, not
    /// even "0".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"))]
    pub min_reputation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
}

/// Relative weights of the three terms of the score: 2, 1, 1 says the same as 50, 25, 25.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("self.price + self.latency + self.reputation > 0").message("placement.weights: at least one of price, latency and reputation must be above 0")
)]
pub struct PlacementWeights {
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub price: u32,
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub latency: u32,
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub reputation: u32,
}

/// What matters most among the offers that fit.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlacementPolicy {
    Cost,
    Latency,
    #[default]
    Balanced,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderClass {
    /// The company's own cluster.
    Private,
    /// A hyperscaler or rented cluster with a contract.
    Cloud,
    /// An independent owner.
    Decentralized,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct LatencyBound {
    /// `hub`, or another location that providers measure: a region, or a probe target of the hub's admin.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub to: String,
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub p95: String,
}

/// Own capacity first, the next allowed class (Private, Cloud, Decentralized) when it does not suffice. Each new attempt
/// decides anew.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.after) || has(self.queueLength)").message("placement.burst: give after, queueLength or both, such as {after: 5m}")
)]
pub struct Burst {
    /// How long a shard waits for a class before the next one may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub after: Option<String>,
    /// The next class may be used earlier while more shards of the job than this wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 256))]
    pub queue_length: Option<u32>,
    /// Cap for attempts beyond the first class, in place of `price.maxPerGpuHour`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]{1,6})?$"))]
    pub max_per_gpu_hour: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DataPolicy {
    /// Restricted data stays on Private providers, Internal data on Private and Cloud. The hub's default when absent; a
    /// job may be stricter than that, never looser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<DataClass>,
    /// Least isolation of the work from the provider's host and other work.
    #[serde(default)]
    pub isolation: Isolation,
    /// 0: nothing secret; 1: sealed to the provider's key. Higher tiers are refused, never lowered.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3))]
    pub secret_tier: u8,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataClass {
    #[default]
    Public,
    Internal,
    Restricted,
}

/// In order: each tier meets the needs of those before it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Containers under the restricted Pod Security profile.
    #[default]
    Standard,
    /// A kernel of its own or a user-space one, such as Kata Containers or gVisor.
    Sandboxed,
    /// Memory that the host cannot read, such as confidential virtual machines.
    Confidential,
}

impl Isolation {
    pub const fn is_standard(&self) -> bool {
        matches!(self, Self::Standard)
    }
}

/// USD as decimal strings.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PriceLimit {
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]{1,6})?$"))]
    pub max_per_gpu_hour: String,
    /// Most that the whole job may cost, checks included. May be raised later.
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]{1,6})?$"))]
    pub budget: String,
}

#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("type(self.shards) == string ? self.shards == 'auto' : (self.shards >= 1 && self.shards <= 256)").message("execution.shards must be \"auto\" or a number from 1 to 256")
)]
pub struct Execution {
    /// Number of shards, or `auto`.
    #[serde(default = "default_shards")]
    pub shards: IntOrString,
    /// Shard attempts of kind Work that run at the same time.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 256))]
    pub parallelism: u32,
    /// Further Work attempts per shard after the first.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// Longest time of one shard attempt.
    #[serde(default = "default_shard_timeout")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub shard_timeout: String,
    /// Longest time of the whole job, counted from its creation: then work stops, and results that are there are still
    /// judged. May be made longer before it is over.
    #[serde(default = "default_deadline")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub deadline: String,
}

fn default_shards() -> IntOrString {
    IntOrString::String("auto".to_owned())
}

fn default_parallelism() -> u32 {
    8
}

fn default_retries() -> u32 {
    3
}

fn default_shard_timeout() -> String {
    "15m".to_owned()
}

fn default_deadline() -> String {
    "24h".to_owned()
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            shards: default_shards(),
            parallelism: default_parallelism(),
            retries: default_retries(),
            shard_timeout: default_shard_timeout(),
            deadline: default_deadline(),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VerificationPolicy {
    #[serde(default)]
    pub policy: VerificationMode,
    /// Largest part of the job's cost that checks may take, from "0" to "1".
    #[serde(default = "default_max_share")]
    #[schemars(length(max = 8), regex(pattern = r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"))]
    pub max_share: String,
}

fn default_max_share() -> String {
    "1".to_owned()
}

impl Default for VerificationPolicy {
    fn default() -> Self {
        Self {
            policy: VerificationMode::default(),
            max_share: default_max_share(),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerificationMode {
    /// New providers: every shard is computed a second time by another owner and compared.
    #[default]
    Default,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ServiceLevel {
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub completion: String,
    /// Part of the price credited on a breach, from "0" to "1".
    #[schemars(length(max = 8), regex(pattern = r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"))]
    pub credit: String,
}
