//! How fast earlier jobs with the same engine were: pure.

use std::time::Duration;

use serde::Serialize;
use spillway_crds::{AttemptStatus, InferenceJob, ShardStatus};

/// Medians over accepted attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pace {
    pub(super) attempts: u32,
    /// Time that is paid, per request.
    pub(super) micros_per_request: u64,
    /// From the assignment to the first paid instant and after the last one: image, engine.
    pub(super) starting_millis: u64,
}

impl Pace {
    pub(super) fn computing(&self, requests: u32) -> Duration {
        Duration::from_micros(self.micros_per_request.saturating_mul(u64::from(requests)))
    }
}

/// `None` without an accepted attempt.
pub(super) fn pace<'a>(jobs: impl Iterator<Item = &'a InferenceJob>) -> Option<Pace> {
    let samples: Vec<(u64, u64)> = jobs.flat_map(samples).collect();
    let median = |of: fn(&(u64, u64)) -> u64| {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    Some(Pace {
        attempts: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        micros_per_request: median(|sample| sample.0)?,
        starting_millis: median(|sample| sample.1)?,
    })
}

fn samples(job: &InferenceJob) -> Vec<(u64, u64)> {
    let gpus = u64::from(job.spec.resources.gpus.max(1));
    let shards = job.status.iter().flat_map(|status| &status.shards);
    let attempts = shards.flat_map(|shard| shard.attempts.iter().map(move |attempt| (shard, attempt)));
    attempts
        .filter_map(|(shard, attempt)| sample(shard, attempt, gpus))
        .collect()
}

/// Paid microseconds per request, and milliseconds besides.
fn sample(shard: &ShardStatus, attempt: &AttemptStatus, gpus: u64) -> Option<(u64, u64)> {
    attempt.verdict.as_ref().filter(|verdict| verdict.accepted)?;
    let computing = attempt.billed_millis? / gpus;
    let wall = attempt
        .finished_at
        .as_ref()?
        .0
        .duration_since(attempt.assigned_at.as_ref()?.0);
    let wall = u64::try_from(wall.as_millis()).unwrap_or_default();
    let per_request = computing.saturating_mul(1_000) / u64::from(shard.requests.max(1));
    Some((per_request, wall.saturating_sub(computing)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(billed: &[u64], accepted: bool) -> InferenceJob {
        let attempts = |millis: &u64| {
            json!({"number": 0, "kind": "Work", "state": "Completed", "billedMillis": millis,
                "assignedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z",
                "verdict": {"accepted": accepted, "method": "ExactDigest", "message": ""}})
        };
        let shards: Vec<_> = billed
            .iter()
            .zip(0..)
            .map(|(millis, index)| json!({"index": index, "state": "Accepted", "inputDigest": "", "inputBytes": 1, "requests": 10, "attempts": [attempts(millis)]}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "metadata": {"name": "a"},
            "spec": {"engine": {"image": "e"}, "input": {"inline": "x"}, "output": {"uri": "s3://o/"},
                "resources": {"gpus": 2}, "price": {"maxPerGpuHour": "1", "budget": "1"}},
            "status": {"shards": shards},
        }))
        .unwrap()
    }

    #[test]
    fn the_median_attempt_is_the_pace() {
        let jobs = [job(&[20_000, 40_000], true), job(&[60_000], true), job(&[1], false)];
        let expected = Pace {
            attempts: 3,
            micros_per_request: 2_000_000,
            starting_millis: 40_000,
        };
        assert_eq!(pace(jobs.iter()), Some(expected));
        assert_eq!(expected.computing(25), Duration::from_secs(50));
        assert_eq!(pace([].into_iter()), None);
    }
}
