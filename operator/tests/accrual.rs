//! Accrual and the watch for forged pods against a real API server; the hub store is in memory.

// clippy's leave for tests covers test functions, not what they call.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Pod, Secret, ServiceAccount};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::reflector;
use kube::{Client, Resource, ResourceExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::signer::Signer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spillway_crds::{
    GpuProvider, InferenceJob, InferenceJobStatus, Settlement, SettlementMode, SettlementSpec, SpendPolicy,
    StoredVouchers, names,
};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_operator::accrual::{Accrual, BatchLimits, Plan, SealedAttempts};
use spillway_operator::dispatch::{ChainPlace, KeyError, OrderKey, forged};
use spillway_operator::keys;
use spillway_operator::store::HubStore;
use spillway_operator::verification::{keep_reputation, record_accepted};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
const LIMITS: BatchLimits = BatchLimits {
    leaves: 2,
    oldest: SignedDuration::from_secs(3600),
    value: u128::MAX,
    gas: None,
};
const PAYER: &str = "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB";
const PAYOUT: &str = "0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa";
/// Address of the key 0x11…11.
const ORDER_KEY: &str = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A";

#[derive(Debug)]
struct NoSigner;

#[async_trait::async_trait]
impl Signer for NoSigner {
    async fn signed_url(&self, _: reqwest::Method, _: &Path, _: Duration) -> object_store::Result<url::Url> {
        Err(object_store::Error::NotImplemented {
            operation: "signed_url".into(),
            implementer: "NoSigner".into(),
        })
    }
}

fn store() -> HubStore {
    HubStore::new(
        Arc::new(InMemory::new()),
        Arc::new(NoSigner),
        Path::default(),
        "store:1".to_owned(),
    )
}

fn place() -> ChainPlace {
    ChainPlace {
        chain_id: 31337,
        contract: Address::repeat_byte(0xcc),
    }
}

async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap()
}

async fn store_key(client: &Client, namespace: &str) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = json!({"metadata": {"name": "order-key"}, "stringData": {"key": format!("0x{}", "11".repeat(32))}});
    create(&secrets, secret).await;
}

async fn key(client: &Client, namespace: &str) -> OrderKey {
    let policy: SpendPolicy = serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "spec": {
            "namespaces": ["x"], "payer": PAYER, "limits": {"perJob": "1", "perDay": "1"},
            "orderSigningKey": {"address": ORDER_KEY, "secretRef": "order-key"},
        },
    }))
    .unwrap();
    let absent = OrderKey::load(client.clone(), namespace, &policy.spec.order_signing_key).await;
    assert!(matches!(absent, Err(KeyError::NotFound(_))), "{absent:?}");
    store_key(client, namespace).await;
    OrderKey::load(client.clone(), namespace, &policy.spec.order_signing_key)
        .await
        .unwrap()
}

fn accepted(number: u16, kind: &str, amount: u64) -> Value {
    let digest = format!("sha256:{}", "0".repeat(64));
    json!({
        "number": number, "kind": kind, "state": "Completed", "provider": "a", "payout": PAYOUT,
        "unitPriceMicro": 3_600_000, "upperBoundMicro": 60_000, "orderExpiry": 1_900_000_000,
        "assignedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:30Z", "amountMicro": amount,
        "receipt": {
            "inputDigest": digest, "outputDigest": digest, "outputBytes": 1, "requests": 1, "failedRequests": 0,
            "started": 1_767_225_600, "finished": 1_767_225_630, "meteredMillis": amount, "promptTokens": 0,
            "completionTokens": 0, "signature": format!("0x{}", "00".repeat(65)),
        },
        "verdict": {"accepted": true, "method": "ExactDigest", "message": ""},
    })
}

async fn job(client: &Client, namespace: &str, attempts: Value) -> InferenceJob {
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), namespace);
    let spec = json!({
        "engine": {"image": "engine"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
        "price": {"maxPerGpuHour": "1", "budget": "1"},
    });
    let mut job = create(&jobs, json!({"metadata": {"name": "embed"}, "spec": spec})).await;
    let status: InferenceJobStatus = serde_json::from_value(json!({
        "payer": {"spendPolicy": "p", "address": PAYER},
        "shards": [{
            "index": 0, "state": "Accepted", "inputDigest": "", "inputBytes": 1, "requests": 1, "attempts": attempts,
        }],
    }))
    .unwrap();
    job.status = Some(status);
    jobs.replace_status("embed", &PostParams::default(), &job)
        .await
        .unwrap()
}

/// As at the acceptance of each attempt.
async fn store_receipts(store: &HubStore, key: &OrderKey, job: &InferenceJob) {
    let (uid, status) = (job.uid().unwrap(), job.status.clone().unwrap());
    for attempt in &status.shards[0].attempts {
        record_accepted(store, &place(), key, &uid, &status, 0, attempt)
            .await
            .unwrap();
    }
}

/// As the job controller does.
async fn mark(jobs: &Api<InferenceJob>, sequence: u64) {
    let mut job = jobs.get("embed").await.unwrap();
    for attempt in &mut job.status.as_mut().unwrap().shards[0].attempts {
        attempt.settlement = Some(sequence);
    }
    jobs.replace_status("embed", &PostParams::default(), &job)
        .await
        .unwrap();
}

/// A SpendPolicy of the payer, with what the settlement process says of it.
async fn policy(client: &Client, deposit_micro: u64) -> Api<SpendPolicy> {
    let policies: Api<SpendPolicy> = Api::all(client.clone());
    let spec = json!({
        "namespaces": ["x"], "payer": PAYER, "limits": {"perJob": "1", "perDay": "1"},
        "orderSigningKey": {"address": ORDER_KEY, "secretRef": "order-key"},
    });
    create(&policies, json!({"metadata": {"name": "p"}, "spec": spec})).await;
    say(&policies, deposit_micro, Timestamp::now()).await;
    policies
}

async fn say(policies: &Api<SpendPolicy>, deposit_micro: u64, observed_at: Timestamp) {
    let chain = json!({
        "chainId": 31337, "contract": place().contract, "payer": PAYER, "depositMicro": deposit_micro,
        "orderKey": ORDER_KEY, "capPerDayMicro": 1_000_000, "spentTodayMicro": 0, "orderKeyExpiry": 4_000_000_000_u64,
        "blockNumber": 5, "blockHash": "0x00", "blockTime": 1_800_000_000, "observedAt": observed_at,
    });
    let patch = Patch::Merge(json!({"status": {"chain": chain}}));
    policies
        .patch_status("p", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Passes until the plan is the expected one: watches lag.
async fn pass_until(accrual: &Accrual, what: &str, expected: impl Fn(&Plan) -> bool) -> Plan {
    eventually(what, LIMIT, || async {
        let plan = accrual.pass(Timestamp::now()).await.unwrap();
        expected(&plan).then_some(plan)
    })
    .await
    .unwrap()
}

/// A sealer whose watches run until it is dropped.
fn sealer(client: &Client, hub: &str, store: &HubStore) -> (Arc<Accrual>, JoinSet<()>) {
    let sealed = Arc::new(SealedAttempts::default());
    let accrual = Arc::new(Accrual::new(
        client.clone(),
        hub,
        store.clone(),
        place(),
        LIMITS,
        sealed,
    ));
    let (watching, mut watches) = (accrual.clone(), JoinSet::new());
    watches.spawn(async move { watching.watch().await });
    (accrual, watches)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sealers_seal_once_and_record_what_the_job_marked() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client().await.unwrap();
    let (hub, tenant) = (
        plane.namespace("hub").await.unwrap(),
        plane.namespace("team").await.unwrap(),
    );
    let (store, key) = (store(), key(&client, &hub).await);
    let job = job(
        &client,
        &tenant,
        json!([accepted(0, "Work", 20_000), accepted(1, "Check", 21_000)]),
    )
    .await;
    let uid = job.uid().unwrap();
    policy(&client, 100_000).await;
    let (one, _watches) = sealer(&client, &hub, &store);
    let (other, _other_watches) = sealer(&client, &hub, &store);

    // Owed by the status, but no receipt was stored: nothing is paid.
    let now = Timestamp::now();
    pass_until(&one, "attempts without receipts set aside", |plan| *plan == Plan::Idle).await;
    let settlements: Api<Settlement> = Api::namespaced(client.clone(), &hub);
    assert!(settlements.list(&ListParams::default()).await.unwrap().items.is_empty());

    store_receipts(&store, &key, &job).await;
    // What was set aside is looked at again after a minute.
    let later = now + SignedDuration::from_secs(61);
    let (first, second) = tokio::join!(one.pass(later), other.pass(later));
    for plan in [first.unwrap(), second.unwrap()] {
        assert!(
            matches!(plan, Plan::Seal { sequence: 1, .. } | Plan::AwaitMarks { .. }),
            "{plan}"
        );
    }
    let sealed = settlements.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(sealed.len(), 1);
    let spec = &sealed[0].spec;
    assert_eq!((spec.sequence, spec.count, spec.total_micro), (1, 2, 41_000));
    spec.header().unwrap();
    spec.ledger().unwrap();

    let waits = Plan::AwaitMarks {
        sequence: 1,
        unmarked: 2,
    };
    pass_until(&other, "marks awaited", |plan| *plan == waits).await;
    let pays = SealedAttempts::default()
        .of_job(&store, &sealed[0], &uid)
        .await
        .unwrap();
    assert_eq!(pays.into_keys().collect::<Vec<_>>(), [(0, 0), (0, 1)]);
    mark(&Api::namespaced(client.clone(), &tenant), 1).await;
    pass_until(&one, "recorded", |plan| *plan == Plan::MarkRecorded { sequence: 1 }).await;
    assert!(settlements.get("settlement-1").await.unwrap().status.unwrap().recorded);
    // A sealer that has just started knows as much.
    let (new, _new_watches) = sealer(&client, &hub, &store);
    assert_eq!(new.pass(Timestamp::now()).await.unwrap(), Plan::Idle);

    settlements.delete("settlement-1", &Default::default()).await.unwrap();
    assert!(
        one.pass(Timestamp::now()).await.is_err(),
        "a sequence that was there is not given out again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_that_cannot_pay_is_told_and_paid_for_once_it_can() {
    let plane = ControlPlane::start().await.unwrap();
    let admin = plane.client().await.unwrap();
    let client = plane.chart_client("spillway-operator").await.unwrap();
    let hub = names::SYSTEM_NAMESPACE;
    let tenant = plane.namespace("team").await.unwrap();
    let (store, key) = (store(), key(&admin, hub).await);
    let job = job(
        &admin,
        &tenant,
        json!([accepted(0, "Work", 20_000), accepted(1, "Check", 21_000)]),
    )
    .await;
    store_receipts(&store, &key, &job).await;
    let policies = policy(&admin, 10_000).await;
    let (accrual, _watches) = sealer(&client, hub, &store);
    pass_until(&accrual, "nothing that can be paid", |plan| *plan == Plan::Idle).await;
    let payable = async || {
        let status = policies.get("p").await.ok()?.status?;
        status.conditions.into_iter().find(|one| one.type_ == "Payable")
    };
    let condition = eventually("the condition", LIMIT, payable).await.unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "DepositTooSmall")
    );
    assert!(
        condition.message.contains("deposit at least 0.031000 USD more"),
        "{}",
        condition.message
    );
    assert!(
        policies.get("p").await.unwrap().status.unwrap().chain.is_some(),
        "the facts are left alone"
    );

    // Old facts are none.
    let stale = Timestamp::now() - SignedDuration::from_mins(6);
    say(&policies, 1_000_000, stale).await;
    eventually("the facts aged", LIMIT, || async {
        accrual.pass(Timestamp::now()).await.unwrap();
        payable().await.filter(|condition| condition.reason == "PayerUnknown")
    })
    .await
    .unwrap();

    say(&policies, 1_000_000, Timestamp::now()).await;
    pass_until(
        &accrual,
        "sealed",
        |plan| matches!(plan, Plan::Seal { batch, .. } if batch.len() == 2),
    )
    .await;
    mark(&Api::namespaced(admin.clone(), &tenant), 1).await;
    pass_until(&accrual, "recorded", |plan| *plan == Plan::MarkRecorded { sequence: 1 }).await;
    eventually("the payer pays", LIMIT, || async {
        accrual.pass(Timestamp::now()).await.unwrap();
        payable().await.filter(|condition| condition.status == "True")
    })
    .await
    .unwrap();

    old_leaves_are_deleted(&admin, &client, &store).await;
}

/// Long after finality the leaves document is deleted, and the Settlement says so.
async fn old_leaves_are_deleted(admin: &Client, client: &Client, store: &HubStore) {
    let hub = names::SYSTEM_NAMESPACE;
    let settlements: Api<Settlement> = Api::namespaced(admin.clone(), hub);
    let key = settlements.get("settlement-1").await.unwrap().spec.data_key;
    assert!(store.get(&key, 1 << 20).await.is_ok());
    let is_final =
        json!({"status": {"state": "Final", "finalizedAt": Timestamp::now() - SignedDuration::from_hours(2)}});
    let parameters = PatchParams::default();
    settlements
        .patch_status("settlement-1", &parameters, &Patch::Merge(is_final))
        .await
        .unwrap();
    let sealed = Arc::new(SealedAttempts::default());
    let keeper = Accrual::new(client.clone(), hub, store.clone(), place(), LIMITS, sealed);
    let keeper = keeper.keeping_leaves_for(SignedDuration::from_hours(1));
    let passes = async {
        pass_until(&keeper, "nothing owed", |plan| *plan == Plan::Idle).await;
        assert!(store.get(&key, 1 << 20).await.unwrap_err().is_not_found());
        let status = settlements.get("settlement-1").await.unwrap().status.unwrap();
        assert!(status.leaves_deleted_at.is_some());
    };
    tokio::select! {
        () = keeper.watch() => panic!("the watches ended"),
        () = passes => {}
    }
}

/// One leaf a batch, in root mode.
fn root_sealer(client: &Client, store: &HubStore) -> Accrual {
    let limits = BatchLimits { leaves: 1, ..LIMITS };
    let sealed = Arc::new(SealedAttempts::default());
    let accrual = Accrual::new(
        client.clone(),
        names::SYSTEM_NAMESPACE,
        store.clone(),
        place(),
        limits,
        sealed,
    );
    accrual
        .in_mode(SettlementMode::Root)
        .keeping_leaves_for(SignedDuration::from_hours(1))
}

/// As the job controller does, and two hours later the batch is final.
async fn pay(jobs: &Api<InferenceJob>, settlements: &Api<Settlement>, store: &HubStore, sequence: u64) {
    let settlement = settlements.get(&names::settlement(sequence)).await.unwrap();
    let mut job = jobs.get("embed").await.unwrap();
    let paid = SealedAttempts::default();
    let paid = paid.of_job(store, &settlement, &job.uid().unwrap()).await.unwrap();
    for attempt in &mut job.status.as_mut().unwrap().shards[0].attempts {
        if paid.contains_key(&(0, attempt.number)) {
            attempt.settlement = Some(sequence);
        }
    }
    jobs.replace_status("embed", &PostParams::default(), &job)
        .await
        .unwrap();
    let finalized_at = Timestamp::now() - SignedDuration::from_hours(2);
    let is_final = Patch::Merge(json!({"status": {"state": "Final", "finalizedAt": finalized_at}}));
    settlements
        .patch_status(&names::settlement(sequence), &PatchParams::default(), &is_final)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn root_batches_add_up_and_wait_for_the_key_that_signs_their_vouchers() {
    let plane = ControlPlane::start().await.unwrap();
    let admin = plane.client().await.unwrap();
    let client = plane.chart_client("spillway-operator").await.unwrap();
    let hub = names::SYSTEM_NAMESPACE;
    let tenant = plane.namespace("team").await.unwrap();
    let (store, key) = (store(), key(&admin, hub).await);
    let attempts = json!([accepted(0, "Work", 20_000), accepted(1, "Check", 21_000)]);
    let job = job(&admin, &tenant, attempts).await;
    store_receipts(&store, &key, &job).await;
    let policies = policy(&admin, 100_000).await;
    let root = Patch::Merge(json!({"status": {"chain": {"mode": "Root", "collectedMicro": 0}}}));
    policies
        .patch_status("p", &PatchParams::default(), &root)
        .await
        .unwrap();
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), hub);
    secrets.delete("order-key", &Default::default()).await.unwrap();

    let jobs: Api<InferenceJob> = Api::namespaced(admin.clone(), &tenant);
    let settlements: Api<Settlement> = Api::namespaced(admin.clone(), hub);
    let accrual = root_sealer(&client, &store);
    let passes = async {
        pass_until(&accrual, "nobody signs", |plan| *plan == Plan::Idle).await;
        assert!(settlements.list(&ListParams::default()).await.unwrap().items.is_empty());
        store_key(&admin, hub).await;
        // What was set aside is looked at again after a minute.
        let later = Timestamp::now() + SignedDuration::from_secs(61);
        let plan = accrual.pass(later).await.unwrap();
        assert!(matches!(plan, Plan::Seal { sequence: 1, .. }), "{plan}");
        for sequence in [1, 2] {
            let name = format!("settlement {sequence}");
            eventually(&name, LIMIT, || async {
                accrual.pass(later).await.unwrap();
                settlements.get_opt(&names::settlement(sequence)).await.unwrap()
            })
            .await
            .unwrap();
            pay(&jobs, &settlements, &store, sequence).await;
        }
        let recorded = |plan: &Plan| *plan == Plan::MarkRecorded { sequence: 2 };
        pass_until(&accrual, "recorded", recorded).await;
    };
    tokio::select! {
        () = accrual.watch() => panic!("the watches ended"),
        () = passes => {}
    }
    let (one, two) = (
        settlements.get("settlement-1").await.unwrap().spec,
        settlements.get("settlement-2").await.unwrap().spec,
    );
    assert_eq!((one.mode, two.mode), (SettlementMode::Root, SettlementMode::Root));
    assert_eq!(
        one.cumulative_micro.map(|sum| sum + two.total_micro),
        two.cumulative_micro
    );
    assert_eq!(two.cumulative_micro, Some(41_000));
    two.header().unwrap();
    the_payer_signed_what_it_owes(&store, &two).await;
    the_newest_root_document_outlives_its_retention(&client, &store, &one, &two).await;
    let (ledger, _watches) = sealer(&client, hub, &store);
    let refused = ledger.pass(Timestamp::now()).await.unwrap_err().to_string();
    assert!(refused.contains("mode Root"), "{refused}");
}

async fn the_payer_signed_what_it_owes(store: &HubStore, two: &SettlementSpec) {
    let key = StoredVouchers::key(&two.header_hash);
    let stored = store.get(&key, StoredVouchers::SIZE_MAX).await.unwrap();
    let stored: StoredVouchers = serde_json::from_slice(&stored).unwrap();
    let signed = stored.of(31337, place().contract, PAYER.parse().unwrap()).unwrap();
    let (voucher, signature) = signed.unwrap();
    assert_eq!((voucher.sequence, voucher.cumulative), (2, 41_000));
    let digest = voucher.signing_hash(&place().domain());
    let signer = spillway_core::signature::recover(digest, &signature).unwrap();
    assert_eq!(signer, ORDER_KEY.parse::<Address>().unwrap());
}

async fn the_newest_root_document_outlives_its_retention(
    client: &Client,
    store: &HubStore,
    one: &SettlementSpec,
    two: &SettlementSpec,
) {
    let keeper = root_sealer(client, store);
    let passes = async {
        pass_until(&keeper, "nothing owed", |plan| *plan == Plan::Idle).await;
        for key in [one.data_key.clone(), StoredVouchers::key(&one.header_hash)] {
            assert!(store.get(&key, 1 << 20).await.unwrap_err().is_not_found(), "{key}");
        }
        for key in [two.data_key.clone(), StoredVouchers::key(&two.header_hash)] {
            assert!(store.get(&key, 1 << 20).await.is_ok(), "{key}");
        }
    };
    tokio::select! {
        () = keeper.watch() => panic!("the watches ended"),
        () = passes => {}
    }
}

fn pod(name: &str, owner: Option<&InferenceJob>) -> Value {
    let owners: Vec<_> = owner
        .into_iter()
        .filter_map(|job| job.controller_owner_ref(&()))
        .collect();
    json!({
        "metadata": {"name": name, "ownerReferences": owners},
        "spec": {
            "schedulerName": "spillway-scheduler", "nodeName": "spillway-a-gpu0",
            "containers": [{"name": "c", "image": "spillway.invalid/remote"}],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_pod_gets_one_event_and_nothing_else() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client().await.unwrap();
    let tenant = plane.namespace("team").await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &tenant);
    create(&accounts, json!({"metadata": {"name": "default"}})).await;
    let job = job(
        &client,
        &tenant,
        json!([{"number": 0, "kind": "Work", "state": "Expected"}]),
    )
    .await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &tenant);
    create(&pods, pod("embed-0-0", Some(&job))).await;
    let imitation = create(&pods, pod("embed-0-7", Some(&job))).await;
    let orphan = create(&pods, pod("mine", None)).await;

    let events: Api<Event> = Api::namespaced(client.clone(), &tenant);
    for start in 0..2 {
        // One that is new to each start: by then the watch has seen the others too.
        let late = create(&pods, pod(&format!("late-{start}"), None)).await;
        let cancelled = CancellationToken::new();
        // A cache that shows nothing: the API server is asked for each job.
        let (jobs, _unfilled) = reflector::store();
        let watching = tokio::spawn(forged::run(client.clone(), jobs, cancelled.clone()));
        for pod in [&imitation, &orphan, &late] {
            let name = format!("{}.not-expected", pod.uid().unwrap());
            let event = eventually("the Event", LIMIT, || async { events.get(&name).await.ok() })
                .await
                .unwrap();
            assert_eq!(event.reason.as_deref(), Some("NotExpected"));
        }
        cancelled.cancel();
        watching.await.unwrap().unwrap();
    }
    assert_eq!(
        events.list(&ListParams::default()).await.unwrap().items.len(),
        4,
        "none for the expected pod"
    );
    assert_eq!(
        pods.get("mine").await.unwrap().resource_version(),
        orphan.resource_version(),
        "left alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_become_reputation_with_the_rights_of_the_chart() {
    let plane = ControlPlane::start().await.unwrap();
    let providers: Api<GpuProvider> = Api::all(plane.client().await.unwrap());
    let spec = json!({"class": "Private", "region": "eu", "payoutAddress": format!("0x{}", "1".repeat(40))});
    let provider = GpuProvider::new("a", serde_json::from_value(spec).unwrap());
    providers.create(&PostParams::default(), &provider).await.unwrap();
    let store = store();
    for shard in 0..3 {
        let key = keys::verdict("a", shard > 0, "uid", shard, 0);
        store.put(&key, "{}").await.unwrap();
    }
    let operator = plane.chart_client("spillway-operator").await.unwrap();
    let counting = tokio::spawn(keep_reputation(operator, store, CancellationToken::new()));
    let counts = eventually("the counts", Duration::from_secs(20), async || {
        let status = providers.get("a").await.ok()?.status?;
        (status.reputation.accepted > 0).then_some(status.reputation)
    })
    .await
    .unwrap();
    assert_eq!((counts.accepted, counts.rejected), (2, 1));
    counting.abort();
}
