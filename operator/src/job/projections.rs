//! What the watch caches keep of pods and assignments: a few fields, for there are many.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};
use spillway_crds::{InferenceJob, JobReference, WorkAssignment, WorkAssignmentStatus};

/// A pod without the fields that we never look at.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = Pod)]
pub(super) struct SlimPod {
    pub metadata: ObjectMeta,
    pub spec: SlimPodSpec,
    #[serde(default)]
    pub status: SlimPodStatus,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimPodSpec {
    pub node_name: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimPodStatus {
    #[serde(default)]
    pub phase: String,
    #[serde(default)]
    container_statuses: Vec<SlimContainer>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
struct SlimContainer {
    #[serde(default)]
    state: SlimState,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
struct SlimState {
    terminated: Option<Termination>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Termination {
    pub message: Option<String>,
    pub finished_at: Option<Time>,
}

impl SlimPod {
    pub(super) fn termination(&self) -> Option<&Termination> {
        let containers = &self.status.container_statuses;
        containers
            .iter()
            .find_map(|container| container.state.terminated.as_ref())
    }
}

/// An assignment without what is for the agent: engine, order, sealed URLs.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = WorkAssignment)]
pub(super) struct SlimAssignment {
    pub metadata: ObjectMeta,
    pub spec: SlimAssignmentSpec,
    #[serde(default)]
    pub status: WorkAssignmentStatus,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimAssignmentSpec {
    pub job: JobReference,
    pub shard: u32,
    pub attempt: u16,
    pub host: String,
    pub gpus: u32,
    pub not_after: Time,
}

impl SlimAssignment {
    /// GPUs of the host that it holds.
    pub(super) fn gpus_held(&self) -> u32 {
        if self.status.state.holds_gpus() {
            self.spec.gpus
        } else {
            0
        }
    }
}

/// The reference to the job that says it controls this object; an object has at most one controller.
pub(super) fn controlling_job(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true) && owner.kind == InferenceJob::kind(&()))
}

pub(super) fn is_controlled_by(metadata: &ObjectMeta, job_uid: &str) -> bool {
    controlling_job(metadata).is_some_and(|owner| owner.uid == job_uid)
}
