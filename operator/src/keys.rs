//! Every key of the hub store, in one place; those of receipts, leaves documents and vouchers stand at their types:
//! [`StoredReceipt`](spillway_crds::StoredReceipt), [`LeavesDocument`](spillway_core::batch::LeavesDocument),
//! [`StoredVouchers`](spillway_crds::StoredVouchers).
//!
//! A key is relative to the prefix of `SPILLWAY_STORE_URL`; it never starts with a slash.

/// Everything of one job but its receipts; ends in a slash.
pub fn job_prefix(job_uid: &str) -> String {
    format!("jobs/{job_uid}/")
}

/// `ShardManifest`, written by the splitter (or by the operator for inline input).
pub fn manifest(job_uid: &str) -> String {
    format!("jobs/{job_uid}/manifest.json")
}

/// Input of one shard, JSONL.
pub fn shard_input(job_uid: &str, shard: u32) -> String {
    format!("jobs/{job_uid}/shards/{shard:05}/input.jsonl")
}

/// Results of one attempt, canonical JSONL.
pub fn attempt_results(job_uid: &str, shard: u32, attempt: u16) -> String {
    format!("jobs/{job_uid}/shards/{shard:05}/{attempt}/results.jsonl")
}

/// `CandidatesRecord`: terms of all candidates of attempts that were planned together, for whoever asks why. Each
/// attempt's `candidatesRecord` names its own.
pub fn candidates(job_uid: &str, record: &str) -> String {
    format!("jobs/{job_uid}/candidates/{record}.json")
}

/// `PublishedResults`, written by the publisher.
pub fn published(job_uid: &str) -> String {
    format!("jobs/{job_uid}/published.json")
}

/// Results of a job without an output store of its own.
pub fn job_results(job_uid: &str) -> String {
    format!("jobs/{job_uid}/results.jsonl")
}

/// Requests without a result, of such a job that failed.
pub fn job_errors(job_uid: &str) -> String {
    format!("jobs/{job_uid}/errors.jsonl")
}

/// All verdicts of one kind over one provider; ends in a slash.
pub fn verdicts_prefix(provider: &str, accepted: bool) -> String {
    format!(
        "verdicts/{provider}/{}/",
        if accepted { "accepted" } else { "rejected" }
    )
}

/// One verdict over one attempt; outlives the job. Reputation is the count of these objects.
pub fn verdict(provider: &str, accepted: bool, job_uid: &str, shard: u32, attempt: u16) -> String {
    format!("{}{job_uid}-{shard}-{attempt}", verdicts_prefix(provider, accepted))
}
