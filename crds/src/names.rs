//! Names, labels and annotations that several processes must agree on.

/// schedulerName of work pods on the hub.
pub const SCHEDULER_NAME: &str = "spillway-scheduler";
/// Where operator, scheduler and settlement run, and where Settlements live.
pub const SYSTEM_NAMESPACE: &str = "spillway-system";
/// Prefix of a provider's namespace on the hub.
pub const PROVIDER_NAMESPACE_PREFIX: &str = "spillway-provider-";
/// Namespace of work pods on a provider's cluster.
pub const WORK_NAMESPACE: &str = "spillway-work";

pub const LABEL_JOB_UID: &str = "spillway.dev/job-uid";
pub const LABEL_JOB_NAME: &str = "spillway.dev/job";
pub const LABEL_SHARD: &str = "spillway.dev/shard";
pub const LABEL_ATTEMPT: &str = "spillway.dev/attempt";
pub const LABEL_KIND: &str = "spillway.dev/kind";
pub const LABEL_PROVIDER: &str = "spillway.dev/provider";
pub const LABEL_ASSIGNMENT_UID: &str = "spillway.dev/assignment-uid";
/// `true` on every virtual node.
pub const LABEL_VIRTUAL: &str = "spillway.dev/virtual";
/// Taint of every virtual node, NoSchedule.
pub const TAINT_VIRTUAL: &str = "spillway.dev/virtual";
/// Taint of a node whose provider fell silent, NoSchedule.
pub const TAINT_DARK: &str = "spillway.dev/dark";
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// Objects that the operator makes in a provider's namespace.
pub const INVENTORY_NAME: &str = "inventory";
pub const HEARTBEAT_LEASE: &str = "heartbeat";
/// The hub's measurement of its distance to the agent: a nonce in one annotation, written back in the other.
pub const PING_LEASE: &str = "ping";
pub const PING_ANNOTATION: &str = "spillway.dev/ping";
pub const PONG_ANNOTATION: &str = "spillway.dev/pong";
pub const JOIN_SERVICE_ACCOUNT: &str = "join";
pub const AGENT_SERVICE_ACCOUNT: &str = "agent";
/// Secrets that tokens are bound to: deleting one ends its tokens.
pub const JOIN_SECRET: &str = "join";
pub const AGENT_SECRET: &str = "agent";

/// Field managers, one per component.
pub const OPERATOR_FIELD_MANAGER: &str = "spillway-operator";
pub const AGENT_FIELD_MANAGER: &str = "spillway-agent";
pub const SETTLEMENT_FIELD_MANAGER: &str = "spillway-settlement";

pub fn provider_namespace(provider: &str) -> String {
    format!("{PROVIDER_NAMESPACE_PREFIX}{provider}")
}

/// Virtual node of a host; a long host name is cut and told apart by the caller's uniqueness check.
pub fn virtual_node(provider: &str, host: &str) -> String {
    format!("spillway-{provider}-{host}")
}

/// `<job>-<shard>-<attempt>`: the name of a hub pod; AlreadyExists is the fence of an attempt.
pub fn attempt_pod(job: &str, shard: u32, attempt: u16) -> String {
    format!("{job}-{shard}-{attempt}")
}

/// Name of a WorkAssignment: the job's UID makes it unique over namespaces and re-created jobs.
pub fn assignment(job_uid: &str, shard: u32, attempt: u16) -> String {
    format!("{job_uid}-{shard}-{attempt}")
}

/// Name of a Settlement; AlreadyExists is the fence of a sequence.
pub fn settlement(sequence: u64) -> String {
    format!("settlement-{sequence}")
}
