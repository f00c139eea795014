//! The controller against a real API server. The test plays kube-scheduler, two providers' agents and the settlement
//! process; the hub store is in memory.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use rand::SeedableRng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spillway_core::merkle;
use spillway_core::order::domain;
use spillway_core::receipt::{Receipt as CoreReceipt, parse_digest};
use spillway_core::sealing::SecretKey;
use spillway_core::shard::digest;
use spillway_crds::money::leaf_of;
use spillway_crds::{
    AssignmentState, AttemptKind, AttemptState, AttemptStatus, GpuProvider, InferenceJob, Settlement, SpendPolicy,
    WorkAssignment, names,
};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use tokio_util::sync::CancellationToken;

use super::{Settings, run};
use crate::accrual::{self, Accrual, BatchLimits, SealedAttempts};
use crate::dispatch::ChainPlace;
use crate::keys;
use crate::store::HubStore;
use crate::store::tests::memory_store;

const LIMIT: Duration = Duration::from_secs(60);
const RESULTS: &[u8] =
    b"{\"custom_id\":\"r0\",\"response\":{\"status_code\":200,\"body\":{\"answer\":42}},\"error\":null}\n";
const PROVIDERS: [(&str, &str); 2] = [("acme", "0.90"), ("bolt", "1.00")];

fn place() -> ChainPlace {
    ChainPlace {
        chain_id: 31337,
        contract: Address::repeat_byte(0xcc),
    }
}

fn order_key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&[0x11; 32].into()).unwrap()
}

fn receipt_key(provider: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&[provider.as_bytes()[0]; 32].into()).unwrap()
}

async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap()
}

async fn prepare(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let providers = PROVIDERS.map(|(name, _)| names::provider_namespace(name));
    for name in [names::SYSTEM_NAMESPACE, "team-a"]
        .into_iter()
        .chain(providers.iter().map(String::as_str))
    {
        create(&namespaces, json!({"metadata": {"name": name}})).await;
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    create(
        &secrets,
        json!({"metadata": {"name": "order-key"}, "stringData": {"key": "11".repeat(32)}}),
    )
    .await;
    let policies: Api<SpendPolicy> = Api::all(client.clone());
    let policy = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "SpendPolicy", "metadata": {"name": "team-a"}, "spec": {
        "namespaces": ["team-a"],
        "payer": Address::repeat_byte(0xaa).to_string(),
        "limits": {"perJob": "10", "perDay": "100"},
        "orderSigningKey": {"address": order_key().address().to_string(), "secretRef": "order-key"},
    }});
    create(&policies, policy).await;
    // As the settlement process says.
    let chain = json!({
        "chainId": place().chain_id, "contract": place().contract, "payer": Address::repeat_byte(0xaa),
        "depositMicro": 100_000_000, "orderKey": order_key().address(), "capPerDayMicro": 100_000_000,
        "spentTodayMicro": 0, "orderKeyExpiry": 4_000_000_000_u64, "blockNumber": 1, "blockHash": "0x00",
        "blockTime": 1_800_000_000, "observedAt": Timestamp::now(),
    });
    let said = Patch::Merge(json!({"status": {"chain": chain}}));
    policies
        .patch_status("team-a", &PatchParams::default(), &said)
        .await
        .unwrap();
    for (name, price) in PROVIDERS {
        join(client, name, price).await;
    }
}

/// A provider with one GPU, as the provider controller would have found it.
async fn join(client: &Client, name: &str, price: &str) {
    let providers: Api<GpuProvider> = Api::all(client.clone());
    let payout = Address::repeat_byte(name.as_bytes()[0]).to_string();
    let provider = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider", "metadata": {"name": name}, "spec": {
        "class": "Decentralized", "region": "eu", "payoutAddress": payout,
    }});
    create(&providers, provider).await;
    let sealing = SecretKey::generate(&mut rand::rngs::StdRng::seed_from_u64(1))
        .public_key()
        .to_string();
    let price: spillway_core::money::UnitPrice = price.parse().unwrap();
    let ready = json!({"type": "Ready", "status": "True", "reason": "Offering", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {
        "conditions": [ready],
        "namespace": names::provider_namespace(name),
        "receiptSigner": receipt_key(name).address().to_string(),
        "sealingKey": sealing,
        "gpus": 1,
        "unitPriceMicro": price.0,
        "offerRevision": 1,
        "hosts": [{"name": "host", "node": names::virtual_node(name, "host"), "product": "NVIDIA-L4", "gpus": 1, "memoryMebibytes": 24000}],
        "reputation": {"accepted": 0, "rejected": 0},
    }});
    providers
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

fn job(name: &str) -> Value {
    let line = |index: u32| {
        json!({"custom_id": format!("r{index}"), "method": "POST", "url": "/v1/embeddings", "body": {}}).to_string()
    };
    json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "metadata": {"name": name, "namespace": "team-a"}, "spec": {
        "engine": {"image": "engine"},
        "input": {"inline": line(0)},
        "output": {"uri": "s3://out/"},
        "price": {"maxPerGpuHour": "1.20", "budget": "5.00"},
        "execution": {"shards": 1, "shardTimeout": "10m"},
    }})
}

/// What runs in the operator process.
fn start(client: &Client, store: &HubStore) -> CancellationToken {
    let cancelled = CancellationToken::new();
    let sealed = Arc::new(SealedAttempts::default());
    let namespace = names::SYSTEM_NAMESPACE.to_owned();
    let limits = BatchLimits {
        leaves: 100,
        oldest: SignedDuration::from_secs(1),
        ..BatchLimits::default()
    };
    let accrual = Accrual::new(
        client.clone(),
        &namespace,
        store.clone(),
        place(),
        limits,
        sealed.clone(),
    );
    let settings = Settings {
        namespace,
        runner_image: "runner".to_owned(),
        place: place(),
        default_data_class: spillway_crds::DataClass::Public,
        sealed,
    };
    tokio::spawn(run(client.clone(), settings, store.clone(), cancelled.clone()));
    tokio::spawn(accrual::run(accrual, cancelled.clone()));
    cancelled
}

/// kube-scheduler and both agents, until cancelled.
fn play_others(client: &Client, store: &HubStore) -> CancellationToken {
    let cancelled = CancellationToken::new();
    let (client, store, token) = (client.clone(), store.clone(), cancelled.clone());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while !token.is_cancelled() {
            ticks.tick().await;
            schedule(&client).await;
            for (provider, _) in PROVIDERS {
                work(&client, &store, provider).await;
            }
        }
    });
    cancelled
}

/// Binds each waiting pod to its first candidate.
async fn schedule(client: &Client) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "team-a");
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let spec = serde_json::to_value(pod.spec.as_ref().unwrap()).unwrap();
        let terms = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
        let node = spec
            .pointer(&format!("{terms}/0/matchFields/0/values/0"))
            .and_then(Value::as_str);
        if let (Some(node), None) = (node, spec.get("nodeName")) {
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()}, "target": {"kind": "Node", "name": node}});
            // A conflict means that the operator was faster in deleting it.
            let _ = pods
                .create_subresource::<Value, Value>("binding", &pod.name_any(), &PostParams::default(), &binding)
                .await;
        }
    }
}

/// Computes at once whatever is assigned, and answers Gone to what is being deleted.
async fn work(client: &Client, store: &HubStore, provider: &str) {
    let api: Api<WorkAssignment> = Api::namespaced(client.clone(), &names::provider_namespace(provider));
    for assignment in api.list(&ListParams::default()).await.unwrap() {
        let state = assignment
            .status
            .as_ref()
            .map(|status| status.state)
            .unwrap_or_default();
        let status = if assignment.metadata.deletion_timestamp.is_some() {
            json!({"state": "Gone"})
        } else if state == AssignmentState::Pending {
            let key = keys::attempt_results(&assignment.spec.job.uid, assignment.spec.shard, assignment.spec.attempt);
            store.put(&key, RESULTS).await.unwrap();
            json!({"state": "Completed", "receipt": receipt(provider, &assignment)})
        } else {
            continue;
        };
        let patch = Patch::Merge(json!({"status": status}));
        let _ = api
            .patch_status(&assignment.name_any(), &PatchParams::default(), &patch)
            .await;
    }
}

fn receipt(provider: &str, assignment: &WorkAssignment) -> Value {
    let spec = &assignment.spec;
    let order = spec
        .order
        .order(&spec.job.uid, spec.shard, spec.attempt, spec.kind)
        .unwrap();
    let now = u64::try_from(Timestamp::now().as_second()).unwrap();
    let receipt = CoreReceipt {
        order: order.hash(),
        inputDigest: parse_digest(&spec.input.digest).unwrap(),
        outputDigest: parse_digest(&digest(RESULTS)).unwrap(),
        started: now,
        finished: now,
        meteredMillis: 500,
        promptTokens: 3,
        completionTokens: 0,
    };
    let hash = receipt.signing_hash(&domain(31337, Address::repeat_byte(0xcc)));
    let signature = receipt_key(provider).sign_hash_sync(&hash).unwrap();
    json!({
        "inputDigest": spec.input.digest, "outputDigest": digest(RESULTS), "outputBytes": RESULTS.len(),
        "requests": spec.input.requests, "failedRequests": 0, "started": now, "finished": now, "meteredMillis": 500,
        "promptTokens": 3, "completionTokens": 0, "signature": format!("0x{}", hex::encode(signature.as_bytes())),
    })
}

fn condition(job: &InferenceJob, type_: &str) -> Option<String> {
    let conditions = job.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| condition.status.clone())
}

async fn holds(jobs: &Api<InferenceJob>, name: &str, type_: &str) -> InferenceJob {
    let what = format!("{name} is {type_}");
    let asked = eventually(&what, LIMIT, || async {
        jobs.get(name)
            .await
            .ok()
            .filter(|job| condition(job, type_).as_deref() == Some("True"))
    });
    match asked.await {
        Ok(job) => job,
        Err(error) => panic!("{error}: {:#?}", jobs.get(name).await.unwrap().status),
    }
}

fn attempts(job: &InferenceJob) -> Vec<AttemptStatus> {
    job.status
        .iter()
        .flat_map(|status| &status.shards)
        .flat_map(|shard| shard.attempts.clone())
        .collect()
}

/// One accepted Work and one accepted Check of different owners, and nothing else.
fn assert_paid_once(job: &InferenceJob) {
    let accepted: Vec<AttemptStatus> = attempts(job)
        .into_iter()
        .filter(|attempt| attempt.verdict.as_ref().is_some_and(|verdict| verdict.accepted))
        .collect();
    assert_eq!(
        accepted.iter().map(|attempt| attempt.kind).collect::<Vec<_>>(),
        [AttemptKind::Work, AttemptKind::Check]
    );
    assert_ne!(accepted[0].provider, accepted[1].provider);
    assert!(accepted.iter().all(|attempt| attempt.state == AttemptState::Completed));
    // 500 ms at 0.90 and 1.00 USD per GPU-hour, each rounded up.
    let mut amounts: Vec<u64> = accepted.iter().filter_map(|attempt| attempt.amount_micro).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [125, 139]);
}

async fn delete_leaves_nothing(client: &Client, store: &HubStore, jobs: &Api<InferenceJob>, job: &InferenceJob) {
    let (name, uid) = (job.name_any(), job.uid().unwrap());
    jobs.delete(&name, &DeleteParams::default()).await.unwrap();
    eventually("the job is gone", LIMIT, || async {
        jobs.get_opt(&name).await.ok()?.is_none().then_some(())
    })
    .await
    .unwrap();
    let own = ListParams::default().labels(&format!("{}={uid}", names::LABEL_JOB_UID));
    let assignments: Api<WorkAssignment> = Api::all(client.clone());
    assert!(assignments.list(&own).await.unwrap().items.is_empty());
    assert!(
        Api::<Pod>::all(client.clone())
            .list(&own)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(store.count(&keys::job_prefix(&uid)).await.unwrap(), 0);
}

/// The settlement process in one line: everything is final.
async fn finalise(client: &Client) {
    let settlements: Api<Settlement> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    for settlement in settlements.list(&ListParams::default()).await.unwrap() {
        let patch = Patch::Merge(json!({"status": {"state": "Final"}}));
        settlements
            .patch_status(&settlement.name_any(), &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_computed_checked_sealed_settled_and_deleted() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client().await.unwrap();
    let store = memory_store();
    prepare(&client).await;
    let _others = play_others(&client, &store).drop_guard();
    let _operator = start(&client, &store).drop_guard();
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), "team-a");
    create(&jobs, job("embed")).await;
    let complete = holds(&jobs, "embed", "Complete").await;
    assert_paid_once(&complete);
    let results = complete.status.as_ref().unwrap().results.clone().unwrap();
    assert_eq!(results.digest, digest(RESULTS));
    eventually("the attempts are sealed", LIMIT, || async {
        let job = jobs.get("embed").await.ok()?;
        attempts(&job)
            .iter()
            .all(|attempt| attempt.settlement == Some(1))
            .then_some(())
    })
    .await
    .unwrap();
    finalise(&client).await;
    let settled = holds(&jobs, "embed", "Settled").await;
    proofs_hold(&client, &settled).await;
    candidates_are_told(&store, &settled).await;
    is_at_rest(&jobs, &settled).await;
    delete_leaves_nothing(&client, &store, &jobs, &settled).await;
    assert_eq!(
        store
            .count(&format!("receipts/{}/", settled.uid().unwrap()))
            .await
            .unwrap(),
        2
    );
}

/// Each paid line can be checked against the root that is posted.
async fn proofs_hold(client: &Client, job: &InferenceJob) {
    let settlements: Api<Settlement> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let root = settlements
        .get("settlement-1")
        .await
        .unwrap()
        .spec
        .header()
        .unwrap()
        .jobsRoot;
    for shard in &job.status.as_ref().unwrap().shards {
        for attempt in shard.attempts.iter().filter(|attempt| attempt.settlement.is_some()) {
            let proof: Vec<B256> = attempt
                .proof
                .iter()
                .flatten()
                .map(|hash| hash.parse().unwrap())
                .collect();
            let leaf = leaf_of(job, shard.index, attempt).unwrap().hash();
            assert!(merkle::verify(root, leaf, &proof), "{attempt:?}");
        }
    }
}

/// Each attempt's record says among whom it was placed.
async fn candidates_are_told(store: &HubStore, job: &InferenceJob) {
    for shard in &job.status.as_ref().unwrap().shards {
        for attempt in &shard.attempts {
            let key = keys::candidates(&job.uid().unwrap(), attempt.candidates_record.as_deref().unwrap());
            let record: Value = serde_json::from_slice(&store.get(&key, 64 << 10).await.unwrap()).unwrap();
            assert_eq!(record["offers"], PROVIDERS.len());
            let attempts = record["attempts"].as_array().unwrap();
            let own = attempts
                .iter()
                .find(|one| one["shard"] == shard.index && one["attempt"] == attempt.number);
            let places = own.unwrap()["pinned"].as_array().unwrap().iter();
            let pinned = places.map(|place| usize::try_from(place.as_u64().unwrap()).unwrap());
            let nodes: Vec<&Value> = pinned.map(|place| &record["candidates"][place]["node"]).collect();
            let node = attempt.node.as_deref().unwrap();
            assert!(nodes.iter().any(|pinned| *pinned == node), "{record}");
        }
    }
}

/// S7: nothing is written any more.
async fn is_at_rest(jobs: &Api<InferenceJob>, job: &InferenceJob) {
    let moved = eventually("another version", Duration::from_secs(3), || async {
        let now = jobs.get(&job.name_any()).await.ok()?;
        (now.resource_version() != job.resource_version()).then_some(now)
    });
    assert!(moved.await.is_err(), "a settled job was written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_restarts_all_the_time_pays_once() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client().await.unwrap();
    let store = memory_store();
    prepare(&client).await;
    let _others = play_others(&client, &store).drop_guard();
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), "team-a");
    create(&jobs, job("embed")).await;
    let mut life = Duration::from_millis(250);
    let complete = loop {
        let operator = start(&client, &store);
        let asked = eventually("complete", life, || async {
            jobs.get("embed")
                .await
                .ok()
                .filter(|job| condition(job, "Complete").as_deref() == Some("True"))
        });
        let complete = asked.await;
        operator.cancel();
        if let Ok(complete) = complete {
            break complete;
        }
        life = (life + Duration::from_millis(70)).min(Duration::from_secs(3));
    };
    assert_paid_once(&complete);
    assert_eq!(attempts(&complete).len(), 2, "no restart cost an attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_deleted_while_it_runs_leaves_nothing() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client().await.unwrap();
    let store = memory_store();
    prepare(&client).await;
    let _operator = start(&client, &store).drop_guard();
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), "team-a");
    let made = create(&jobs, job("embed")).await;
    let assignments: Api<WorkAssignment> = Api::all(client.clone());
    eventually("an assignment", LIMIT, || async {
        schedule(&client).await;
        assignments.list(&ListParams::default()).await.ok()?.items.pop()
    })
    .await
    .unwrap();
    jobs.delete("embed", &DeleteParams::default()).await.unwrap();
    eventually("the order to stop", LIMIT, || async {
        assignments
            .list(&ListParams::default())
            .await
            .ok()?
            .items
            .pop()?
            .metadata
            .deletion_timestamp
    })
    .await
    .unwrap();
    // The pod stays until the agent has answered.
    let pods: Api<Pod> = Api::namespaced(client.clone(), "team-a");
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert!(jobs.get_opt("embed").await.unwrap().is_some());
    let _others = play_others(&client, &store).drop_guard();
    delete_leaves_nothing(&client, &store, &jobs, &made).await;
}

/// Five more owners of one GPU each.
async fn more_providers(client: &Client) -> Vec<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut nodes: Vec<String> = PROVIDERS
        .iter()
        .map(|(name, _)| names::virtual_node(name, "host"))
        .collect();
    for name in ["cora", "dido", "erin", "fred", "gaia"] {
        create(
            &namespaces,
            json!({"metadata": {"name": names::provider_namespace(name)}}),
        )
        .await;
        join(client, name, "0.95").await;
        nodes.push(names::virtual_node(name, "host"));
    }
    nodes
}

/// The attempt that each job expects, once all of them do.
async fn expected(jobs: &Api<InferenceJob>, names: &[String]) -> Vec<AttemptStatus> {
    eventually("every job expects an attempt", LIMIT, || async {
        let mut found = Vec::new();
        for name in names {
            found.push(attempts(&jobs.get(name).await.ok()?).pop()?);
        }
        Some(found)
    })
    .await
    .unwrap()
}

/// No herd: jobs that come at once are each promised a GPU of their own.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_come_at_once_do_not_pin_the_same_node_first() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client().await.unwrap();
    let store = memory_store();
    prepare(&client).await;
    let nodes = more_providers(&client).await;
    let _operator = start(&client, &store).drop_guard();
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), "team-a");
    let names: Vec<String> = (0..nodes.len()).map(|index| format!("job-{index}")).collect();
    futures::future::join_all(names.iter().map(|name| create(&jobs, job(name)))).await;
    let mut firsts: Vec<String> = expected(&jobs, &names)
        .await
        .into_iter()
        .map(|attempt| attempt.candidates[0].clone())
        .collect();
    firsts.sort_unstable();
    let mut nodes = nodes;
    nodes.sort_unstable();
    assert_eq!(firsts, nodes, "seven jobs, seven GPUs");
}

/// S4: whatever kube-scheduler binds, a GPU is assigned once; whoever comes second is placed anew.
#[tokio::test(flavor = "multi_thread")]
async fn two_pods_on_one_gpu_get_one_assignment_there() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client().await.unwrap();
    let store = memory_store();
    prepare(&client).await;
    more_providers(&client).await;
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), "team-a");
    let names = ["one".to_owned(), "two".to_owned()];
    let operator = start(&client, &store);
    for name in &names {
        create(&jobs, job(name)).await;
    }
    let both = expected(&jobs, &names).await;
    let shared = both[0]
        .candidates
        .iter()
        .find(|node| both[1].candidates.contains(node))
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "team-a");
    for name in &names {
        let pod = names::attempt_pod(name, 0, 0);
        eventually("the pod is made", LIMIT, || async { pods.get_opt(&pod).await.ok()? })
            .await
            .unwrap();
    }
    // Both are bound while nobody looks, as after a restart.
    operator.cancel();
    for name in &names {
        let pod = names::attempt_pod(name, 0, 0);
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"kind": "Node", "name": shared}});
        pods.create_subresource::<Value, Value>("binding", &pod, &PostParams::default(), &binding)
            .await
            .unwrap();
    }
    let _operator = start(&client, &store).drop_guard();
    eventually("the second is placed anew", LIMIT, || async {
        let mut ended = 0;
        for name in &names {
            let attempts = attempts(&jobs.get(name).await.ok()?);
            ended += usize::from(attempts.len() == 2 && attempts[0].state == AttemptState::Cancelled);
        }
        (ended == 1).then_some(())
    })
    .await
    .unwrap();
    let assignments: Api<WorkAssignment> = Api::all(client.clone());
    let held = assignments.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(held.len(), 1, "{held:#?}");
}
