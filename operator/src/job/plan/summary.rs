//! The parts of the status that follow from the rest: states of shards, counts, usage, cost, phase.

use spillway_crds::{
    AttemptKind, AttemptState, InferenceJobStatus, ShardState, ShardStatus, ShardSummary, Usage,
    is_status_condition_true, job_condition,
};

use super::draft::{Draft, has_live, run_of};
use super::ledger;

pub(super) fn summarise(draft: &mut Draft<'_>) {
    for shard in &mut draft.status.shards {
        shard.state = state_of(shard);
    }
    draft.status.summary = counts(&draft.status.shards);
    draft.status.usage = usage(&draft.status.shards);
    draft.status.cost = ledger::cost(&draft.status);
    draft.status.phase = phase(draft).to_owned();
}

fn state_of(shard: &ShardStatus) -> ShardState {
    let runs = |attempt: &&spillway_crds::AttemptStatus| {
        matches!(attempt.state, AttemptState::Assigned | AttemptState::Running) && attempt.kind == AttemptKind::Work
    };
    match shard.state {
        ended @ (ShardState::Accepted | ShardState::Failed) => ended,
        _ if run_of(shard, AttemptKind::Work).is_some() => ShardState::Verifying,
        _ if has_live(shard, AttemptKind::Work) && shard.attempts.iter().any(|attempt| runs(&attempt)) => {
            ShardState::Running
        }
        _ => ShardState::Pending,
    }
}

fn counts(shards: &[ShardStatus]) -> ShardSummary {
    let count = |state| u32::try_from(shards.iter().filter(|shard| shard.state == state).count()).unwrap_or(u32::MAX);
    ShardSummary {
        total: u32::try_from(shards.len()).unwrap_or(u32::MAX),
        pending: count(ShardState::Pending),
        running: count(ShardState::Running),
        verifying: count(ShardState::Verifying),
        accepted: count(ShardState::Accepted),
        failed: count(ShardState::Failed),
    }
}

/// Of the accepted results alone; checks are a matter of cost.
fn usage(shards: &[ShardStatus]) -> Usage {
    let accepted = shards.iter().filter_map(|shard| {
        let number = shard.accepted_attempt?;
        shard
            .attempts
            .iter()
            .find(|attempt| attempt.number == number)?
            .receipt
            .as_ref()
    });
    accepted.fold(Usage::default(), |sum, receipt| Usage {
        requests: sum.requests.saturating_add(receipt.requests),
        failed_requests: sum.failed_requests.saturating_add(receipt.failed_requests),
        prompt_tokens: sum.prompt_tokens.saturating_add(receipt.prompt_tokens),
        completion_tokens: sum.completion_tokens.saturating_add(receipt.completion_tokens),
        gpu_millis: sum.gpu_millis.saturating_add(receipt.metered_millis),
    })
}

fn phase(draft: &Draft<'_>) -> &'static str {
    let InferenceJobStatus {
        conditions, summary, ..
    } = &draft.status;
    if draft.observed.is_deleting() {
        "Deleting"
    } else if is_status_condition_true(conditions, job_condition::FAILED) {
        "Failed"
    } else if is_status_condition_true(conditions, job_condition::COMPLETE) {
        "Complete"
    } else if !is_status_condition_true(conditions, job_condition::ACCEPTED) {
        "NotAccepted"
    } else if !is_status_condition_true(conditions, job_condition::SPLIT) {
        "Splitting"
    } else if summary.accepted == summary.total {
        "Publishing"
    } else if summary.running > 0 {
        "Running"
    } else if summary.verifying > 0 {
        "Verifying"
    } else {
        "Pending"
    }
}
