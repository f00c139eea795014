//! Settlements, as far as the job's own story tells of them.

use spillway_crds::money::format_bytes;
use spillway_crds::{AttemptStatus, job_condition, spend_policy_condition};

use super::draft::{Draft, is_accepted};

/// Marks each attempt that a Settlement pays. A mark is never moved: one attempt is paid once.
pub(super) fn record(draft: &mut Draft<'_>) {
    for settlement in &draft.observed.settlements {
        for ((shard, number), proof) in &settlement.pays {
            let shards = draft
                .status
                .shards
                .iter_mut()
                .filter(|candidate| candidate.index == *shard);
            let paid = shards
                .flat_map(|shard| &mut shard.attempts)
                .find(|attempt| attempt.number == *number);
            if let Some(attempt) = paid.filter(|attempt| is_accepted(attempt) && attempt.settlement.is_none()) {
                attempt.settlement = Some(settlement.sequence);
                attempt.proof = Some(proof.iter().map(format_bytes).collect());
            }
        }
    }
    let paid = draft
        .status
        .shards
        .iter()
        .flat_map(|shard| &shard.attempts)
        .filter_map(|attempt| attempt.settlement);
    let mut sequences: Vec<u64> = paid.collect();
    sequences.sort_unstable();
    sequences.dedup();
    draft.status.settlements = sequences;
}

/// What the SpendPolicy of this job says of a payer that keeps its providers waiting: payer, amount and cure, over all
/// jobs of the policy.
fn waits_for_payer(draft: &Draft<'_>) -> Option<String> {
    let pays = &draft.status.payer.as_ref()?.spend_policy;
    let mut policies = draft.observed.policies.iter();
    let policy = policies.find(|policy| policy.metadata.name.as_ref() == Some(pays))?;
    let mut conditions = policy.status.iter().flat_map(|status| &status.conditions);
    let payable = conditions.find(|one| one.type_ == spend_policy_condition::PAYABLE && one.status == "False")?;
    Some(format!("SpendPolicy {pays}: {}", payable.message))
}

/// Condition Settled, from the end of the job on.
pub(super) fn conclude(draft: &mut Draft<'_>) {
    if !draft.is_terminal() || draft.condition_holds(job_condition::SETTLED) {
        return;
    }
    let owed = |attempt: &&AttemptStatus| is_accepted(attempt) && attempt.amount_micro.unwrap_or_default() > 0;
    let attempts: Vec<&AttemptStatus> = draft
        .status
        .shards
        .iter()
        .flat_map(|shard| &shard.attempts)
        .filter(owed)
        .collect();
    let unsealed = attempts.iter().filter(|attempt| attempt.settlement.is_none()).count();
    let sequences = &draft.status.settlements;
    let is_final = |sequence: &&u64| {
        draft
            .observed
            .settlements
            .iter()
            .any(|settlement| settlement.sequence == **sequence && settlement.is_final)
    };
    let finals = sequences.iter().filter(is_final).count();
    let (holds, reason, message) = if attempts.is_empty() {
        (true, "NothingOwed", "no attempt was accepted".to_owned())
    } else if let Some(waits) = waits_for_payer(draft).filter(|_| unsealed > 0) {
        (false, "WaitsForPayer", waits)
    } else if unsealed > 0 {
        (
            false,
            "InProgress",
            format!(
                "accepted attempts in a settlement: {} of {}",
                attempts.len() - unsealed,
                attempts.len()
            ),
        )
    } else if finals < sequences.len() {
        (
            false,
            "InProgress",
            format!("final settlements: {finals} of {}", sequences.len()),
        )
    } else {
        (
            true,
            "Settled",
            format!("paid attempts: {}, settlements: {}", attempts.len(), sequences.len()),
        )
    };
    draft.set_condition(job_condition::SETTLED, holds, reason, &message);
}
