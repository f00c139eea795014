//! Splitting: from the input to the shards of the status, by the splitter pod or, for inline input, by the operator.

use spillway_core::knowledge::Knowledge;
use spillway_core::shard::{self, ShardCount, ShardEntry, ShardManifest};
use spillway_crds::{ShardState, ShardStatus, job_condition};

use super::action::Action;
use super::draft::Draft;

/// Whether the shards are there; else the next step towards them is planned.
pub(super) fn split(draft: &mut Draft<'_>, count: ShardCount) -> bool {
    if !draft.status.shards.is_empty() {
        return true;
    }
    let observed = draft.observed;
    match &observed.manifest {
        Knowledge::Unknown => draft.ask_again(),
        Knowledge::Known(Some(Ok(manifest))) => return record(draft, manifest),
        Knowledge::Known(Some(Err(message))) => draft.fail("InvalidManifest", message),
        Knowledge::Known(None) => start(draft, count),
    }
    false
}

fn record(draft: &mut Draft<'_>, manifest: &ShardManifest) -> bool {
    draft.status.shards = manifest.shards.iter().map(shard_status).collect();
    let requests: u64 = manifest.shards.iter().map(|shard| u64::from(shard.requests)).sum();
    let message = format!("shards: {}, requests: {requests}", manifest.shards.len());
    draft.set_condition(job_condition::SPLIT, true, "Split", &message);
    true
}

fn shard_status(entry: &ShardEntry) -> ShardStatus {
    ShardStatus {
        index: entry.index,
        state: ShardState::Pending,
        input_digest: entry.digest.clone(),
        input_bytes: entry.bytes,
        requests: entry.requests,
        attempts: Vec::new(),
        accepted_attempt: None,
    }
}

fn start(draft: &mut Draft<'_>, count: ShardCount) {
    let observed = draft.observed;
    if let Some(inline) = &observed.job.spec.input.inline {
        return start_inline(draft, inline, count);
    }
    match &observed.splitter.pod {
        None => draft.act(Action::CreateSplitter),
        Some(pod) if !pod.ours => {
            return draft.fail(
                "NameTaken",
                "a pod with the splitter's name exists and is not this job's: delete it, and apply the job again",
            );
        }
        Some(pod) if pod.phase == "Failed" => {
            let message = pod
                .message
                .as_deref()
                .unwrap_or("the splitter failed: see the log of its pod");
            return draft.fail("SplitFailed", message);
        }
        // Succeeded without a manifest: the store is read again.
        Some(_) => draft.ask_again(),
    }
    draft.set_condition(job_condition::SPLIT, false, "Splitting", "the splitter reads the input");
}

/// The cut is computed here to learn of bad input; `apply` makes the same cut again and stores it.
fn start_inline(draft: &mut Draft<'_>, inline: &str, count: ShardCount) {
    match shard::split(inline.as_bytes(), count) {
        Err(error) => draft.fail("InvalidInput", &format!("spec.input.inline: {error}")),
        Ok(_) => {
            draft.act(Action::SplitInline);
            draft.ask_again();
            draft.set_condition(
                job_condition::SPLIT,
                false,
                "Splitting",
                "the inline input is being cut",
            );
        }
    }
}
