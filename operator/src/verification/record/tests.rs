use spillway_crds::Verdict;

use super::super::examination::tests::{JOB, attempt, honest_receipt, place, signed, status};
use super::*;
use crate::dispatch::test_key;
use crate::store::tests::{dead_store, memory_store};
use crate::verification::reputation_counts;

fn judged(accepted: bool) -> AttemptStatus {
    let attempt = attempt();
    AttemptStatus {
        receipt: Some(signed(honest_receipt(), &attempt).into()),
        verdict: Some(Box::new(Verdict {
            accepted,
            method: "ExactDigest".to_owned(),
            message: String::new(),
            compared_with: Some(0),
        })),
        amount_micro: accepted.then_some(20_000),
        ..attempt
    }
}

#[tokio::test]
async fn what_is_stored_pays_what_the_status_owes() {
    let store = memory_store();
    let attempt = judged(true);
    record_accepted(&store, &place(), &test_key(), JOB, &status(), 3, &attempt)
        .await
        .unwrap();
    let stored = stored_receipt(&store, JOB, 3, 2).await.unwrap();
    let mut job = crate::pods::tests::job();
    job.metadata.uid = Some(JOB.to_owned());
    job.status = Some(status());
    let owed = spillway_crds::money::leaf_of(&job, 3, &attempt).unwrap();
    assert_eq!(stored.leaf(place().chain_id, place().contract).unwrap(), owed);
    let order = stored.order.order(JOB, 3, 2, stored.kind).unwrap();
    let signature = stored.order.signature_bytes().unwrap();
    assert_eq!(
        order.recover(&place().domain(), &signature).unwrap(),
        test_key().address()
    );
}

#[tokio::test]
async fn a_receipt_of_another_contract_pays_nothing() {
    let store = memory_store();
    record_accepted(&store, &place(), &test_key(), JOB, &status(), 3, &judged(true))
        .await
        .unwrap();
    let stored = stored_receipt(&store, JOB, 3, 2).await.unwrap();
    let elsewhere = ChainPlace { chain_id: 1, ..place() };
    let refusal = stored.leaf(elsewhere.chain_id, elsewhere.contract).unwrap_err();
    assert_eq!(refusal.field, "order.contract");
}

#[tokio::test]
async fn verdicts_are_counted_once_however_often_they_are_written() {
    let store = memory_store();
    for _ in 0..3 {
        record_accepted(&store, &place(), &test_key(), JOB, &status(), 3, &judged(true))
            .await
            .unwrap();
        record_rejected(&store, JOB, 4, &judged(false)).await.unwrap();
        record_rejected(&store, JOB, 5, &judged(false)).await.unwrap();
    }
    store.delete_prefix(&keys::job_prefix(JOB)).await.unwrap();
    let counts = reputation_counts(&store, "a").await.unwrap();
    assert_eq!((counts.accepted, counts.rejected), (1, 2));
    let other = reputation_counts(&store, "ab").await.unwrap();
    assert_eq!((other.accepted, other.rejected), (0, 0));
    assert!(reputation_counts(&dead_store(), "a").await.is_err());
}
