//! Publishing: accepted results, in order, into the output store; then the job is complete. What a failed job has is
//! published too, since it is paid.

use jiff::{SignedDuration, Timestamp};
use spillway_core::knowledge::Knowledge;
use spillway_core::shard::PublishedReport;
use spillway_crds::{
    InferenceJobStatus, PublishedErrors, PublishedResults, ShardState, ShardStatus, is_status_condition_true,
    job_condition,
};

use super::super::observed::RunnerPod;
use super::action::Action;
use super::draft::Draft;

/// A failed publisher is made anew after this long: the output store may have been away.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Whether results are there that nobody has published: all of them, or what a failed job has.
pub fn awaits_publishing(status: &InferenceJobStatus) -> bool {
    let accepted = |shard: &ShardStatus| shard.state == ShardState::Accepted;
    let mut shards = status.shards.iter();
    let due = if is_status_condition_true(&status.conditions, job_condition::FAILED) {
        shards.any(accepted)
    } else {
        !status.shards.is_empty() && shards.all(accepted)
    };
    due && status.results.is_none()
}

pub(super) fn publish(draft: &mut Draft<'_>) {
    if !awaits_publishing(&draft.status) {
        return;
    }
    match &draft.observed.published {
        Knowledge::Unknown => draft.ask_again(),
        Knowledge::Known(Some(Ok(report))) => published(draft, report),
        Knowledge::Known(Some(Err(message))) => tell(draft, false, "InvalidReport", message),
        Knowledge::Known(None) => start(draft),
    }
}

/// In the condition that publishing decides: a job that failed is never complete.
fn tell(draft: &mut Draft<'_>, holds: bool, reason: &str, message: &str) {
    let failed = draft.condition_holds(job_condition::FAILED);
    let condition = if failed {
        job_condition::PUBLISHED
    } else {
        job_condition::COMPLETE
    };
    draft.set_condition(condition, holds, reason, message);
}

fn published(draft: &mut Draft<'_>, report: &PublishedReport) {
    let PublishedReport {
        uri,
        digest,
        lines,
        errors,
    } = report.clone();
    let mut message = format!("{lines} results in {uri}");
    if let Some(errors) = &errors {
        message += &format!(", {} requests without one in {}", errors.lines, errors.uri);
    }
    if draft.condition_holds(job_condition::FAILED) {
        tell(draft, true, "Published", &message);
    } else {
        draft.status.completion_time = Some(draft.time());
        tell(draft, true, "Complete", &message);
    }
    let errors = errors.map(|errors| PublishedErrors {
        uri: errors.uri,
        lines: errors.lines,
    });
    draft.status.results = Some(PublishedResults {
        uri,
        digest,
        lines,
        errors,
    });
}

fn start(draft: &mut Draft<'_>) {
    let observed = draft.observed;
    let (reason, message) = if observed.job.spec.output.secret_ref.is_none() {
        draft.act(Action::PublishInHub);
        draft.ask_again();
        ("Publishing", "the results are being joined")
    } else {
        match &observed.publisher.pod {
            Some(pod) => publisher_state(draft, pod),
            None => {
                draft.act(Action::CreatePublisher);
                ("Publishing", "the publisher writes the results")
            }
        }
    };
    tell(draft, false, reason, message);
}

fn publisher_state<'a>(draft: &mut Draft<'_>, pod: &'a RunnerPod) -> (&'static str, &'a str) {
    if !pod.ours {
        return (
            "NameTaken",
            "a pod with the publisher's name exists and is not this job's: delete it",
        );
    }
    if pod.phase != "Failed" {
        draft.ask_again();
        return ("Publishing", "the publisher writes the results");
    }
    match retry_at(draft, pod).filter(|time| draft.now < *time) {
        Some(time) => draft.wake_at(time),
        None if !pod.deleting => draft.act(Action::DeletePublisher),
        None => {}
    }
    (
        "PublishFailed",
        pod.message
            .as_deref()
            .unwrap_or("the publisher failed: see the log of its pod"),
    )
}

/// The longer a failed job has been waiting for its output store, the more rarely it is tried: after a day every 6 h.
fn retry_at(draft: &Draft<'_>, pod: &RunnerPod) -> Option<Timestamp> {
    let finished = pod.finished_at.as_ref()?.0;
    let ended = draft.status.completion_time.as_ref();
    let waited = ended.map_or(SignedDuration::ZERO, |ended| finished.duration_since(ended.0));
    finished.checked_add(RETRY_AFTER.max(waited / 4)).ok()
}
