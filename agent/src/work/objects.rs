//! The three local objects of an accepted assignment: pure builders.

pub(super) mod egress;
mod network_policy;
mod pod;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use spillway_core::shard::WorkTask;
use spillway_crds::names::{
    GPU_RESOURCE, LABEL_ASSIGNMENT_UID, LABEL_ATTEMPT, LABEL_JOB_NAME, LABEL_JOB_UID, LABEL_KIND, LABEL_SHARD,
};
use spillway_crds::{WorkAssignment, WorkAssignmentSpec};

use super::PodSettings;
use super::acceptance::Accepted;

/// On the pod: the host whose GPUs it holds, and when it must end.
pub(super) const ANNOTATION_HOST: &str = "spillway.dev/host";
pub(super) const ANNOTATION_DEADLINE: &str = "spillway.dev/not-after";
/// On the pod of an elastic host: milliseconds that the host may take to appear.
pub(super) const ANNOTATION_START: &str = "spillway.dev/start-millis";
pub(super) const ENGINE: &str = "engine";
pub(super) const RUNNER: &str = "runner";
const TASK_FILE: &str = "task.json";

/// Made in this order, so that no work pod ever runs without its policy.
#[derive(Clone, PartialEq)]
pub(super) struct WorkObjects {
    pub secret: Secret,
    pub policy: NetworkPolicy,
    pub pod: Pod,
}

impl fmt::Debug for WorkObjects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WorkObjects")
            .field("name", &self.pod.name_any())
            .finish_non_exhaustive()
    }
}

/// Name of all three; the UID keeps a re-created assignment apart from its predecessor.
pub(super) fn object_name(assignment_uid: &str) -> String {
    format!("work-{assignment_uid}")
}

pub(super) fn build(
    assignment: &WorkAssignment,
    accepted: &Accepted,
    settings: &PodSettings,
    now: Timestamp,
) -> WorkObjects {
    let metadata = metadata(assignment, settings);
    WorkObjects {
        secret: task_secret(metadata.clone(), &assignment.spec, accepted, settings),
        policy: network_policy::build(metadata.clone(), &accepted.egress),
        pod: pod::build(metadata, &assignment.spec, accepted.deadline, settings, now),
    }
}

/// GPUs that a pod of ours holds, as its engine requests them.
pub(super) fn gpus_of(pod: &Pod) -> u32 {
    let engines = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let limits = engines.filter_map(|engine| engine.resources.as_ref()?.limits.as_ref()?.get(GPU_RESOURCE));
    limits.filter_map(|quantity| quantity.0.parse::<u32>().ok()).sum()
}

fn metadata(assignment: &WorkAssignment, settings: &PodSettings) -> ObjectMeta {
    let uid = assignment.uid().unwrap_or_default();
    ObjectMeta {
        name: Some(object_name(&uid)),
        namespace: Some(settings.namespace.clone()),
        labels: Some(labels(&uid, &assignment.spec)),
        ..ObjectMeta::default()
    }
}

fn labels(uid: &str, spec: &WorkAssignmentSpec) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/managed-by", "spillway-agent".to_owned()),
        (LABEL_ASSIGNMENT_UID, uid.to_owned()),
        (LABEL_JOB_UID, spec.job.uid.clone()),
        (LABEL_JOB_NAME, spec.job.name.clone()),
        (LABEL_SHARD, spec.shard.to_string()),
        (LABEL_ATTEMPT, spec.attempt.to_string()),
        (LABEL_KIND, format!("{:?}", spec.kind)),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn task_secret(metadata: ObjectMeta, spec: &WorkAssignmentSpec, accepted: &Accepted, settings: &PodSettings) -> Secret {
    let task = WorkTask {
        input_url: accepted.urls.input.clone(),
        output_url: accepted.urls.output.clone(),
        input_digest: spec.input.digest.clone(),
        requests: spec.input.requests,
        engine_url: format!("http://127.0.0.1:{}", spec.engine.port),
        health_path: spec.engine.health_path.clone(),
        gpus: spec.gpus,
        concurrency: settings.engine_concurrency,
    };
    // A struct of strings and numbers always serialises.
    let json = serde_json::to_vec(&task).unwrap_or_default();
    Secret {
        metadata,
        immutable: Some(true),
        data: Some(BTreeMap::from([(TASK_FILE.to_owned(), ByteString(json))])),
        ..Secret::default()
    }
}
