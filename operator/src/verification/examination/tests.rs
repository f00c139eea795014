use alloy_primitives::B256;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use spillway_crds::{AttemptKind, AttemptState, Payer, ShardState};

use super::*;
use crate::store::tests::{dead_store, memory_store};

pub(crate) const JOB: &str = "7c0f2f3e-0000-4000-8000-000000000001";
const RESULTS: &[u8] = b"{\"custom_id\":\"0\"}\n";

pub(crate) fn place() -> ChainPlace {
    ChainPlace {
        chain_id: 31337,
        contract: alloy_primitives::Address::repeat_byte(0xcc),
    }
}

fn receipt_key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0x22)).unwrap()
}

fn time(second: i64) -> Option<Time> {
    Some(Time(jiff::Timestamp::from_second(second).unwrap()))
}

/// One GPU at 3.60 USD per hour is 1 micro-USD per GPU-millisecond.
pub(crate) fn attempt() -> AttemptStatus {
    AttemptStatus {
        number: 2,
        kind: AttemptKind::Check,
        state: AttemptState::Completed,
        provider: Some("a".to_owned()),
        payout: Some(alloy_primitives::Address::repeat_byte(0xaa).to_string()),
        unit_price_micro: Some(3_600_000),
        upper_bound_micro: 60_000,
        order_expiry: Some(1_900_000_000),
        assigned_at: time(1_800_000_000),
        finished_at: time(1_800_000_030),
        ..AttemptStatus::default()
    }
}

pub(crate) fn status() -> InferenceJobStatus {
    let address = alloy_primitives::Address::repeat_byte(0xbb).to_string();
    InferenceJobStatus {
        payer: Some(Payer {
            spend_policy: "p".to_owned(),
            address,
        }),
        ..Default::default()
    }
}

pub(crate) fn shard() -> ShardStatus {
    ShardStatus {
        index: 3,
        state: ShardState::Verifying,
        input_digest: digest(b"input"),
        input_bytes: 5,
        requests: 1,
        attempts: Vec::new(),
        accepted_attempt: None,
    }
}

pub(crate) fn honest_receipt() -> Receipt {
    Receipt {
        input_digest: digest(b"input"),
        output_digest: digest(RESULTS),
        output_bytes: RESULTS.len() as u64,
        requests: 1,
        failed_requests: 0,
        started: 1_800_000_005,
        finished: 1_800_000_025,
        metered_millis: 20_000,
        prompt_tokens: 7,
        completion_tokens: 0,
        signature: String::new(),
    }
}

/// Signs a receipt as the provider's agent would.
pub(crate) fn signed(mut receipt: Receipt, attempt: &AttemptStatus) -> Receipt {
    let order = order_of(JOB, &status(), shard().index, attempt).unwrap();
    let hash = receipt
        .signed_part(order.hash())
        .unwrap()
        .signing_hash(&place().domain());
    receipt.signature = format!(
        "0x{}",
        hex::encode(receipt_key().sign_hash_sync(&hash).unwrap().as_bytes())
    );
    receipt
}

fn completed(receipt: Receipt) -> AttemptStatus {
    let attempt = attempt();
    AttemptStatus {
        receipt: Some(signed(receipt, &attempt).into()),
        ..attempt
    }
}

async fn examined_in(store: &HubStore, attempt: &AttemptStatus, signer: Option<&str>) -> Examined {
    let (status, shard) = (status(), shard());
    let examination = Examination {
        job_uid: JOB,
        status: &status,
        gpus: 1,
        shard: &shard,
        attempt,
        receipt_signer: signer,
    };
    examine(store, &place(), examination).await
}

async fn examined(attempt: &AttemptStatus) -> Examined {
    let store = memory_store();
    store.put(&keys::attempt_results(JOB, 3, 2), RESULTS).await.unwrap();
    examined_in(&store, attempt, Some(&receipt_key().address().to_string())).await
}

fn reason(examined: Examined) -> (String, String) {
    match examined {
        Examined::Invalid { reason, message } => (reason, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_honest_receipt_is_valid_and_bills_the_meter() {
    let usage = Usage {
        requests: 1,
        prompt_tokens: 7,
        gpu_millis: 20_000,
        ..Usage::default()
    };
    assert_eq!(
        examined(&completed(honest_receipt())).await,
        Examined::Valid {
            gpu_millis: 20_000,
            usage
        }
    );
}

#[tokio::test]
async fn a_meter_that_runs_fast_is_billed_by_the_hubs_clock() {
    let receipt = Receipt {
        metered_millis: 3_600_000,
        ..honest_receipt()
    };
    // 30 s by times that are cut to seconds: 31 at most.
    assert!(matches!(
        examined(&completed(receipt)).await,
        Examined::Valid { gpu_millis: 31_000, .. }
    ));
}

#[tokio::test]
async fn each_lie_is_named() {
    let lies = [
        (
            Receipt {
                requests: 2,
                ..honest_receipt()
            },
            "receipt.requests",
        ),
        (
            Receipt {
                failed_requests: 2,
                ..honest_receipt()
            },
            "receipt.failedRequests",
        ),
        (
            Receipt {
                output_bytes: 1,
                ..honest_receipt()
            },
            "receipt.outputBytes",
        ),
        (
            Receipt {
                output_digest: digest(b"other"),
                ..honest_receipt()
            },
            "receipt.outputDigest",
        ),
        (
            Receipt {
                input_digest: digest(b"other"),
                ..honest_receipt()
            },
            "receipt.inputDigest",
        ),
        (
            Receipt {
                started: 1_800_000_026,
                ..honest_receipt()
            },
            "receipt.started",
        ),
        (
            Receipt {
                finished: 1_900_001_000,
                ..honest_receipt()
            },
            "receipt.finished",
        ),
    ];
    for (receipt, field) in lies {
        let (reason, message) = reason(examined(&completed(receipt)).await);
        assert_eq!(reason, "InvalidReceipt");
        assert!(message.starts_with(field), "{field}: {message}");
    }
}

#[tokio::test]
async fn a_receipt_altered_after_signing_is_invalid() {
    let mut attempt = completed(honest_receipt());
    attempt.receipt.as_mut().unwrap().metered_millis += 1;
    let (_, message) = reason(examined(&attempt).await);
    assert!(message.starts_with("receipt.signature"), "{message}");
}

#[tokio::test]
async fn a_receipt_of_another_order_is_invalid() {
    let mut attempt = completed(honest_receipt());
    attempt.unit_price_micro = Some(1);
    let (_, message) = reason(examined(&attempt).await);
    assert!(message.starts_with("receipt.signature"), "{message}");
}

#[tokio::test]
async fn absent_results_are_a_fact_and_a_silent_store_is_not() {
    let attempt = completed(honest_receipt());
    let signer = receipt_key().address().to_string();
    let (missing, _) = reason(examined_in(&memory_store(), &attempt, Some(&signer)).await);
    assert_eq!(missing, "ResultsMissing");
    assert_eq!(
        examined_in(&dead_store(), &attempt, Some(&signer)).await,
        Examined::Unknown
    );
}

#[tokio::test]
async fn without_the_providers_key_nothing_is_known() {
    let store = memory_store();
    store.put(&keys::attempt_results(JOB, 3, 2), RESULTS).await.unwrap();
    assert_eq!(
        examined_in(&store, &completed(honest_receipt()), None).await,
        Examined::Unknown
    );
}
