//! The work pod: the engine as a restartable init container, the runner as the main one. Pure.
//!
//! Restricted Pod Security profile; no token, no host access, read-only root, requests equal to limits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, NodeAffinity,
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSecurityContext, PodSpec, Probe,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use spillway_crds::WorkAssignmentSpec;
use spillway_crds::names::GPU_RESOURCE;

use super::{ANNOTATION_DEADLINE, ANNOTATION_HOST, ANNOTATION_START, ENGINE, RUNNER};
use crate::work::PodSettings;

/// Nobody, as distroless images have it: engines' own images often say root.
const USER: i64 = 65532;
const TASK_FOLDER: &str = "/var/run/spillway";
const TASK: &str = "task";
const SCRATCH: &str = "tmp";
const RUNNER_CPU: &str = "250m";
const RUNNER_MEMORY: &str = "256Mi";
const PROBE_SECONDS: i32 = 1;
/// Models take long to load; the pod's deadline is the limit, so this is an hour of probes.
const STARTUP_PROBES: i32 = 3600;

pub(super) fn build(
    metadata: ObjectMeta,
    spec: &WorkAssignmentSpec,
    deadline: Timestamp,
    settings: &PodSettings,
    now: Timestamp,
) -> Pod {
    let secret = metadata.name.clone();
    let pool = settings.elastic.pool_of(&spec.host);
    let start = pool.map(|pool| (ANNOTATION_START, pool.start_time.as_millis().to_string()));
    let annotations = [
        (ANNOTATION_HOST, spec.host.clone()),
        (ANNOTATION_DEADLINE, deadline.to_string()),
    ];
    Pod {
        metadata: ObjectMeta {
            annotations: Some(
                annotations
                    .into_iter()
                    .chain(start)
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            ),
            ..metadata
        },
        spec: Some(PodSpec {
            init_containers: Some(vec![engine(spec, settings)]),
            containers: vec![runner(settings)],
            volumes: Some(vec![task_volume(secret), scratch_volume()]),
            // A host that does not run yet has no Node to name: the pool's labels bring one.
            affinity: pool.is_none().then(|| only_on(&spec.host)),
            node_selector: pool.map(|pool| pool.node_selector.clone()),
            runtime_class_name: runtime_class(spec, settings),
            tolerations: Some(vec![gpu_taint()]),
            active_deadline_seconds: Some(deadline.duration_since(now).as_secs().max(1)),
            termination_grace_period_seconds: Some(5),
            restart_policy: Some("Never".to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// None for plain containers, and none that was not checked: an assignment above our tier was refused.
fn runtime_class(spec: &WorkAssignmentSpec, settings: &PodSettings) -> Option<String> {
    let runtime = settings.isolation.as_ref().filter(|_| !spec.isolation.is_standard());
    runtime.map(|runtime| runtime.runtime_class.clone())
}

fn engine(spec: &WorkAssignmentSpec, settings: &PodSettings) -> Container {
    let engine = &spec.engine;
    let resources = [
        ("cpu", spec.cpu.clone()),
        ("memory", spec.memory.clone()),
        (GPU_RESOURCE, spec.gpus.to_string()),
    ];
    Container {
        name: ENGINE.to_owned(),
        image: Some(engine.image.clone()),
        image_pull_policy: settings.image_pull_policy.clone(),
        args: (!engine.args.is_empty()).then(|| engine.args.clone()),
        env: Some(engine_environment(spec)),
        ports: Some(vec![ContainerPort {
            container_port: i32::from(engine.port),
            ..ContainerPort::default()
        }]),
        resources: Some(fixed(resources)),
        // Restartable: it serves beside the runner and ends with it.
        restart_policy: Some("Always".to_owned()),
        startup_probe: Some(Probe {
            failure_threshold: Some(STARTUP_PROBES),
            ..probe(spec)
        }),
        readiness_probe: Some(probe(spec)),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![mount(SCRATCH, "/tmp", false)]),
        ..Container::default()
    }
}

/// The tenant's variables; caches go to the only folder that can be written.
fn engine_environment(spec: &WorkAssignmentSpec) -> Vec<EnvVar> {
    let given = spec.engine.env.iter().map(|one| variable(&one.name, &one.value));
    let home = (!spec.engine.env.iter().any(|one| one.name == "HOME")).then(|| variable("HOME", "/tmp"));
    given.chain(home).collect()
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

fn runner(settings: &PodSettings) -> Container {
    Container {
        name: RUNNER.to_owned(),
        image: Some(settings.runner_image.clone()),
        image_pull_policy: settings.image_pull_policy.clone(),
        args: Some(vec!["work".to_owned()]),
        resources: Some(fixed([
            ("cpu", RUNNER_CPU.to_owned()),
            ("memory", RUNNER_MEMORY.to_owned()),
        ])),
        security_context: Some(container_security()),
        termination_message_policy: Some("File".to_owned()),
        volume_mounts: Some(vec![mount(TASK, TASK_FOLDER, true), mount(SCRATCH, "/tmp", false)]),
        ..Container::default()
    }
}

fn probe(spec: &WorkAssignmentSpec) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(spec.engine.health_path.clone()),
            port: IntOrString::Int(i32::from(spec.engine.port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(PROBE_SECONDS),
        ..Probe::default()
    }
}

fn fixed<const N: usize>(amounts: [(&str, String); N]) -> ResourceRequirements {
    let amounts: BTreeMap<String, Quantity> = amounts
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect();
    ResourceRequirements {
        requests: Some(amounts.clone()),
        limits: Some(amounts),
        ..ResourceRequirements::default()
    }
}

/// By the Node's own name: the hostname label may differ from it.
fn only_on(host: &str) -> Affinity {
    let name = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![host.to_owned()]),
    };
    let term = NodeSelectorTerm {
        match_fields: Some(vec![name]),
        ..NodeSelectorTerm::default()
    };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![term],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// GPU hosts are often kept free for GPU work by this taint.
fn gpu_taint() -> Toleration {
    Toleration {
        key: Some(GPU_RESOURCE.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        // So that this user may read the task file.
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
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

fn task_volume(secret: Option<String>) -> Volume {
    Volume {
        name: TASK.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: secret,
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn scratch_volume() -> Volume {
    Volume {
        name: SCRATCH.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
