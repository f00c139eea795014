//! Virtual nodes: one per GPU host of a provider, made and kept by the operator alone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;
use spillway_crds::{GpuProvider, HostFact, names};

/// Digest of what the operator wants of a node, so that an unchanged node is not written.
pub const DIGEST_ANNOTATION: &str = "spillway.dev/digest";

/// What a virtual node mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualNode {
    pub provider: String,
    pub class: String,
    pub region: String,
    pub host: HostFact,
    /// Whether new attempts may be placed there.
    pub available: bool,
}

impl VirtualNode {
    pub fn new(provider: &GpuProvider, host: &HostFact, available: bool) -> Self {
        Self {
            provider: provider.metadata.name.clone().unwrap_or_default(),
            class: format!("{:?}", provider.spec.class),
            region: provider.spec.region.clone(),
            host: host.clone(),
            available,
        }
    }

    /// Changes whenever the desired node changes.
    pub fn digest(&self) -> String {
        let hex = spillway_core::shard::digest(format!("{self:?}").as_bytes());
        hex["sha256:".len()..][..16].to_owned()
    }

    /// The Node to apply; `since` is the time of the last change of readiness.
    pub fn node(&self, since: &Time) -> Node {
        Node {
            metadata: ObjectMeta {
                name: Some(self.host.node.clone()),
                labels: Some(self.labels()),
                annotations: Some([(DIGEST_ANNOTATION.to_owned(), self.digest())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                // Cloud node controllers delete nodes without a provider ID that they can leave alone.
                provider_id: Some(format!("spillway://{}/{}", self.provider, self.host.name)),
                taints: Some(self.taints()),
                ..NodeSpec::default()
            }),
            status: Some(self.status(since)),
        }
    }

    /// No `kubernetes.io/os` label: kube-proxy's DaemonSet tolerates every taint and selects linux.
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (names::LABEL_VIRTUAL.to_owned(), "true".to_owned()),
            (names::LABEL_PROVIDER.to_owned(), self.provider.clone()),
            ("topology.kubernetes.io/zone".to_owned(), self.provider.clone()),
            ("topology.kubernetes.io/region".to_owned(), self.region.clone()),
            (
                "node.kubernetes.io/exclude-from-external-load-balancers".to_owned(),
                "true".to_owned(),
            ),
            ("spillway.dev/class".to_owned(), self.class.clone()),
            ("nvidia.com/gpu.product".to_owned(), self.host.product.clone()),
            ("nvidia.com/gpu.count".to_owned(), self.host.gpus.to_string()),
            (
                "nvidia.com/gpu.memory".to_owned(),
                self.host.memory_mebibytes.to_string(),
            ),
        ]);
        let capability = self
            .host
            .compute_capability
            .as_deref()
            .and_then(|text| text.split_once('.'));
        if let Some((major, minor)) = capability {
            labels.insert("nvidia.com/gpu.compute.major".to_owned(), major.to_owned());
            labels.insert("nvidia.com/gpu.compute.minor".to_owned(), minor.to_owned());
        }
        labels
    }

    fn taints(&self) -> Vec<Taint> {
        let taint = |key: &str| Taint {
            key: key.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        let dark = (!self.available).then(|| taint(names::TAINT_DARK));
        [Some(taint(names::TAINT_VIRTUAL)), dark]
            .into_iter()
            .flatten()
            .collect()
    }

    fn status(&self, since: &Time) -> NodeStatus {
        let quantity = |amount: String| Quantity(amount);
        let resources = BTreeMap::from([
            (names::GPU_RESOURCE.to_owned(), quantity(self.host.gpus.to_string())),
            ("pods".to_owned(), quantity("110".to_owned())),
        ]);
        NodeStatus {
            capacity: Some(resources.clone()),
            allocatable: Some(resources),
            conditions: Some(vec![
                // Kubernetes' own lifecycle of this node must never act: whether the provider is heard is our taint.
                condition("Ready", true, "VirtualNode", "kept by the Spillway operator", since),
                condition(
                    "spillway.dev/Available",
                    self.available,
                    "Heartbeat",
                    "see the GpuProvider",
                    since,
                ),
            ]),
            ..NodeStatus::default()
        }
    }
}

fn condition(kind: &str, status: bool, reason: &str, message: &str, since: &Time) -> NodeCondition {
    NodeCondition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(since.clone()),
        last_transition_time: Some(since.clone()),
    }
}
