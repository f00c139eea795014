//! The end of a job that fails: work is stopped, what was computed is still judged and owed, then the job has failed.

use jiff::{SignedDuration, Timestamp};
use spillway_crds::{AttemptKind, AttemptState, AttemptStatus, Condition, ShardState, ShardStatus, job_condition};

use super::acceptance::Terms;
use super::attempts::longest_run;
use super::draft::{Draft, awaits_verdict, end};
use super::verification::Runs;

/// A check, and one more run when that one disagrees.
const RUNS_TO_A_VERDICT: i32 = 2;

/// Whether a failing job has no use for a live attempt: work, and checks of nothing.
pub(super) fn is_stopped(shard: &ShardStatus, attempt: &AttemptStatus) -> bool {
    attempt.kind == AttemptKind::Work || !has_open_result(shard)
}

/// Whether a result waits for runs that may still come.
fn has_open_result(shard: &ShardStatus) -> bool {
    shard.state != ShardState::Failed && Runs::of(shard).work.is_some()
}

/// Condition Failed, once no result waits for a verdict or none can be expected any more.
pub(super) fn conclude(draft: &mut Draft<'_>, terms: &Terms) {
    let Some(target) = draft.condition(job_condition::FAILURE_TARGET).cloned() else {
        return;
    };
    let open = draft
        .status
        .shards
        .iter()
        .filter(|shard| has_open_result(shard))
        .count();
    let given_up = given_up(&target, terms);
    if open == 0 || draft.now >= given_up {
        return failed(draft, &target);
    }
    draft.wake_at(given_up);
    let message = format!("{}; results that wait for their check: {open}", target.message);
    draft.set_condition(job_condition::COMPLETE, false, &target.reason, &message);
}

/// When runs that began as the job failed must have ended.
fn given_up(target: &Condition, terms: &Terms) -> Timestamp {
    let longest = longest_run(terms.job.shard_timeout);
    let wait = longest.checked_mul(RUNS_TO_A_VERDICT).unwrap_or(SignedDuration::MAX);
    target
        .last_transition_time
        .0
        .checked_add(wait)
        .unwrap_or(Timestamp::MAX)
}

fn failed(draft: &mut Draft<'_>, target: &Condition) {
    let Condition { reason, message, .. } = target;
    let time = draft.time();
    draft.cancel_all("JobFailed", message);
    let attempts = draft.status.shards.iter_mut().flat_map(|shard| &mut shard.attempts);
    for attempt in attempts.filter(|attempt| awaits_verdict(attempt)) {
        let why = "the job failed, and no run of another owner came to compare it with";
        end(attempt, AttemptState::Cancelled, ("NotChecked", why), &time);
    }
    draft.set_condition(job_condition::FAILED, true, reason, message);
    draft.set_condition(job_condition::COMPLETE, false, reason, message);
    draft.status.completion_time = Some(time);
}
