//! Pods and Secrets that the operator makes on the hub, as pure values.
//!
//! In: an InferenceJob, an attempt or a plan file. Out: the attempt pod (never run here: it is bound to a virtual node),
//! the splitter's and the publisher's pod with the Secret that holds their plan file. All fit the restricted profile.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, EmptyDirVolumeSource, EnvFromSource, NodeAffinity, NodeSelector,
    NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile,
    Secret, SecretEnvSource, SecretVolumeSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Serialize;
use spillway_core::shard::{PublishPlan, SplitPlan};
use spillway_crds::{AttemptKind, AttemptStatus, InferenceJob, JobReference, names};

mod adoption;
pub use adoption::{controller_uid, same_attempt_pod};

/// Image of attempt pods on the hub; `.invalid` never resolves, so nothing can run by accident.
pub const REMOTE_IMAGE: &str = "spillway.invalid/remote";
const PLAN_FOLDER: &str = "/var/run/spillway";
const PLAN_FILE: &str = "plan.json";
/// User of our images, which have no passwd file.
const USER: i64 = 65532;

#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// An object that did not come from an API server.
    #[error("the job has no {0}")]
    Unidentified(&'static str),
    #[error("the plan file cannot be written: {0}")]
    Plan(#[from] serde_json::Error),
}

/// Namespace, name and UID of a job that came from the API.
///
/// # Errors
/// When one of them is missing.
pub fn job_reference(job: &InferenceJob) -> Result<JobReference, PodError> {
    let part = |value: &Option<String>, name| value.clone().ok_or(PodError::Unidentified(name));
    Ok(JobReference {
        namespace: part(&job.metadata.namespace, "namespace")?,
        name: part(&job.metadata.name, "name")?,
        uid: part(&job.metadata.uid, "uid")?,
    })
}

/// The controller reference of everything that a job owns.
pub fn owner(job: &JobReference) -> OwnerReference {
    OwnerReference {
        api_version: InferenceJob::api_version(&()).into_owned(),
        kind: InferenceJob::kind(&()).into_owned(),
        name: job.name.clone(),
        uid: job.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The pod that asks kube-scheduler for a node: pinned to the attempt's candidates, one term each.
///
/// # Errors
/// When the job has no identity.
pub fn attempt_pod(job: &InferenceJob, shard: u32, attempt: &AttemptStatus) -> Result<Pod, PodError> {
    let reference = job_reference(job)?;
    let metadata = ObjectMeta {
        name: Some(names::attempt_pod(&reference.name, shard, attempt.number)),
        labels: Some(attempt_labels(&reference, shard, attempt)),
        ..owned(&reference)
    };
    Ok(Pod {
        metadata,
        spec: Some(attempt_spec(job.spec.resources.gpus, &attempt.candidates)),
        status: None,
    })
}

fn attempt_labels(job: &JobReference, shard: u32, attempt: &AttemptStatus) -> BTreeMap<String, String> {
    let mut labels = job_labels(job);
    labels.insert(names::LABEL_SHARD.to_owned(), shard.to_string());
    labels.insert(names::LABEL_ATTEMPT.to_owned(), attempt.number.to_string());
    labels.insert(names::LABEL_KIND.to_owned(), kind_label(attempt.kind).to_owned());
    labels
}

/// Value of [`names::LABEL_KIND`].
pub fn kind_label(kind: AttemptKind) -> &'static str {
    match kind {
        AttemptKind::Work => "work",
        AttemptKind::Check => "check",
        AttemptKind::Arbitrate => "arbitrate",
        AttemptKind::Repair => "repair",
    }
}

fn attempt_spec(gpus: u32, candidates: &[String]) -> PodSpec {
    let container = Container {
        name: "remote".to_owned(),
        image: Some(REMOTE_IMAGE.to_owned()),
        resources: Some(ResourceRequirements {
            limits: Some([(names::GPU_RESOURCE.to_owned(), Quantity(gpus.to_string()))].into()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(container_security()),
        ..Container::default()
    };
    PodSpec {
        scheduler_name: Some(names::SCHEDULER_NAME.to_owned()),
        affinity: Some(pinned_to(candidates)),
        tolerations: Some(tolerations()),
        restart_policy: Some("Never".to_owned()),
        ..restricted(vec![container])
    }
}

/// Terms are alternatives; a term with `matchFields` may hold one name only.
fn pinned_to(candidates: &[String]) -> Affinity {
    let term = |node: &String| NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.clone()]),
        }]),
        match_expressions: None,
    };
    let required = NodeSelector {
        node_selector_terms: candidates.iter().map(term).collect(),
    };
    let node_affinity = NodeAffinity {
        required_during_scheduling_ignored_during_execution: Some(required),
        ..NodeAffinity::default()
    };
    Affinity {
        node_affinity: Some(node_affinity),
        ..Affinity::default()
    }
}

/// Virtual nodes are tainted for everybody else; whether a provider is lost is decided by the operator, not by eviction.
fn tolerations() -> Vec<Toleration> {
    let exists = |key: &str, effect: &str| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    };
    vec![
        exists(names::TAINT_VIRTUAL, "NoSchedule"),
        exists("node.kubernetes.io/not-ready", "NoExecute"),
        exists("node.kubernetes.io/unreachable", "NoExecute"),
    ]
}

/// Name of the splitter's pod and Secret.
pub fn split_name(job: &str) -> String {
    format!("{job}-split")
}

/// Name of the publisher's pod and Secret.
pub fn publish_name(job: &str) -> String {
    format!("{job}-publish")
}

/// The splitter, in the tenant's namespace, with the credentials of the input store.
///
/// # Errors
/// When the job has no identity.
pub fn split_pod(job: &InferenceJob, runner_image: &str) -> Result<Pod, PodError> {
    let reference = job_reference(job)?;
    let name = split_name(&reference.name);
    Ok(runner_pod(
        &reference,
        &name,
        "split",
        runner_image,
        job.spec.input.secret_ref.as_deref(),
    ))
}

/// The plan file of the splitter.
///
/// # Errors
/// When the job has no identity.
pub fn split_secret(job: &InferenceJob, plan: &SplitPlan) -> Result<Secret, PodError> {
    let reference = job_reference(job)?;
    plan_secret(&reference, split_name(&reference.name), plan)
}

/// The publisher, in the tenant's namespace, with the credentials of the output store.
///
/// # Errors
/// When the job has no identity.
pub fn publish_pod(job: &InferenceJob, runner_image: &str) -> Result<Pod, PodError> {
    let reference = job_reference(job)?;
    let name = publish_name(&reference.name);
    Ok(runner_pod(
        &reference,
        &name,
        "publish",
        runner_image,
        job.spec.output.secret_ref.as_deref(),
    ))
}

/// The plan file of the publisher.
///
/// # Errors
/// When the job has no identity.
pub fn publish_secret(job: &InferenceJob, plan: &PublishPlan) -> Result<Secret, PodError> {
    let reference = job_reference(job)?;
    plan_secret(&reference, publish_name(&reference.name), plan)
}

fn plan_secret(job: &JobReference, name: String, plan: &impl Serialize) -> Result<Secret, PodError> {
    let file = ByteString(serde_json::to_vec(plan)?);
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(name),
            ..owned(job)
        },
        data: Some([(PLAN_FILE.to_owned(), file)].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

fn runner_pod(job: &JobReference, name: &str, command: &str, image: &str, credentials: Option<&str>) -> Pod {
    let spec = PodSpec {
        restart_policy: Some("Never".to_owned()),
        volumes: Some(runner_volumes(name)),
        ..restricted(vec![runner_container(command, image, credentials)])
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..owned(job)
        },
        spec: Some(spec),
        status: None,
    }
}

fn runner_container(command: &str, image: &str, credentials: Option<&str>) -> Container {
    let env_from = credentials.map(|name| EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: name.to_owned(),
            optional: None,
        }),
        ..EnvFromSource::default()
    });
    let amounts = |cpu: &str, memory: &str| {
        [("cpu", cpu), ("memory", memory)]
            .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
            .into()
    };
    Container {
        name: "runner".to_owned(),
        image: Some(image.to_owned()),
        args: Some(vec![command.to_owned()]),
        env_from: env_from.map(|source| vec![source]),
        resources: Some(ResourceRequirements {
            requests: Some(amounts("50m", "64Mi")),
            limits: Some(amounts("1", "512Mi")),
            ..ResourceRequirements::default()
        }),
        volume_mounts: Some(vec![mount("plan", PLAN_FOLDER, true), mount("tmp", "/tmp", false)]),
        security_context: Some(container_security()),
        ..Container::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}

fn runner_volumes(secret: &str) -> Vec<Volume> {
    let plan = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        ..SecretVolumeSource::default()
    };
    vec![
        Volume {
            name: "plan".to_owned(),
            secret: Some(plan),
            ..Volume::default()
        },
        Volume {
            name: "tmp".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ]
}

fn owned(job: &JobReference) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(job.namespace.clone()),
        labels: Some(job_labels(job)),
        owner_references: Some(vec![owner(job)]),
        ..ObjectMeta::default()
    }
}

fn job_labels(job: &JobReference) -> BTreeMap<String, String> {
    [(names::LABEL_JOB_UID, &job.uid), (names::LABEL_JOB_NAME, &job.name)]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .into()
}

fn restricted(containers: Vec<Container>) -> PodSpec {
    PodSpec {
        containers,
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

#[cfg(test)]
pub(crate) mod tests;
