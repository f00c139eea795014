//! Settlements and jobs as `spillway_core::reconcile` compares them.

use alloy_primitives::{Address, B256};
use spillway_core::batch::entry_parts;
use spillway_core::merkle;
use spillway_core::order::job_id;
use spillway_core::reconcile::{AcceptedReceipt, Claim, Roots, SealedBatch};

use super::{ConversionError, hash, leaf_of};
use crate::{AttemptState, AttemptStatus, InferenceJob, Settlement, SettlementSpec, SettlementState};

/// The Settlement as a ledger's entry.
///
/// # Errors
/// When a hash is malformed or the header does not have the hash that the spec names.
pub fn sealed_batch(settlement: &Settlement) -> Result<SealedBatch, ConversionError> {
    let spec = &settlement.spec;
    let status = settlement.status.clone().unwrap_or_default();
    let header = spec.header()?;
    Ok(SealedBatch {
        sequence: spec.sequence,
        header_hash: hash("spec.headerHash", &spec.header_hash)?,
        previous: header.previous,
        jobs_root: header.jobsRoot,
        data_hash: header.dataHash,
        total: header.total,
        count: header.count,
        roots: (!header.payRoot.is_zero()).then_some(Roots {
            cumulative: header.cumulative,
            pay: header.payRoot,
            spend: header.spendRoot,
        }),
        claims: match status.state {
            SettlementState::Final => Claim::Final,
            SettlementState::Failed => Claim::Failed,
            _ => Claim::Open,
        },
        block_number: status.block_number,
        recorded: status.recorded,
        leaves_deleted: status.leaves_deleted_at.is_some(),
    })
}

/// Every accepted attempt of a job that is owed or paid.
///
/// # Errors
/// The first attempt whose leaf cannot be made: it cannot be paid either.
pub fn accepted_receipts(job: &InferenceJob) -> Result<Vec<AcceptedReceipt>, ConversionError> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    let attempts = shards.flat_map(|shard| shard.attempts.iter().map(move |attempt| (shard.index, attempt)));
    let owed = attempts.filter(|(_, attempt)| is_owed(attempt));
    owed.map(|(shard, attempt)| receipt(job, shard, attempt)).collect()
}

/// What each provider earns in a batch, micro-USD.
///
/// # Errors
/// When an entry is malformed.
pub fn credits_of(spec: &SettlementSpec) -> Result<Vec<(Address, u128)>, ConversionError> {
    entries("spec.credits", &spec.credits)
}

/// What each payer spends in a batch, micro-USD.
///
/// # Errors
/// When an entry is malformed.
pub fn debits_of(spec: &SettlementSpec) -> Result<Vec<(Address, u128)>, ConversionError> {
    entries("spec.debits", &spec.debits)
}

fn entries(field: &'static str, packed: &[String]) -> Result<Vec<(Address, u128)>, ConversionError> {
    let entry = |text: &String| Ok(entry_parts(hash(field, text)?));
    packed.iter().map(entry).collect()
}

/// Id of the job in leaves; zero before the API server gave it a UID.
pub fn id_of(job: &InferenceJob) -> B256 {
    job.metadata.uid.as_deref().map(job_id).unwrap_or_default()
}

fn is_owed(attempt: &AttemptStatus) -> bool {
    let accepted = attempt.verdict.as_ref().is_some_and(|verdict| verdict.accepted);
    accepted && attempt.state == AttemptState::Completed && attempt.amount_micro.unwrap_or_default() > 0
}

fn receipt(job: &InferenceJob, shard: u32, attempt: &AttemptStatus) -> Result<AcceptedReceipt, ConversionError> {
    let leaf = leaf_of(job, shard, attempt)?;
    let proof = attempt
        .proof
        .as_ref()
        .map(|proof| root_of(leaf.hash(), proof))
        .transpose()?;
    let since = attempt.finished_at.as_ref().map(|time| time.0.as_second());
    let (namespace, name) = (job.metadata.namespace.as_deref(), job.metadata.name.as_deref());
    Ok(AcceptedReceipt {
        job: format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default()),
        since: since.and_then(|second| u64::try_from(second).ok()).unwrap_or_default(),
        settlement: attempt.settlement,
        root: attempt.settlement.and(proof),
        leaf,
    })
}

fn root_of(leaf: B256, proof: &[String]) -> Result<B256, ConversionError> {
    proof.iter().try_fold(leaf, |node, sibling| {
        Ok(merkle::parent(node, hash("attempt.proof", sibling)?))
    })
}
