//! What is over is taken away: assignments first, and only when nothing runs there any more, the hub pod.

use spillway_crds::{AssignmentState, AttemptState, job_condition};

use super::super::observed::AssignmentFact;
use super::action::Action;
use super::attempts::SILENCE_GRACE;
use super::draft::{Draft, attempt, is_live};
use super::publishing::awaits_publishing;

pub(super) fn plan(draft: &mut Draft<'_>) {
    assignments(draft);
    pods(draft);
    runner_pods(draft);
}

fn assignments(draft: &mut Draft<'_>) {
    let observed = draft.observed;
    for (key, assignment) in &observed.assignments {
        let runs = attempt(&draft.status, *key).is_some_and(|attempt| is_live(attempt.state));
        let AssignmentFact {
            namespace, name, uid, ..
        } = assignment.clone();
        if assignment.deleting && nothing_left(draft, assignment) {
            draft.act(Action::ReleaseAssignment { namespace, name, uid });
        } else if !runs && !assignment.deleting {
            draft.act(Action::DeleteAssignment { namespace, name, uid });
        }
    }
}

/// The agent said so, or it is so long after the time at which it stops unasked that nothing can run.
fn nothing_left(draft: &mut Draft<'_>, assignment: &AssignmentFact) -> bool {
    if assignment.status.state == AssignmentState::Gone {
        return true;
    }
    let Ok(given_up) = assignment.not_after.0.checked_add(SILENCE_GRACE) else {
        return false;
    };
    if draft.now < given_up {
        draft.wake_at(given_up);
    }
    draft.now >= given_up
}

fn pods(draft: &mut Draft<'_>) {
    let observed = draft.observed;
    for shard in draft.status.shards.clone() {
        for attempt in &shard.attempts {
            let key = (shard.index, attempt.number);
            let Some((name, pod)) = observed.attempt_pod(key).filter(|(_, pod)| pod.ours && !pod.deleting) else {
                continue;
            };
            let (uid, resource_version) = (pod.uid.clone(), pod.resource_version.clone());
            let is_assigned = observed.assignments.contains_key(&key);
            if (attempt.state == AttemptState::Cancelled || observed.is_deleting()) && !is_assigned {
                let why = attempt.reason.clone().unwrap_or_else(|| "JobDeleted".to_owned());
                draft.act(Action::DeletePod {
                    name,
                    uid,
                    resource_version,
                    why,
                });
            } else if crate::dispatch::phase_of(attempt.state).is_some_and(|phase| is_news(&pod.phase, phase)) {
                draft.act(Action::MirrorPod {
                    shard: shard.index,
                    attempt: attempt.number,
                    state: attempt.state,
                });
            }
        }
    }
}

/// An ended pod stays ended.
fn is_news(current: &str, next: &str) -> bool {
    current != next && !matches!(current, "Succeeded" | "Failed")
}

/// A splitter is of no use once the shards are written, a publisher once the results are.
fn runner_pods(draft: &mut Draft<'_>) {
    let observed = draft.observed;
    let over = draft.is_terminal() || observed.is_deleting();
    let ours = |pod: &super::super::observed::RunnerPod| pod.ours && !pod.deleting;
    let split = draft.condition_holds(job_condition::SPLIT) || over;
    if split && observed.splitter.pod.as_ref().is_some_and(ours) {
        draft.act(Action::DeleteSplitter);
    }
    let published = observed.is_deleting() || (over && !awaits_publishing(&draft.status));
    if published && observed.publisher.pod.as_ref().is_some_and(ours) {
        draft.act(Action::DeletePublisher);
    }
}
