//! Publishing: accepted results, in order, into the output store; then the job is complete.

use jiff::SignedDuration;
use spillway_core::knowledge::Knowledge;
use spillway_core::shard::PublishedReport;
use spillway_crds::{PublishedResults, ShardState, job_condition};

use super::super::observed::RunnerPod;
use super::action::Action;
use super::draft::Draft;

/// A failed publisher is made anew after this long: the output store may have been away.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn publish(draft: &mut Draft<'_>) {
    let shards = &draft.status.shards;
    if shards.is_empty() || shards.iter().any(|shard| shard.state != ShardState::Accepted) {
        return;
    }
    match &draft.observed.published {
        Knowledge::Unknown => draft.ask_again(),
        Knowledge::Known(Some(Ok(report))) => complete(draft, report),
        Knowledge::Known(Some(Err(message))) => {
            draft.set_condition(job_condition::COMPLETE, false, "InvalidReport", message)
        }
        Knowledge::Known(None) => start(draft),
    }
}

fn complete(draft: &mut Draft<'_>, report: &PublishedReport) {
    let PublishedReport { uri, digest, lines } = report.clone();
    let message = format!("{lines} results in {uri}");
    draft.status.results = Some(PublishedResults { uri, digest, lines });
    draft.status.completion_time = Some(draft.time());
    draft.set_condition(job_condition::COMPLETE, true, "Complete", &message);
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
    draft.set_condition(job_condition::COMPLETE, false, reason, message);
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
    let retry_at = pod
        .finished_at
        .as_ref()
        .and_then(|time| time.0.checked_add(RETRY_AFTER).ok());
    match retry_at.filter(|time| draft.now < *time) {
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
