//! The invoice of a job, from its status and the Settlements that pay it.

use spillway_core::invoice::{Heading, Invoice, Line, Payment};
use spillway_core::money::{MicroUsd, UnitPrice};
use spillway_core::receipt::wall_gpu_millis;

use super::leaf_of;
use crate::{AttemptStatus, InferenceJob, Settlement, SettlementState, Time};

/// A line for every attempt with an amount; a line whose Settlement is not among `settlements` names its sequence only.
pub fn invoice_of(job: &InferenceJob, settlements: &[Settlement]) -> Invoice {
    let status = job.status.as_ref();
    let shards = status.map(|status| status.shards.as_slice()).unwrap_or_default();
    let attempts = shards
        .iter()
        .flat_map(|shard| shard.attempts.iter().map(|attempt| (shard.index, attempt)));
    let lines = attempts
        .filter_map(|(shard, attempt)| line(job, shard, attempt, settlements))
        .collect();
    Invoice::new(heading(job), lines)
}

fn heading(job: &InferenceJob) -> Heading {
    let payer = job.status.as_ref().and_then(|status| status.payer.as_ref());
    Heading {
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        job: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        payer: payer.map(|payer| payer.address.clone()),
    }
}

fn line(job: &InferenceJob, shard: u32, attempt: &AttemptStatus, settlements: &[Settlement]) -> Option<Line> {
    let amount = MicroUsd(attempt.amount_micro?);
    Some(Line {
        shard,
        attempt: attempt.number,
        kind: attempt.kind.into(),
        provider: attempt.provider.clone().unwrap_or_default(),
        gpu_millis: billed_millis(job, attempt),
        unit_price: UnitPrice(attempt.unit_price_micro.unwrap_or_default()),
        amount,
        settlement: attempt.settlement.map(|sequence| payment(sequence, settlements)),
        leaf: leaf_of(job, shard, attempt).ok().map(|leaf| leaf.hash()),
    })
}

/// As it was fixed at acceptance; of a status that does not hold it, as `spillway_core::receipt::check` bills.
fn billed_millis(job: &InferenceJob, attempt: &AttemptStatus) -> u64 {
    attempt.billed_millis.unwrap_or_else(|| billed_anew(job, attempt))
}

fn billed_anew(job: &InferenceJob, attempt: &AttemptStatus) -> u64 {
    let metered = attempt.receipt.as_ref().map_or(0, |receipt| receipt.metered_millis);
    let price = UnitPrice(attempt.unit_price_micro.unwrap_or_default());
    let metered = metered.min(price.millis_within(MicroUsd(attempt.upper_bound_micro)));
    let second = |time: &Option<Time>| time.as_ref().and_then(|time| u64::try_from(time.0.as_second()).ok());
    let (Some(assigned), Some(finished)) = (second(&attempt.assigned_at), second(&attempt.finished_at)) else {
        return metered;
    };
    metered.min(wall_gpu_millis(assigned, finished, job.spec.resources.gpus))
}

fn payment(sequence: u64, settlements: &[Settlement]) -> Payment {
    let settlement = settlements
        .iter()
        .find(|settlement| settlement.spec.sequence == sequence);
    let state = settlement.map(|settlement| {
        settlement
            .status
            .as_ref()
            .map(|status| status.state)
            .unwrap_or_default()
    });
    Payment {
        sequence,
        state: state.map(|state| format!("{state:?}")).unwrap_or_default(),
        transaction: settlement.and_then(|settlement| settlement.status.as_ref()?.transaction.clone()),
        jobs_root: settlement.map(|settlement| settlement.spec.jobs_root.clone()),
        is_final: state == Some(SettlementState::Final),
    }
}
