use k8s_openapi::jiff::Timestamp;
use spillway_core::batch::seal;
use spillway_core::money::MicroUsd;

use super::*;
use crate::{Payer, Settlement, SettlementState, SettlementStatus, ShardState, ShardStatus, Time};

const CONTRACT: Address = Address::repeat_byte(0x5a);
const UID: &str = "0b2d7c1e-5f0c-4a3e-9d52-6a9a4f6b8c11";

fn receipt() -> Receipt {
    Receipt {
        input_digest: format!("sha256:{}", "1".repeat(64)),
        output_digest: format!("sha256:{}", "2".repeat(64)),
        output_bytes: 10,
        requests: 1,
        failed_requests: 0,
        started: 1_800_000_000,
        finished: 1_800_000_090,
        metered_millis: 88_431,
        prompt_tokens: 7,
        completion_tokens: 0,
        signature: format_bytes([1; 65]),
    }
}

fn attempt(number: u16, kind: AttemptKind, amount: u64, settlement: Option<u64>) -> AttemptStatus {
    let second = |second| Some(Time(Timestamp::from_second(second).unwrap()));
    AttemptStatus {
        number,
        kind,
        provider: Some("alpha".to_owned()),
        unit_price_micro: Some(1_200_000),
        upper_bound_micro: 2_400_000,
        payout: Some(Address::repeat_byte(0xb0).to_string()),
        order_expiry: Some(1_800_003_600),
        assigned_at: second(1_800_000_000),
        finished_at: second(1_800_000_095),
        receipt: Some(receipt().into()),
        amount_micro: Some(amount),
        settlement,
        ..AttemptStatus::default()
    }
}

fn job(attempts: Vec<AttemptStatus>) -> InferenceJob {
    let spec = serde_yaml::from_str(
        "{engine: {image: 'e@sha256:0'}, input: {inline: 'x'}, resources: {gpus: 1}, \
         price: {maxPerGpuHour: '2', budget: '5'}, output: {uri: 's3://out/'}}",
    )
    .unwrap();
    let mut job = InferenceJob::new("embed", spec);
    job.metadata.uid = Some(UID.to_owned());
    job.metadata.namespace = Some("team-a".to_owned());
    let shard = ShardStatus {
        index: 17,
        state: ShardState::Accepted,
        input_digest: String::new(),
        input_bytes: 0,
        requests: 1,
        attempts,
        accepted_attempt: Some(0),
    };
    job.status = Some(InferenceJobStatus {
        payer: Some(Payer {
            spend_policy: "team".to_owned(),
            address: Address::repeat_byte(0xa1).to_string(),
        }),
        shards: vec![shard],
        ..InferenceJobStatus::default()
    });
    job
}

#[test]
fn an_order_comes_back_from_the_assignment_as_it_was_signed() {
    let job = job(vec![attempt(2, AttemptKind::Check, 5, None)]);
    let status = job.status.as_ref().unwrap();
    let order = order_of(UID, status, 17, &status.shards[0].attempts[0]).unwrap();
    let signed = SignedOrder::new(31337, CONTRACT, &order, &[7; 65]).unwrap();
    assert_eq!(signed.order(UID, 17, 2, AttemptKind::Check).unwrap(), order);
    assert_eq!(signed.signature_bytes().unwrap(), [7; 65]);
    assert_eq!(signed.contract_address().unwrap(), CONTRACT);
}

#[test]
fn malformed_fields_are_named() {
    let mut job = job(vec![attempt(0, AttemptKind::Work, 5, None)]);
    let broken = |change: &dyn Fn(&mut AttemptStatus)| {
        let mut attempt = attempt(0, AttemptKind::Work, 5, None);
        change(&mut attempt);
        leaf_of(&job, 17, &attempt).unwrap_err().field
    };
    assert_eq!(broken(&|it| it.payout = None), "attempt.payout");
    assert_eq!(broken(&|it| it.payout = Some("0x12".to_owned())), "attempt.payout");
    assert_eq!(broken(&|it| it.order_expiry = None), "attempt.orderExpiry");
    assert_eq!(broken(&|it| it.unit_price_micro = None), "attempt.unitPriceMicro");
    assert_eq!(broken(&|it| it.amount_micro = None), "attempt.amountMicro");
    assert_eq!(broken(&|it| it.receipt = None), "attempt.receipt");
    let md5 = Receipt {
        output_digest: "md5:00".to_owned(),
        ..receipt()
    };
    assert_eq!(
        broken(&|it| it.receipt = Some(md5.clone().into())),
        "receipt.outputDigest"
    );
    job.metadata.uid = None;
    let accepted = attempt(0, AttemptKind::Work, 5, None);
    assert_eq!(leaf_of(&job, 17, &accepted).unwrap_err().field, "metadata.uid");
}

fn sealed_of(job: &InferenceJob) -> (Sealed, SettlementSpec) {
    let shards = &job.status.as_ref().unwrap().shards;
    let leaves = shards[0]
        .attempts
        .iter()
        .map(|attempt| leaf_of(job, 17, attempt).unwrap())
        .collect();
    let sealed = seal(31337, CONTRACT, 1, B256::ZERO, leaves).unwrap();
    let spec = SettlementSpec::from_sealed(31337, CONTRACT, &sealed, "settlements/x.json".to_owned()).unwrap();
    (sealed, spec)
}

#[test]
fn a_settlement_spec_gives_back_what_was_sealed_and_notices_a_change() {
    let (sealed, spec) = sealed_of(&job(vec![attempt(0, AttemptKind::Work, 29_477, None)]));
    assert_eq!(spec.header().unwrap(), sealed.header);
    assert_eq!(spec.ledger().unwrap(), (sealed.debits, sealed.credits));
    let richer = SettlementSpec {
        total_micro: 1,
        ..spec.clone()
    };
    assert_eq!(richer.header().unwrap_err().field, "spec.headerHash");
    let other = SettlementSpec {
        credits: vec![],
        ..spec.clone()
    };
    assert_eq!(other.ledger().unwrap_err().field, "spec.ledgerHash");
    let elsewhere = SettlementSpec { chain_id: 1, ..spec };
    assert_eq!(elsewhere.header().unwrap_err().field, "spec.headerHash");
}

#[test]
fn an_invoice_names_batch_and_leaf_of_every_line() {
    let job = job(vec![
        attempt(0, AttemptKind::Work, 29_477, Some(1)),
        attempt(1, AttemptKind::Check, 1_000, Some(2)),
    ]);
    let (sealed, spec) = sealed_of(&job);
    let mut settlement = Settlement::new("settlement-1", spec);
    let transaction = Some("0xabc".to_owned());
    settlement.status = Some(SettlementStatus {
        state: SettlementState::Final,
        transaction,
        ..SettlementStatus::default()
    });
    let invoice = invoice_of(&job, &[settlement]);
    let (work, check) = (&invoice.work[0], &invoice.checks[0]);
    assert!(sealed.leaves.iter().any(|leaf| Some(leaf.hash()) == work.leaf));
    assert_eq!(work.gpu_millis, 88_431);
    assert!(work.settlement.as_ref().unwrap().is_final);
    let unknown = check.settlement.as_ref().unwrap();
    assert_eq!(
        (unknown.sequence, unknown.state.as_str(), unknown.is_final),
        (2, "", false)
    );
    assert_eq!(
        (invoice.totals.total, invoice.totals.settled),
        (MicroUsd(30_477), MicroUsd(29_477))
    );
}

#[test]
fn an_invoice_names_the_billed_time_and_not_the_meter() {
    let billed = |change: fn(&mut AttemptStatus)| {
        let mut attempt = attempt(0, AttemptKind::Work, 20_000, None);
        change(&mut attempt);
        invoice_of(&job(vec![attempt]), &[]).work[0].gpu_millis
    };
    assert_eq!(billed(|attempt| attempt.billed_millis = Some(60_000)), 60_000);
    assert_eq!(billed(|_| ()), 88_431, "the meter is below wall time and bound");
    assert_eq!(
        billed(|attempt| attempt.finished_at = attempt.assigned_at.clone()),
        1_000,
        "wall time"
    );
    assert_eq!(
        billed(|attempt| attempt.upper_bound_micro = 20_000),
        60_000,
        "0.02 at 1.20 an hour"
    );
}
