//! The agent's tasks against a real API server that plays both clusters, with exactly the rights of `README.md`.
//! Kubelet and operator are played by the test.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::time::Duration;

use alloy_primitives::B256;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spillway_agent::bundle::Bundle;
use spillway_agent::credential::Keeper;
use spillway_agent::elastic::ElasticPools;
use spillway_agent::heartbeat::Heart;
use spillway_agent::hub;
use spillway_agent::inventory::Inventory;
use spillway_agent::keys::Keys;
use spillway_agent::metrics::Metrics;
use spillway_agent::pong::Ponger;
use spillway_agent::work::{PodSettings, Policy, Worker};
use spillway_core::knowledge::Knowledge;
use spillway_core::money::UnitPrice;
use spillway_core::order::domain;
use spillway_core::sealing::{Context, seal};
use spillway_core::shard::WorkReport;
use spillway_crds::{
    ASSIGNMENT_FINALIZER, AssignmentState, ProviderInventory, WorkAssignment, WorkAssignmentSpec, names,
};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_probe::{Prober, Reach};
use spillway_process::Health;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const HUB: &str = "spillway-provider-acme";
const OWN: &str = "spillway";
const WORK: &str = "spillway-work";
const LIMIT: Duration = Duration::from_secs(40);
const PRICE: UnitPrice = UnitPrice(900_000);
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

async fn create<K>(api: &Api<K>, object: Value) -> anyhow::Result<K>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    Ok(api
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?)
}

/// A ServiceAccount, a Role of `rules` in `namespace`, and the binding between them.
async fn grant(admin: &Client, account: (&str, &str), namespace: &str, name: &str, rules: Value) -> anyhow::Result<()> {
    let roles: Api<Role> = Api::namespaced(admin.clone(), namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
    create(&roles, json!({"metadata": {"name": name}, "rules": rules})).await?;
    create(
        &bindings,
        json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": account.0, "name": account.1}],
        }),
    )
    .await?;
    Ok(())
}

/// What the operator makes for a provider that is about to join.
async fn prepare_hub(admin: &Client, next_door: &str) -> anyhow::Result<()> {
    create(
        &Api::<Namespace>::all(admin.clone()),
        json!({"metadata": {"name": HUB}}),
    )
    .await?;
    for name in ["join", "agent"] {
        create(
            &Api::<ServiceAccount>::namespaced(admin.clone(), HUB),
            json!({"metadata": {"name": name}}),
        )
        .await?;
        create(
            &Api::<Secret>::namespaced(admin.clone(), HUB),
            json!({"metadata": {"name": name}}),
        )
        .await?;
    }
    let mint = json!({"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["agent"], "verbs": ["create"]});
    grant(admin, (HUB, "join"), HUB, "join", json!([mint])).await?;
    let rules = json!([
        mint,
        {"apiGroups": ["spillway.dev"], "resources": ["workassignments"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["spillway.dev"], "resources": ["workassignments/status"], "verbs": ["update"]},
        {"apiGroups": ["spillway.dev"], "resources": ["providerinventories"], "resourceNames": ["inventory"], "verbs": ["get", "update"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["heartbeat"], "verbs": ["patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["ping"], "verbs": ["get", "list", "watch", "patch"]},
    ]);
    grant(admin, (HUB, "agent"), HUB, "agent", rules).await?;
    let inventories: Api<ProviderInventory> = Api::namespaced(admin.clone(), HUB);
    create(
        &inventories,
        json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "ProviderInventory",
        "metadata": {"name": "inventory"}, "spec": {}}),
    )
    .await?;
    for name in ["heartbeat", "ping"] {
        create(
            &Api::<Lease>::namespaced(admin.clone(), HUB),
            json!({"metadata": {"name": name}, "spec": {}}),
        )
        .await?;
    }
    // Whatever accepts connections can be measured: here the API server itself.
    let asked = json!({"status": {"probeTargets": [{"location": "next-door", "address": next_door}]}});
    inventories
        .patch_status("inventory", &PatchParams::default(), &Patch::Merge(asked))
        .await?;
    Ok(())
}

/// The hub's measurement of its distance: a nonce that comes back.
async fn pings_are_answered(admin: &Client) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(admin.clone(), HUB);
    for nonce in ["4f2d", "9c01"] {
        let ping = json!({"metadata": {"annotations": {names::PING_ANNOTATION: nonce}}});
        leases
            .patch(names::PING_LEASE, &PatchParams::default(), &Patch::Merge(ping))
            .await?;
        eventually("a pong", LIMIT, || async {
            let lease = leases.get(names::PING_LEASE).await.ok()?;
            (lease.annotations().get(names::PONG_ANNOTATION)? == nonce).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// What the provider chart makes, and one GPU host.
async fn prepare_provider(admin: &Client) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    create(&namespaces, json!({"metadata": {"name": OWN}})).await?;
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    create(&namespaces, json!({"metadata": {"name": WORK, "labels": restricted}})).await?;
    create(
        &Api::<ServiceAccount>::namespaced(admin.clone(), OWN),
        json!({"metadata": {"name": "agent"}}),
    )
    .await?;
    let own = json!([
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["spillway-agent-keys"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["spillway-agent-credential"], "verbs": ["get", "update"]},
    ]);
    grant(admin, (OWN, "agent"), OWN, "agent", own).await?;
    let work = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "create", "delete"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "create", "delete"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "create", "delete"]},
    ]);
    grant(admin, (OWN, "agent"), WORK, "agent", work).await?;
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]);
    create(
        &Api::<ClusterRole>::all(admin.clone()),
        json!({"metadata": {"name": "agent"}, "rules": nodes}),
    )
    .await?;
    create(
        &Api::<ClusterRoleBinding>::all(admin.clone()),
        json!({
            "metadata": {"name": "agent"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"},
            "subjects": [{"kind": "ServiceAccount", "namespace": OWN, "name": "agent"}],
        }),
    )
    .await?;
    let nodes: Api<Node> = Api::all(admin.clone());
    let labels = json!({"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034"});
    create(&nodes, json!({"metadata": {"name": "gpu-1", "labels": labels}})).await?;
    let status = json!({"status": {
        "capacity": {"nvidia.com/gpu": "1", "cpu": "4", "memory": "16Gi"},
        "allocatable": {"nvidia.com/gpu": "1", "cpu": "4", "memory": "16Gi"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    nodes
        .patch_status("gpu-1", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

fn payer_key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(3)).unwrap()
}

fn bundle(plane: &ControlPlane, token: &str) -> anyhow::Result<Bundle> {
    let json = json!({
        "server": plane.url(),
        "caData": BASE64_STANDARD.encode(plane.authority_pem()?),
        "provider": "acme", "namespace": HUB, "token": token, "chainId": 31337,
        "contract": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "orderSigners": [payer_key().address().to_string()],
    });
    Ok(Bundle::parse(&BASE64_STANDARD.encode(json.to_string()))?)
}

fn policy(bundle: &Bundle, keys: &Keys) -> Policy {
    Policy {
        terms: bundle.terms.clone(),
        keys: keys.clone(),
        price: PRICE,
        pods: PodSettings {
            namespace: WORK.to_owned(),
            runner_image: "spillway/runner:dev".to_owned(),
            image_pull_policy: None,
            engine_concurrency: 8,
            isolation: None,
            elastic: ElasticPools::default(),
        },
    }
}

/// The agent's tasks, as `main` wires them; dropping it ends them.
async fn start_agent(plane: &ControlPlane, bundle: Bundle) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let client = plane
        .client_with_token(&plane.service_account_token(OWN, "agent").await?)
        .await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), OWN);
    let keys = Keys::load_or_create(&secrets).await?;
    let metrics = Metrics::new(&prometheus::Registry::new())?;
    let (source, link) = hub::link();
    let (latency_in, latency) = watch::channel(None);
    let (hosts_in, hosts) = watch::channel(Knowledge::Unknown);
    let (prober, probes) = Prober::new(Reach::Anywhere, Duration::from_millis(200));
    let policy = policy(&bundle, &keys);
    let nodes = Api::all(client.clone());
    let token = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(
        Keeper {
            bundle,
            secrets,
            source,
            metrics: metrics.clone(),
        }
        .run(token.clone()),
    );
    let holder = "agent-0".to_owned();
    tasks.spawn(
        Heart {
            hub: link.clone(),
            holder,
            metrics: metrics.clone(),
            latency: latency_in,
        }
        .run(token.clone()),
    );
    let inventory = Inventory {
        nodes,
        hub: link.clone(),
        keys,
        price: PRICE,
        elastic: ElasticPools::default(),
        latency,
        probes,
        probe_address: None,
        hosts: hosts_in,
        metrics: metrics.clone(),
    };
    tasks.spawn(inventory.run(token.clone()));
    tasks.spawn(prober.run(token.clone()));
    let (hub, metrics_of_pongs) = (link.clone(), metrics.clone());
    tasks.spawn(
        Ponger {
            hub,
            metrics: metrics_of_pongs,
        }
        .run(token.clone()),
    );
    let health = Health::default();
    tasks.spawn(
        Worker {
            local: client,
            hub: link,
            hosts,
            policy,
            metrics,
            health,
        }
        .run(token),
    );
    Ok(tasks)
}

async fn joined(admin: &Client) -> anyhow::Result<ProviderInventory> {
    let inventories: Api<ProviderInventory> = Api::namespaced(admin.clone(), HUB);
    eventually("an inventory with one GPU", LIMIT, || async {
        let inventory = inventories.get("inventory").await.ok()?;
        (inventory.spec.hosts.iter().map(|host| host.gpus).sum::<u32>() == 1).then_some(inventory)
    })
    .await
}

/// An assignment as dispatch writes it, sealed to the key of the inventory.
fn assignment(inventory: &ProviderInventory, change: impl FnOnce(&mut Value)) -> WorkAssignment {
    let (uid, not_after) = (
        "99999999-8888-7777-6666-555555555555",
        Timestamp::now() + SignedDuration::from_mins(15),
    );
    let not_after = Timestamp::from_second(not_after.as_second()).unwrap();
    let context = Context {
        job_uid: uid,
        shard: 0,
        attempt: 0,
        provider: "acme",
        not_after: not_after.as_second(),
    };
    let urls = json!({"input": "https://store/in?sig=1", "output": "https://store/out?sig=2"}).to_string();
    let key = inventory.spec.sealing_key.as_ref().unwrap().parse().unwrap();
    let sealed = seal(&key, &context, urls.as_bytes(), &mut rand::rng()).unwrap();
    let mut spec = json!({
        "job": {"namespace": "team-a", "name": "embed", "uid": uid},
        "shard": 0, "attempt": 0, "kind": "Work", "host": "gpu-1",
        "engine": {"image": "registry/engine:1"},
        "gpus": 1, "cpu": "500m", "memory": "1Gi",
        "input": {"digest": DIGEST, "bytes": 10, "requests": 1},
        "order": {
            "chainId": 31337, "contract": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "payer": "0x00000000000000000000000000000000000000bb",
            "provider": "0x00000000000000000000000000000000000000aa",
            "unitPriceMicro": 900_000, "upperBoundMicro": 225_000, "expiry": not_after.as_second(), "signature": "0x",
        },
        "sealed": {"encapsulatedKey": sealed.encapsulated_key, "ciphertext": sealed.ciphertext},
        "egress": ["store:443"],
        "notAfter": not_after,
    });
    change(&mut spec);
    let mut spec: WorkAssignmentSpec = serde_json::from_value(spec).unwrap();
    let order = spec.order.order(uid, 0, 0, spec.kind).unwrap();
    let hash = order.signing_hash(&domain(31337, spec.order.contract_address().unwrap()));
    spec.order.signature = format!(
        "0x{}",
        hex::encode(payer_key().sign_hash_sync(&hash).unwrap().as_bytes())
    );
    let mut assignment = WorkAssignment::new(&format!("{uid}-0-0"), spec);
    assignment.metadata.finalizers = Some(vec![ASSIGNMENT_FINALIZER.to_owned()]);
    assignment
}

async fn state(
    assignments: &Api<WorkAssignment>,
    name: &str,
    wanted: AssignmentState,
) -> anyhow::Result<WorkAssignment> {
    eventually(&format!("state {wanted:?}"), LIMIT, || async {
        let assignment = assignments.get(name).await.ok()?;
        (assignment.status.as_ref()?.state == wanted).then_some(assignment)
    })
    .await
}

async fn runner_state(pods: &Api<Pod>, name: &str, phase: &str, state: Value) -> anyhow::Result<()> {
    let runner =
        json!({"name": "runner", "image": "r", "imageID": "r", "ready": false, "restartCount": 0, "state": state});
    let status = json!({"status": {"phase": phase, "containerStatuses": [runner]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

fn report() -> String {
    serde_json::to_string(&WorkReport::Completed {
        input_digest: DIGEST.to_owned(),
        output_digest: DIGEST.to_owned(),
        output_bytes: 10,
        requests: 1,
        failed_requests: 0,
        started_unix: 1,
        finished_unix: 2,
        metered_millis: 1000,
        prompt_tokens: 3,
        completion_tokens: 0,
    })
    .unwrap()
}

#[tokio::test]
async fn joins_works_and_survives_a_restart_without_its_join_token() -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    let admin = plane.client().await?;
    prepare_hub(&admin, plane.url().trim_start_matches("https://")).await?;
    prepare_provider(&admin).await?;
    let agent = start_agent(
        &plane,
        bundle(&plane, &plane.service_account_token(HUB, "join").await?)?,
    )
    .await?;
    let inventory = joined(&admin).await?;

    // One assignment from pod to receipt.
    let assignments: Api<WorkAssignment> = Api::namespaced(admin.clone(), HUB);
    let pods: Api<Pod> = Api::namespaced(admin.clone(), WORK);
    let made = assignments
        .create(&PostParams::default(), &assignment(&inventory, |_| ()))
        .await?;
    let name = made.metadata.name.clone().unwrap();
    state(&assignments, &name, AssignmentState::Accepted).await?;
    let pod = format!("work-{}", made.metadata.uid.clone().unwrap());
    runner_state(
        &pods,
        &pod,
        "Running",
        json!({"running": {"startedAt": "2026-03-01T12:00:00Z"}}),
    )
    .await?;
    state(&assignments, &name, AssignmentState::Running).await?;
    let ended = json!({"terminated": {"exitCode": 0, "message": report(), "finishedAt": "2026-03-01T12:00:01Z"}});
    runner_state(&pods, &pod, "Succeeded", ended).await?;
    let completed = state(&assignments, &name, AssignmentState::Completed).await?;
    let receipt = completed.status.unwrap().receipt.unwrap();
    let order = made.spec.order.order(&made.spec.job.uid, 0, 0, made.spec.kind)?;
    let domain = domain(31337, made.spec.order.contract_address()?);
    let signer = receipt
        .signed_part(order.hash())?
        .recover(&domain, &receipt.signature_bytes()?)?;
    assert_eq!(Some(signer.to_checksum(None)), inventory.spec.receipt_signer);
    nothing_left(&admin).await?;
    assignments.delete(&name, &DeleteParams::default()).await?;
    state(&assignments, &name, AssignmentState::Gone).await?;
    release(&assignments, &name).await?;

    // A restart: the join token is worthless now, the stored credential works, keys stay.
    drop(agent);
    let _agent = start_agent(&plane, bundle(&plane, "used-up")?).await?;
    let refused = assignment(&inventory, |spec| spec["order"]["unitPriceMicro"] = json!(1));
    assignments.create(&PostParams::default(), &refused).await?;
    let refused = state(&assignments, &name, AssignmentState::Refused).await?;
    assert_eq!(refused.status.unwrap().reason.as_deref(), Some("PriceTooLow"));
    release(&assignments, &name).await?;
    assignments.delete(&name, &DeleteParams::default()).await?;
    eventually("the refused assignment to go", LIMIT, || async {
        assignments.get_opt(&name).await.ok()?.is_none().then_some(())
    })
    .await?;

    // Deleting a running job: everything goes here before Gone is said there.
    assignments
        .create(&PostParams::default(), &assignment(&inventory, |_| ()))
        .await?;
    state(&assignments, &name, AssignmentState::Accepted).await?;
    assignments.delete(&name, &DeleteParams::default()).await?;
    state(&assignments, &name, AssignmentState::Gone).await?;
    nothing_left(&admin).await?;

    pings_are_answered(&admin).await?;
    heartbeat_and_quiet(&admin).await
}

/// The operator's part of a deletion.
async fn release(assignments: &Api<WorkAssignment>, name: &str) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    assignments.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn nothing_left(admin: &Client) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), WORK);
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), WORK);
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), WORK);
    let all = ListParams::default();
    eventually("an empty work namespace", LIMIT, || async {
        let left = pods.list(&all).await.ok()?.items.len()
            + secrets.list(&all).await.ok()?.items.len()
            + policies.list(&all).await.ok()?.items.len();
        (left == 0).then_some(())
    })
    .await
}

/// The Lease is renewed; what has converged is not written again.
async fn heartbeat_and_quiet(admin: &Client) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(admin.clone(), HUB);
    let renewed = |lease: Lease| lease.spec.and_then(|spec| spec.renew_time).map(|time| time.0);
    let inventories: Api<ProviderInventory> = Api::namespaced(admin.clone(), HUB);
    // The first claim of the hub's distance follows three heartbeats; after it the inventory is still.
    eventually("claims of both distances", LIMIT, || async {
        let latencies = inventories.get("inventory").await.ok()?.spec.latencies;
        let to: Vec<&str> = latencies.iter().map(|claim| claim.to.as_str()).collect();
        (to == ["hub", "next-door"]).then_some(())
    })
    .await?;
    let before = inventories.get("inventory").await?.metadata.resource_version;
    let first = renewed(leases.get("heartbeat").await?);
    eventually("two renewals", LIMIT, || async {
        let now = renewed(leases.get("heartbeat").await.ok()?)?;
        (now.duration_since(first?) > SignedDuration::from_secs(8)).then_some(())
    })
    .await?;
    assert_eq!(inventories.get("inventory").await?.metadata.resource_version, before);
    Ok(())
}
