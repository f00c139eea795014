//! What is published of a job: its accepted results, and the requests that have none once it failed. Joined in the hub
//! store for a job without an output store of its own.

use spillway_core::results::{self, ResultError};
use spillway_core::shard::{self, PublishedErrors, PublishedReport};
use spillway_crds::{InferenceJob, find_status_condition, job_condition};

use super::{ReconcileError, uid};
use crate::keys;
use crate::store::HubStore;
use crate::verification::RESULTS_LIMIT;

/// Of one shard of an inline input, which is part of the job's object.
const INPUT_LIMIT: u64 = 4 << 20;

/// Shard, attempt and digest of every accepted result, in order.
pub(super) fn accepted_results(job: &InferenceJob) -> Vec<(u32, u16, String)> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    let accepted = shards.filter_map(|shard| {
        let number = shard.accepted_attempt?;
        let attempt = shard.attempts.iter().find(|attempt| attempt.number == number)?;
        Some((shard.index, number, attempt.receipt.as_ref()?.output_digest.clone()))
    });
    accepted.collect()
}

/// Shards of a failed job that have no accepted result, and what is said of each of their requests: codes as of OpenAI
/// batches.
pub(super) fn unfinished(job: &InferenceJob) -> Option<(Vec<u32>, ResultError)> {
    let status = job.status.as_ref()?;
    let failed = find_status_condition(&status.conditions, job_condition::FAILED)?;
    if failed.status != "True" {
        return None;
    }
    let expired = failed.reason == "DeadlineExceeded";
    let error = ResultError {
        code: if expired { "batch_expired" } else { "batch_failed" }.to_owned(),
        message: format!("{}: {}", failed.reason, failed.message),
    };
    let shards = status.shards.iter().filter(|shard| shard.accepted_attempt.is_none());
    let shards: Vec<u32> = shards.map(|shard| shard.index).collect();
    (!shards.is_empty()).then_some((shards, error))
}

/// Lists the requests of a failed job that have no result.
async fn errors(store: &HubStore, job: &InferenceJob) -> Result<Option<PublishedErrors>, ReconcileError> {
    let Some((shards, error)) = unfinished(job) else {
        return Ok(None);
    };
    let mut errors = Vec::new();
    for shard in shards {
        let input = store.get(&keys::shard_input(uid(job), shard), INPUT_LIMIT).await?;
        errors.extend(results::error_lines(&input, &error)?);
    }
    let key = keys::job_errors(uid(job));
    let published = PublishedErrors {
        uri: format!("hub://{key}"),
        lines: results::count_lines(&errors),
    };
    store.put(&key, errors).await?;
    Ok(Some(published))
}

/// Joins the accepted results into one object; the report last, for it says that the results are there.
pub(super) async fn publish(store: &HubStore, job: &InferenceJob) -> Result<(), ReconcileError> {
    let errors = errors(store, job).await?;
    let mut joined = Vec::new();
    for (shard, attempt, digest) in accepted_results(job) {
        let key = keys::attempt_results(uid(job), shard, attempt);
        let bytes = store.get(&key, RESULTS_LIMIT).await?;
        if shard::digest(&bytes) != digest {
            return Err(ReconcileError::Altered(key));
        }
        joined.extend_from_slice(&bytes);
    }
    let key = keys::job_results(uid(job));
    let report = PublishedReport {
        uri: format!("hub://{key}"),
        digest: shard::digest(&joined),
        lines: results::count_lines(&joined),
        errors,
    };
    store.put(&key, joined).await?;
    Ok(store
        .put(&keys::published(uid(job)), serde_json::to_vec(&report)?)
        .await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spillway_core::results::{ResultLine, error_lines};

    use super::*;
    use crate::store::tests::memory_store;

    /// Shard 0 is accepted, shard 1 is not; failed for `reason` unless it is empty.
    fn job(reason: &str) -> InferenceJob {
        let condition = json!({
            "type": "Failed", "status": if reason.is_empty() { "False" } else { "True" }, "reason": reason,
            "message": "not complete within 2h", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let receipt = json!({
            "inputDigest": "sha256:0", "outputDigest": shard::digest(b"one\n"), "outputBytes": 4, "requests": 1,
            "failedRequests": 0, "promptTokens": 1, "completionTokens": 0, "started": 1, "finished": 2,
            "meteredMillis": 500, "signature": "0x",
        });
        let attempt = json!({"number": 0, "kind": "Work", "state": "Completed", "receipt": receipt});
        let shard = |index: u32, state: &str| json!({"index": index, "state": state, "inputDigest": "sha256:0", "inputBytes": 1, "requests": 1});
        let mut shards = [shard(0, "Accepted"), shard(1, "Pending")];
        shards[0]["acceptedAttempt"] = json!(0);
        shards[0]["attempts"] = json!([attempt]);
        let object = json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "metadata": {"name": "embed", "uid": "uid-1"},
            "spec": {
                "engine": {"image": "engine"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
                "price": {"maxPerGpuHour": "1", "budget": "1"},
            },
            "status": {"conditions": [condition], "shards": shards},
        });
        serde_json::from_value(object).unwrap()
    }

    async fn store() -> HubStore {
        let store = memory_store();
        let put = async |key: String, body: &'static [u8]| store.put(&key, body.to_vec()).await.unwrap();
        put(keys::attempt_results("uid-1", 0, 0), b"one\n").await;
        put(keys::shard_input("uid-1", 1), b"{\"custom_id\": \"b\"}\n").await;
        store
    }

    async fn report(store: &HubStore) -> PublishedReport {
        let report = store.get(&keys::published("uid-1"), RESULTS_LIMIT).await.unwrap();
        serde_json::from_slice(&report).unwrap()
    }

    #[tokio::test]
    async fn a_failed_job_gets_its_results_and_the_rest_as_errors() {
        let (store, job) = (store().await, job("DeadlineExceeded"));
        publish(&store, &job).await.unwrap();
        let report = report(&store).await;
        assert_eq!(
            (report.uri.as_str(), report.lines),
            ("hub://jobs/uid-1/results.jsonl", 1)
        );
        let errors = report.errors.unwrap();
        assert_eq!(
            (errors.uri.as_str(), errors.lines),
            ("hub://jobs/uid-1/errors.jsonl", 1)
        );
        let written = store.get(&keys::job_errors("uid-1"), INPUT_LIMIT).await.unwrap();
        let line: ResultLine = serde_json::from_slice(&written).unwrap();
        let error = line.error.clone().unwrap();
        assert_eq!((line.custom_id.as_str(), error.code.as_str()), ("b", "batch_expired"));
        assert_eq!(error.message, "DeadlineExceeded: not complete within 2h");
        assert_eq!(error_lines(b"{\"custom_id\": \"b\"}", &error).unwrap(), written);
    }

    #[tokio::test]
    async fn a_job_that_did_not_fail_has_no_errors_file() {
        let store = store().await;
        publish(&store, &job("")).await.unwrap();
        assert!(report(&store).await.errors.is_none());
        assert!(store.get(&keys::job_errors("uid-1"), INPUT_LIMIT).await.is_err());
    }

    #[test]
    fn other_failures_are_no_expiry() {
        let (shards, error) = unfinished(&job("RetriesExhausted")).unwrap();
        assert_eq!((shards, error.code.as_str()), (vec![1], "batch_failed"));
    }
}
