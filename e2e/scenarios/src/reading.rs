//! What a job's status says, for assertions.

use std::collections::BTreeSet;

use spillway_crds::{AttemptState, AttemptStatus, Condition, InferenceJob, find_status_condition, job_condition};

/// Whether a condition of the job has this status.
pub fn holds(job: &InferenceJob, condition: &str, status: &str) -> bool {
    find(job, condition).is_some_and(|found| found.status == status)
}

fn find<'a>(job: &'a InferenceJob, condition: &str) -> Option<&'a Condition> {
    find_status_condition(&job.status.as_ref()?.conditions, condition)
}

/// Reason and message of condition Placeable.
pub fn placeable(job: &InferenceJob) -> Option<(String, String)> {
    find(job, job_condition::PLACEABLE).map(|found| (found.reason.clone(), found.message.clone()))
}

/// The message of condition Placeable, once it has this reason.
pub fn placeable_for(job: &InferenceJob, reason: &str) -> Option<String> {
    placeable(job)
        .filter(|(found, _)| found == reason)
        .map(|(_, message)| message)
}

/// Every attempt of every shard that was ever begun.
pub fn attempts(job: &InferenceJob) -> impl Iterator<Item = &AttemptStatus> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    shards.flat_map(|shard| &shard.attempts)
}

/// The first attempt that runs now.
pub fn running(job: &InferenceJob) -> Option<AttemptStatus> {
    attempts(job)
        .find(|attempt| attempt.state == AttemptState::Running)
        .cloned()
}

/// Providers that ever held an attempt.
pub fn providers(job: &InferenceJob) -> BTreeSet<&str> {
    attempts(job)
        .filter_map(|attempt| attempt.provider.as_deref())
        .collect()
}
