use spillway_core::batch::seal;
use spillway_core::merkle;
use spillway_crds::{ShardState, Verdict};

use super::*;
use crate::store::tests::{dead_store, memory_store};
use crate::verification::test_facts::{JOB, attempt, honest_receipt, place, shard, status};

fn accepted(number: u16, kind: AttemptKind) -> AttemptStatus {
    AttemptStatus {
        number,
        kind,
        receipt: Some(honest_receipt().into()),
        verdict: Some(Box::new(Verdict {
            accepted: true,
            method: "ExactDigest".to_owned(),
            message: String::new(),
            compared_with: None,
        })),
        amount_micro: Some(20_000),
        ..attempt()
    }
}

fn job(attempts: Vec<AttemptStatus>) -> InferenceJob {
    let shard = ShardStatus {
        state: ShardState::Accepted,
        attempts,
        ..shard()
    };
    let mut job = crate::pods::tests::job();
    job.metadata.uid = Some(JOB.to_owned());
    job.status = Some(spillway_crds::InferenceJobStatus {
        shards: vec![shard],
        ..status()
    });
    job
}

fn numbers(attempts: Vec<AttemptStatus>) -> Vec<u16> {
    payables(&job(attempts))
        .into_iter()
        .map(|payable| payable.id.attempt)
        .collect()
}

#[test]
fn work_and_check_are_owed() {
    assert_eq!(
        numbers(vec![accepted(0, AttemptKind::Work), accepted(1, AttemptKind::Check)]),
        [0, 1]
    );
}

#[test]
fn what_is_not_accepted_not_complete_free_or_sealed_is_not_owed() {
    let rejected = |attempt: AttemptStatus| {
        let verdict = attempt.verdict.map(|mut verdict| {
            verdict.accepted = false;
            verdict
        });
        AttemptStatus { verdict, ..attempt }
    };
    let work = || accepted(0, AttemptKind::Work);
    assert!(numbers(vec![rejected(work())]).is_empty());
    assert!(
        numbers(vec![AttemptStatus {
            verdict: None,
            ..work()
        }])
        .is_empty()
    );
    assert!(
        numbers(vec![AttemptStatus {
            state: AttemptState::Lost,
            ..work()
        }])
        .is_empty()
    );
    assert!(
        numbers(vec![AttemptStatus {
            amount_micro: Some(0),
            ..work()
        }])
        .is_empty()
    );
    assert!(
        numbers(vec![AttemptStatus {
            settlement: Some(1),
            ..work()
        }])
        .is_empty()
    );
    assert!(
        numbers(vec![AttemptStatus {
            receipt: None,
            ..work()
        }])
        .is_empty()
    );
}

#[test]
fn one_kind_of_a_shard_is_never_owed_twice() {
    let (first, second) = (accepted(0, AttemptKind::Work), accepted(1, AttemptKind::Work));
    assert_eq!(numbers(vec![first.clone(), second.clone()]), [0]);
    assert!(
        numbers(vec![
            AttemptStatus {
                settlement: Some(1),
                ..first
            },
            second
        ])
        .is_empty()
    );
}

fn settlement(attempts: Vec<AttemptStatus>) -> (Settlement, Vec<u8>) {
    let leaves = payables(&job(attempts))
        .into_iter()
        .map(|payable| payable.leaf)
        .collect();
    let sealed = seal(place().chain_id, place().contract, 1, B256::ZERO, leaves).unwrap();
    let key = spillway_core::batch::LeavesDocument::key(sealed.header.dataHash);
    let spec = spillway_crds::SettlementSpec::from_sealed(place().chain_id, place().contract, &sealed, key).unwrap();
    (Settlement::new("settlement-1", spec), sealed.document)
}

#[tokio::test]
async fn a_job_finds_its_attempts_in_the_document() {
    let (settlement, document) = settlement(vec![accepted(0, AttemptKind::Work), accepted(1, AttemptKind::Check)]);
    let store = memory_store();
    store.put(&settlement.spec.data_key, document).await.unwrap();
    let sealed = SealedAttempts::default();
    let found = sealed.of_job(&store, &settlement, JOB).await.unwrap();
    let owed = job(vec![accepted(0, AttemptKind::Work), accepted(1, AttemptKind::Check)]);
    let leaves = payables(&owed)
        .into_iter()
        .map(|payable| ((payable.leaf.shard, payable.leaf.attempt), payable.leaf.hash()));
    let leaves: BTreeMap<(u32, u16), B256> = leaves.collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&(3, 0), &(3, 1)]);
    let root = settlement.spec.header().unwrap().jobsRoot;
    assert!(
        found
            .iter()
            .all(|(key, proof)| merkle::verify(root, leaves[key], proof)),
        "{found:?}"
    );
    assert!(sealed.of_job(&store, &settlement, "another").await.unwrap().is_empty());
    // Known by now: a silent store does no harm.
    assert_eq!(sealed.of_job(&dead_store(), &settlement, JOB).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_altered_document_is_not_believed() {
    let (settlement, _) = settlement(vec![accepted(0, AttemptKind::Work)]);
    let store = memory_store();
    store.put(&settlement.spec.data_key, "{}").await.unwrap();
    let read = SealedAttempts::default().of(&store, &settlement).await;
    assert!(matches!(read, Err(AccrualError::Altered(_))), "{read:?}");
}
