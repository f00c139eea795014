//! `ProviderInventory`: claims of an agent, in its hub namespace. Created by the operator, updated by the agent.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Time;

/// What an agent says of its cluster; nothing here is a fact until the operator checked it.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "spillway.dev",
    version = "v1alpha1",
    kind = "ProviderInventory",
    plural = "providerinventories",
    category = "spillway",
    namespaced,
    status = "ProviderInventoryStatus",
    derive = "Default",
    printcolumn = r#"{"name":"Price","type":"string","jsonPath":".spec.pricePerGpuHour"}"#,
    printcolumn = r#"{"name":"Agent","type":"string","jsonPath":".spec.agentVersion"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInventorySpec {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub agent_version: String,
    /// Address (0x…) of the key that signs receipts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{40}$"))]
    pub receipt_signer: Option<String>,
    /// X25519 public key, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sealing_key: Option<String>,
    /// Decimal USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]{1,6})?$"))]
    pub price_per_gpu_hour: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub hosts: Vec<HostClaim>,
    /// Pools whose hosts appear on demand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub elastic: Vec<ElasticClaim>,
    /// Measured round trips.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    pub latencies: Vec<LatencyClaim>,
    /// Where others may open a connection to measure their distance to this cluster, `host:port`; absent unless the
    /// owner opened one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$")
    )]
    pub probe_address: Option<String>,
}

/// What the operator asks of the agent.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInventoryStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub probe_targets: Vec<ProbeTarget>,
}

/// A place to which round trips are measured by opening TCP connections.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeTarget {
    #[schemars(length(min = 1, max = 63))]
    pub location: String,
    /// `host:port`.
    #[schemars(length(max = 253))]
    pub address: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HostClaim {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    #[schemars(length(min = 1, max = 63))]
    pub product: String,
    /// Allocatable `nvidia.com/gpu` of a schedulable, ready host.
    #[schemars(range(max = 64))]
    pub gpus: u32,
    pub memory_mebibytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub compute_capability: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub driver_version: Option<String>,
    pub cpu_millis: u64,
    pub main_memory_mebibytes: u64,
}

/// Hosts of one kind that the provider's cluster brings up when work asks for them.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ElasticClaim {
    /// Hosts are named `<name>-0`, `<name>-1`, …
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// GPU product as GPU feature discovery will name it.
    #[schemars(length(min = 1, max = 63))]
    pub product: String,
    pub memory_mebibytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub compute_capability: Option<String>,
    #[schemars(range(min = 1, max = 64))]
    pub gpus_per_host: u32,
    #[schemars(range(min = 1, max = 256))]
    pub max_hosts: u32,
    /// From placing work to its pod running, such as `3m`.
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(h|ms|m|s))+$"))]
    pub start_time: String,
}

impl ElasticClaim {
    /// Names of the pool's hosts, as virtual nodes and assignments know them.
    pub fn host_names(&self) -> impl Iterator<Item = String> {
        (0..self.max_hosts).map(|index| format!("{}-{index}", self.name))
    }
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyClaim {
    /// `hub`, or the location of a probe target.
    #[schemars(length(min = 1, max = 63))]
    pub to: String,
    /// The probe target, `host:port`; absent for the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub target: Option<String>,
    pub median_micros: u64,
    pub p95_micros: u64,
    /// Mean difference between one round trip and the next.
    pub jitter_micros: u64,
    pub samples: u32,
    pub measured_at: Time,
}
