//! Which attempts a Settlement pays, with the proof of each, and which are still owed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::B256;
use spillway_core::batch::{Leaf, LeavesDocument, jobs_proofs};
use spillway_core::order::job_id;
use spillway_crds::money::{ConversionError, leaf_of};
use spillway_crds::{AttemptKind, AttemptState, AttemptStatus, InferenceJob, Settlement, ShardStatus};
use tokio::sync::Mutex;

use super::controller::AccrualError;
use super::plan::Payable;
use crate::store::HubStore;

/// About 1 KiB a leaf.
const DOCUMENT_LIMIT: u64 = 16 << 20;

/// One paid attempt, as leaves name it. `job` is keccak256 of the job's UID ([`job_id`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    pub job: B256,
    pub shard: u32,
    pub attempt: u16,
    pub kind: u8,
}

impl AttemptId {
    pub fn of(leaf: &Leaf) -> Self {
        Self {
            job: leaf.job,
            shard: leaf.shard,
            attempt: leaf.attempt,
            kind: leaf.kind,
        }
    }
}

/// Position of an attempt's leaf, then the siblings from it up to the Settlement's `jobsRoot`.
pub type Proof = Vec<B256>;

/// What one Settlement pays, in the order of [`AttemptId`]: one job's attempts lie together.
pub type Paid = Arc<BTreeMap<AttemptId, Proof>>;

/// Reads leaves documents; they never change, so the latest few are kept.
#[derive(Debug, Default)]
pub struct SealedAttempts {
    known: Mutex<BTreeMap<u64, Paid>>,
}

const KEPT: usize = 8;

impl SealedAttempts {
    /// All attempts that a Settlement pays, each with its proof.
    ///
    /// # Errors
    /// `Store` when the document cannot be read now; `Altered` when it is not the one that was sealed.
    pub async fn of(&self, store: &HubStore, settlement: &Settlement) -> Result<Paid, AccrualError> {
        let sequence = settlement.spec.sequence;
        let mut known = self.known.lock().await;
        if let Some(attempts) = known.get(&sequence) {
            return Ok(attempts.clone());
        }
        let bytes = store.get(&settlement.spec.data_key, DOCUMENT_LIMIT).await?;
        let attempts = Arc::new(attempts_in(&bytes, &settlement.spec.data_hash)?);
        known.insert(sequence, attempts.clone());
        while known.len() > KEPT {
            known.pop_first();
        }
        Ok(attempts)
    }

    /// Shard and number of this job's attempts that a Settlement pays, with proofs: what the job controller marks.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub async fn of_job(
        &self,
        store: &HubStore,
        settlement: &Settlement,
        job_uid: &str,
    ) -> Result<BTreeMap<(u32, u16), Proof>, AccrualError> {
        let job = job_id(job_uid);
        let attempts = self.of(store, settlement).await?;
        let first = AttemptId {
            job,
            shard: 0,
            attempt: 0,
            kind: 0,
        };
        Ok(attempts
            .range(first..)
            .take_while(|(id, _)| id.job == job)
            .map(|(id, proof)| ((id.shard, id.attempt), proof.clone()))
            .collect())
    }
}

fn attempts_in(document: &[u8], data_hash: &str) -> Result<BTreeMap<AttemptId, Proof>, AccrualError> {
    let sealed = data_hash.parse::<B256>().ok();
    if sealed != Some(alloy_primitives::keccak256(document)) {
        return Err(AccrualError::Altered(data_hash.to_owned()));
    }
    // In the document's order, which is the tree's.
    let leaves = LeavesDocument::parse(document)?.leaves()?;
    let proofs = jobs_proofs(&leaves).ok_or_else(|| AccrualError::Altered(data_hash.to_owned()))?;
    Ok(leaves.iter().map(AttemptId::of).zip(proofs).collect())
}

/// Every attempt of a job that is owed and named by no settlement; of each shard and kind one at most, and none once
/// one of them is sealed. The status should never owe two: if it does, the second is not paid.
pub fn payables(job: &InferenceJob) -> Vec<Payable> {
    let shards = job
        .status
        .as_ref()
        .map(|status| status.shards.as_slice())
        .unwrap_or_default();
    shards.iter().flat_map(|shard| payables_of_shard(job, shard)).collect()
}

fn payables_of_shard(job: &InferenceJob, shard: &ShardStatus) -> Vec<Payable> {
    let sealed = shard.attempts.iter().filter(|attempt| attempt.settlement.is_some());
    let mut paid: BTreeSet<AttemptKind> = sealed.map(|attempt| attempt.kind).collect();
    let mut found = Vec::new();
    for attempt in shard.attempts.iter().filter(|attempt| is_owed(attempt)) {
        let refused = |why: &dyn std::fmt::Display| {
            let job = job.metadata.uid.as_deref().unwrap_or_default();
            tracing::error!(job, shard = shard.index, attempt = attempt.number, %why, "an attempt is not paid");
        };
        match payable(job, shard.index, attempt) {
            Err(error) => refused(&error),
            Ok(_) if !paid.insert(attempt.kind) => refused(&"its kind is paid for this shard already"),
            Ok(payable) => found.push(payable),
        }
    }
    found
}

fn is_owed(attempt: &AttemptStatus) -> bool {
    let accepted = attempt.verdict.as_ref().is_some_and(|verdict| verdict.accepted);
    let amount = attempt.amount_micro.unwrap_or_default();
    accepted && amount > 0 && attempt.state == AttemptState::Completed && attempt.settlement.is_none()
}

fn payable(job: &InferenceJob, shard: u32, attempt: &AttemptStatus) -> Result<Payable, ConversionError> {
    let leaf = leaf_of(job, shard, attempt)?;
    let missing = |field| ConversionError {
        field,
        message: "is not set yet".to_owned(),
    };
    let since = attempt
        .finished_at
        .as_ref()
        .ok_or_else(|| missing("attempt.finishedAt"))?
        .0;
    let job_uid = job.metadata.uid.clone().ok_or_else(|| missing("metadata.uid"))?;
    Ok(Payable {
        id: AttemptId::of(&leaf),
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        name: job.metadata.name.clone().unwrap_or_default(),
        job_uid,
        leaf,
        since,
    })
}

#[cfg(test)]
mod tests;
