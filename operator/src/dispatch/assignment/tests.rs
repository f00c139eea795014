use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use spillway_core::order::{Acceptance, Kind};
use spillway_core::sealing::SecretKey;
use spillway_crds::{GpuProviderSpec, GpuProviderStatus};

use super::super::key::tests::test_key;
use super::*;
use crate::store::tests::memory_store;
use crate::verification::test_facts::{attempt, place, shard, status};

fn bound_attempt() -> AttemptStatus {
    AttemptStatus {
        node: Some("spillway-a-gpu0".to_owned()),
        ..attempt()
    }
}

fn job() -> InferenceJob {
    InferenceJob {
        status: Some(status()),
        ..crate::pods::tests::job()
    }
}

fn provider(sealing_key: &SecretKey) -> GpuProvider {
    let spec: GpuProviderSpec = serde_json::from_value(json!({
        "class": "Decentralized", "region": "eu", "payoutAddress": attempt().payout,
    }))
    .unwrap();
    let host = HostFact {
        name: "gpu0".to_owned(),
        node: "spillway-a-gpu0".to_owned(),
        product: "NVIDIA-L4".to_owned(),
        gpus: 2,
        memory_mebibytes: 24_576,
        compute_capability: None,
        elastic: false,
        start_time: None,
    };
    let status = GpuProviderStatus {
        sealing_key: Some(sealing_key.public_key().to_string()),
        hosts: vec![host],
        ..GpuProviderStatus::default()
    };
    GpuProvider {
        status: Some(status),
        ..GpuProvider::new("a", spec)
    }
}

async fn built(provider: &GpuProvider, attempt: &AttemptStatus) -> Result<WorkAssignment, DispatchError> {
    let handover = Handover {
        job: &job(),
        shard: &shard(),
        attempt,
        provider,
    };
    let now = Timestamp::from_second(1_899_999_000).unwrap();
    build_assignment(
        &memory_store(),
        &place(),
        &test_key(),
        handover,
        now,
        &mut StdRng::seed_from_u64(1),
    )
    .await
}

fn secret() -> SecretKey {
    SecretKey::generate(&mut StdRng::seed_from_u64(2))
}

#[tokio::test]
async fn golden_assignment() {
    let mut assignment = built(&provider(&secret()), &bound_attempt()).await.unwrap();
    let SealedPayload {
        encapsulated_key,
        ciphertext,
    } = &mut assignment.spec.sealed;
    for text in [encapsulated_key, ciphertext, &mut assignment.spec.order.signature] {
        assert!(!text.is_empty());
        *text = "bytes".to_owned();
    }
    insta::assert_yaml_snapshot!("assignment", assignment);
}

#[tokio::test]
async fn the_provider_accepts_the_order_and_opens_the_urls() {
    let secret = secret();
    let spec = built(&provider(&secret), &bound_attempt()).await.unwrap().spec;
    let order = spec
        .order
        .order(&spec.job.uid, spec.shard, spec.attempt, spec.kind)
        .unwrap();
    let acceptance = Acceptance {
        domain: &place().domain(),
        signers: &[test_key().address()],
        payout: attempt().payout.unwrap().parse().unwrap(),
        price: "3.60".parse().unwrap(),
        job_uid: &spec.job.uid,
        shard: 3,
        attempt: 2,
        kind: Kind::Check,
        now: 1_899_999_000,
    };
    spillway_core::order::check(&order, &spec.order.signature_bytes().unwrap(), &acceptance).unwrap();

    let context = Context {
        job_uid: &spec.job.uid,
        shard: 3,
        attempt: 2,
        provider: "a",
        not_after: spec.not_after.0.as_second(),
    };
    let sealed = sealing::Sealed {
        encapsulated_key: spec.sealed.encapsulated_key,
        ciphertext: spec.sealed.ciphertext,
    };
    let urls: SealedUrls = serde_json::from_slice(&sealing::open(&secret, &context, &sealed).unwrap()).unwrap();
    let uid = &spec.job.uid;
    assert_eq!(
        urls.input,
        format!("http://store.test:9000/prefix/jobs/{uid}/shards/00003/input.jsonl?method=GET&seconds=87400")
    );
    assert_eq!(
        urls.output,
        format!("http://store.test:9000/prefix/jobs/{uid}/shards/00003/2/results.jsonl?method=PUT&seconds=87400")
    );
}

#[tokio::test]
async fn nothing_is_handed_to_a_host_that_is_gone() {
    let elsewhere = AttemptStatus {
        node: Some("spillway-a-gpu9".to_owned()),
        ..bound_attempt()
    };
    assert!(matches!(
        built(&provider(&secret()), &elsewhere).await,
        Err(DispatchError::HostGone(_))
    ));
}

#[tokio::test]
async fn nothing_is_handed_over_without_terms_or_sealing_key() {
    let unpriced = AttemptStatus {
        unit_price_micro: None,
        ..bound_attempt()
    };
    assert!(matches!(
        built(&provider(&secret()), &unpriced).await,
        Err(DispatchError::Terms(_))
    ));
    let mut silent = provider(&secret());
    silent.status.as_mut().unwrap().sealing_key = None;
    assert!(matches!(
        built(&silent, &bound_attempt()).await,
        Err(DispatchError::NoSealingKey(_))
    ));
}
