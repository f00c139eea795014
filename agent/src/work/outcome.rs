//! What a work pod's status means for its assignment: pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;
use spillway_core::shard::WorkReport;
use spillway_crds::Time;

use super::objects::{ANNOTATION_START, ENGINE, RUNNER};

/// A pod that no host takes for so long will not be taken.
const SCHEDULING_GRACE: SignedDuration = SignedDuration::from_secs(60);
/// Registries have short outages; then another host may do better.
const PULL_GRACE: SignedDuration = SignedDuration::from_mins(3);
/// An engine that ended so often will not come up.
const ENGINE_RESTARTS: i32 = 3;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Not computing yet; the trouble, if any, may pass.
    Waiting(Option<Trouble>),
    Running {
        started: Option<Time>,
    },
    /// The runner wrote a report of success; still to be held against the assignment.
    Reported {
        report: WorkReport,
        started: Option<Time>,
        finished: Option<Time>,
        /// Time that an elastic host took to appear, as far as it is paid.
        start: Duration,
    },
    Failed {
        trouble: Trouble,
        finished: Option<Time>,
    },
}

/// Reason in CamelCase, and words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub reason: String,
    pub message: String,
}

fn trouble(reason: &str, message: impl Into<String>) -> Trouble {
    Trouble {
        reason: reason.to_owned(),
        message: message.into(),
    }
}

/// Whether the pod still computes, or will: then it holds its GPUs.
pub(super) fn holds_gpus(pod: &Pod) -> bool {
    let leaving = pod.metadata.deletion_timestamp.is_some();
    !leaving && !is_over(pod) && runner_end(pod).is_none()
}

pub(super) fn of(pod: &Pod, now: Timestamp) -> Outcome {
    if let Some(end) = runner_end(pod) {
        return ended(end, paid_start(pod, end));
    }
    if is_over(pod) {
        return Outcome::Failed {
            trouble: pod_trouble(pod),
            finished: None,
        };
    }
    if let Some(trouble) = hopeless(pod, now) {
        return Outcome::Failed {
            trouble,
            finished: None,
        };
    }
    match runner(pod).and_then(|status| status.state.as_ref()?.running.clone()) {
        Some(running) => Outcome::Running {
            started: running.started_at,
        },
        None => Outcome::Waiting(image_trouble(pod).or_else(|| scheduling_trouble(pod).map(|(trouble, _)| trouble))),
    }
}

/// How long an elastic host may take to appear; nothing for one that runs.
fn start_allowance(pod: &Pod) -> Duration {
    let millis = pod
        .annotations()
        .get(ANNOTATION_START)
        .and_then(|millis| millis.parse().ok());
    millis.map(Duration::from_millis).unwrap_or_default()
}

fn with_start(grace: SignedDuration, pod: &Pod) -> SignedDuration {
    let start = SignedDuration::try_from(start_allowance(pod)).unwrap_or(SignedDuration::MAX);
    grace.checked_add(start).unwrap_or(SignedDuration::MAX)
}

/// From the pod's creation to the runner's start, at most what was offered as start time.
fn paid_start(pod: &Pod, end: &ContainerStateTerminated) -> Duration {
    let created = pod.metadata.creation_timestamp.as_ref();
    let waited = created
        .zip(end.started_at.as_ref())
        .map(|(created, started)| started.0.duration_since(created.0));
    let waited = waited.and_then(|waited| Duration::try_from(waited).ok());
    waited.unwrap_or_default().min(start_allowance(pod))
}

fn ended(end: &ContainerStateTerminated, start: Duration) -> Outcome {
    let (started, finished) = (end.started_at.clone(), end.finished_at.clone());
    let message = end.message.as_deref().unwrap_or_default().trim();
    let failed = |reason: &str, message: String| Outcome::Failed {
        trouble: trouble(reason, message),
        finished: finished.clone(),
    };
    match serde_json::from_str::<WorkReport>(message) {
        Ok(WorkReport::Failed { message }) => failed("WorkFailed", without_queries(&message)),
        Ok(report @ WorkReport::Completed { .. }) if end.exit_code == 0 => Outcome::Reported {
            report,
            started,
            finished,
            start,
        },
        Ok(WorkReport::Completed { .. }) | Err(_) => {
            let reason = end.reason.clone().unwrap_or_default();
            failed(
                "RunnerCrashed",
                format!(
                    "the runner ended with exit code {} ({reason}) without a report",
                    end.exit_code
                ),
            )
        }
    }
}

/// Trouble that waiting does not cure.
fn hopeless(pod: &Pod, now: Timestamp) -> Option<Trouble> {
    engine_crashes(pod)
        .or_else(|| {
            let image = image_trouble(pod)?;
            let forever = ["InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"];
            let created = pod.metadata.creation_timestamp.as_ref()?;
            let late = now.duration_since(created.0) > with_start(PULL_GRACE, pod);
            (late || forever.contains(&image.reason.as_str())).then_some(image)
        })
        .or_else(|| {
            let (unschedulable, since) = scheduling_trouble(pod)?;
            (now.duration_since(since?) > with_start(SCHEDULING_GRACE, pod)).then_some(unschedulable)
        })
}

fn engine_crashes(pod: &Pod) -> Option<Trouble> {
    let engine = engine(pod)?;
    if engine.restart_count < ENGINE_RESTARTS || engine.state.as_ref().is_some_and(|state| state.running.is_some()) {
        return None;
    }
    let last = engine
        .last_state
        .as_ref()
        .or(engine.state.as_ref())
        .and_then(|state| state.terminated.as_ref());
    let exit = last.map_or_else(String::new, |last| {
        format!(
            ", last with exit code {} ({})",
            last.exit_code,
            last.reason.clone().unwrap_or_default()
        )
    });
    Some(trouble(
        "EngineCrashed",
        format!("the engine ended {} times{exit}", engine.restart_count),
    ))
}

/// Images that cannot be had, containers that cannot be made.
fn image_trouble(pod: &Pod) -> Option<Trouble> {
    let states = [engine(pod), runner(pod)]
        .into_iter()
        .flatten()
        .filter_map(|status| status.state.as_ref());
    states.filter_map(|state| state.waiting.as_ref()).find_map(|waiting| {
        // Both names of one trouble alternate; one name keeps the status still.
        let reason = match waiting.reason.as_deref()? {
            "ErrImagePull" | "ImagePullBackOff" => "ImagePullBackOff",
            reason @ ("InvalidImageName"
            | "ErrImageNeverPull"
            | "CreateContainerConfigError"
            | "CreateContainerError") => reason,
            _ => return None,
        };
        let words = match reason {
            "ImagePullBackOff" => "an image cannot be pulled".to_owned(),
            _ => waiting.message.clone().unwrap_or_default(),
        };
        Some(trouble(reason, words))
    })
}

fn scheduling_trouble(pod: &Pod) -> Option<(Trouble, Option<Timestamp>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let unschedulable = conditions
        .iter()
        .find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
    let message = unschedulable.message.clone().unwrap_or_default();
    Some((
        trouble("Unschedulable", message),
        unschedulable.last_transition_time.as_ref().map(|time| time.0),
    ))
}

/// The kubelet's or controller's own words for the end of a pod: eviction, deadline, refused admission.
fn pod_trouble(pod: &Pod) -> Trouble {
    let status = pod.status.as_ref();
    let given = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
    let is_name = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let message = status.and_then(|status| status.message.clone());
    let fallback = || "the pod ended before the runner reported".to_owned();
    trouble(
        if is_name { given } else { "PodFailed" },
        message.unwrap_or_else(fallback),
    )
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn runner_end(pod: &Pod) -> Option<&ContainerStateTerminated> {
    runner(pod)?
        .state
        .as_ref()
        .and_then(|state: &ContainerState| state.terminated.as_ref())
}

fn runner(pod: &Pod) -> Option<&ContainerStatus> {
    named(pod.status.as_ref()?.container_statuses.as_deref()?, RUNNER)
}

fn engine(pod: &Pod) -> Option<&ContainerStatus> {
    named(pod.status.as_ref()?.init_container_statuses.as_deref()?, ENGINE)
}

fn named<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

/// Cuts every URL at its query: presigned URLs carry their secret there.
fn without_queries(text: &str) -> String {
    let cut = |word: &str| match (word.contains("://"), word.find('?')) {
        (true, Some(query)) => format!("{}?…", &word[..query]),
        _ => word.to_owned(),
    };
    text.split_inclusive(char::is_whitespace)
        .map(|word| {
            let body = word.trim_end();
            format!("{}{}", cut(body), &word[body.len()..])
        })
        .collect()
}
