//! The provider controller against a real API server, with the rights that the chart gives the operator. No other
//! controller runs: the tests play the agents, and the end of a namespace.

// clippy's leave for tests covers test functions, not what they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ground;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;
use spillway_crds::{AssignmentState, ProviderInventory, WorkAssignment, names};
use spillway_e2e_control_plane::eventually;

use ground::{Hub, LIMIT, SIGNER, mint, mint_for};
use rights::{code, rights};

const OTHER_SIGNER: &str = "0x3333333333333333333333333333333333333333";
const NODE: &str = "spillway-a-gpu0";

const AGENT_RIGHTS: [&str; 17] = [
    "create serviceaccounts/token agent",
    "get leases heartbeat",
    "update leases heartbeat",
    "patch leases heartbeat",
    "get leases ping",
    "list leases ping",
    "watch leases ping",
    "patch leases ping",
    "get providerinventories inventory",
    "update providerinventories inventory",
    "patch providerinventories inventory",
    "get workassignments",
    "list workassignments",
    "watch workassignments",
    "get workassignments/status",
    "update workassignments/status",
    "patch workassignments/status",
];

fn set(rights: &[&str]) -> BTreeSet<String> {
    rights.iter().map(|right| (*right).to_owned()).collect()
}

/// What the controller makes before anybody joins.
async fn provisioned(hub: &Hub, provider: &str) {
    let namespace = names::provider_namespace(provider);
    let namespace = Api::<Namespace>::all(hub.admin.clone()).get(&namespace).await.unwrap();
    assert_eq!(namespace.labels()[names::LABEL_PROVIDER], provider);
    for account in ["join", "agent"] {
        let found = hub.of::<ServiceAccount>(provider).get(account).await.unwrap();
        assert_eq!(found.automount_service_account_token, Some(false));
        hub.of::<Role>(provider).get(account).await.unwrap();
        hub.of::<RoleBinding>(provider).get(account).await.unwrap();
        let secret = hub.of::<Secret>(provider).get(account).await.unwrap();
        assert_eq!(secret.data, None, "tokens are bound to it, it holds nothing");
    }
    let inventory = hub.of::<ProviderInventory>(provider).get("inventory").await.unwrap();
    assert!(inventory.spec.hosts.is_empty());
    let lease = hub.of::<Lease>(provider).get("heartbeat").await.unwrap();
    assert_eq!(lease.spec.unwrap_or_default().renew_time, None, "nobody has beaten yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_reach_what_is_theirs_and_nothing_else() {
    let hub = Hub::start().await;
    for provider in ["a", "b"] {
        hub.register(provider).await;
        provisioned(&hub, provider).await;
        let waiting = hub.condition(provider, "Joined", "WaitingForAgent").await;
        assert_eq!(waiting.finalizers(), ["spillway.dev/provider"]);
    }
    let join = hub.join_client("a").await;
    let (agent_a, agent_b) = (hub.agent("a").await, hub.agent("b").await);

    // Who, and what it may do in a's namespace, in b's, in the system's, in a tenant's, everywhere.
    let (nothing, agent) = (set(&[]), set(&AGENT_RIGHTS));
    let mints = set(&["create serviceaccounts/token agent"]);
    for (who, client, in_a, in_b) in [
        ("join token of a", &join, &mints, &nothing),
        ("agent of a", &agent_a.client, &agent, &nothing),
        ("agent of b", &agent_b.client, &nothing, &agent),
    ] {
        for (namespace, expected) in [
            ("spillway-provider-a", in_a),
            ("spillway-provider-b", in_b),
            (names::SYSTEM_NAMESPACE, &nothing),
            ("default", &nothing),
            ("kube-node-lease", &nothing),
            ("", &nothing),
        ] {
            assert_eq!(&rights(client, namespace).await, expected, "{who} in `{namespace}`");
        }
    }
    real_requests_agree(&hub, &join, &agent_a).await;
}

/// What RBAC cannot say: the token that an agent mints ends with the Secret `agent`.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_mints_no_token_that_outlives_its_secret() {
    let hub = Hub::start().await;
    hub.register("a").await;
    let join = hub.join_client("a").await;
    let refused = async |secret, seconds| match mint_for(&join, "a", "agent", secret, seconds).await {
        Err(kube::Error::Api(status)) => Some(status.message),
        _ => None,
    };
    // A policy takes a moment to be in force.
    eventually("the policy", LIMIT, || refused(None, 3600)).await.unwrap();
    for secret in [None, Some("join")] {
        let message = refused(secret, 3600).await.unwrap();
        assert!(message.contains("must be bound to the Secret `agent`"), "{message}");
    }
    let message = refused(Some("agent"), 8 * 86_400).await.unwrap();
    assert!(message.contains("7 days at most"), "{message}");
    assert_eq!(refused(Some("agent"), 7 * 86_400).await, None);
}

async fn real_requests_agree(hub: &Hub, join: &kube::Client, agent: &ground::Agent) {
    for provider in ["a", "b"] {
        hub.assign(provider).await;
    }
    agent.claim(SIGNER).await;
    let own: Api<WorkAssignment> = Api::namespaced(agent.client.clone(), "spillway-provider-a");
    let accepted = Patch::Merge(json!({"status": {"state": "Accepted"}}));
    let patched = own
        .patch_status("assignment", &PatchParams::default(), &accepted)
        .await
        .unwrap();
    assert_eq!(patched.status.unwrap().state, AssignmentState::Accepted);
    mint(&agent.client, "a", "agent", "agent").await.unwrap();

    let (core, ours) = ("/api/v1/namespaces/spillway-provider", "/apis/spillway.dev/v1alpha1");
    let of = |provider: &str| format!("{ours}/namespaces/spillway-provider-{provider}");
    let leases = "/apis/coordination.k8s.io/v1/namespaces/spillway-provider";
    let forbidden = [
        ("GET", format!("{core}-a/secrets/agent")),
        ("GET", format!("{core}-a/secrets")),
        ("POST", format!("{core}-a/secrets")),
        ("POST", format!("{core}-a/pods")),
        ("POST", format!("{core}-a/serviceaccounts/join/token")),
        ("POST", format!("{core}-b/serviceaccounts/agent/token")),
        ("POST", format!("{leases}-a/leases")),
        ("DELETE", format!("{leases}-a/leases/heartbeat")),
        ("PATCH", format!("{leases}-b/leases/heartbeat")),
        ("POST", format!("{}/workassignments", of("a"))),
        ("PATCH", format!("{}/workassignments/assignment", of("a"))),
        ("DELETE", format!("{}/workassignments/assignment", of("a"))),
        ("GET", format!("{}/workassignments", of("b"))),
        ("PATCH", format!("{}/workassignments/assignment/status", of("b"))),
        ("PATCH", format!("{}/providerinventories/inventory", of("b"))),
        ("POST", format!("{}/providerinventories", of("a"))),
        ("GET", format!("{ours}/gpuproviders/a")),
        ("PATCH", format!("{ours}/gpuproviders/a/status")),
        ("GET", "/api/v1/nodes".to_owned()),
    ];
    for (method, path) in &forbidden {
        assert_eq!(code(&agent.client, method, path).await, 403, "agent: {method} {path}");
        assert_eq!(code(join, method, path).await, 403, "join token: {method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_heartbeat_pins_the_keys_and_ends_the_join_token() {
    let hub = Hub::start().await;
    let old_secret = hub.register("a").await;
    hub.register("b").await;
    let (join, other_join) = (hub.join_client("a").await, hub.join_client("b").await);
    let mut agent = hub.agent("a").await;

    // Claims alone do not join: somebody who can write must also stay.
    agent.claim(SIGNER).await;
    agent.beat();
    let joined = hub.condition("a", "Joined", "AgentHeard").await.status.unwrap();
    assert_eq!(joined.receipt_signer.as_deref(), Some(SIGNER));
    assert_eq!(joined.sealing_key.as_deref(), Some("key"));
    assert!(joined.joined_at.is_some());

    let secrets: Api<Secret> = hub.of("a");
    eventually("the join Secret to go", LIMIT, || async {
        secrets.get_opt("join").await.ok()?.is_none().then_some(())
    })
    .await
    .unwrap();
    // The API server believes a token that it has seen for ten seconds more.
    eventually("the join token to end", LIMIT, || async {
        let outcome = mint(&join, "a", "agent", "agent").await;
        matches!(outcome, Err(kube::Error::Api(status)) if status.code == 401).then_some(())
    })
    .await
    .unwrap();
    mint(&agent.client, "a", "agent", "agent").await.unwrap();
    mint(&other_join, "b", "agent", "agent").await.unwrap();

    // A Secret of that name made again does not bring the token back: it is bound to the UID.
    let again = Secret {
        metadata: kube::api::ObjectMeta {
            name: old_secret.metadata.name.clone(),
            ..Default::default()
        },
        ..Secret::default()
    };
    secrets.create(&Default::default(), &again).await.unwrap();
    assert!(mint(&join, "a", "agent", "agent").await.is_err());

    // The keys are pinned.
    agent.claim(OTHER_SIGNER).await;
    let refused = hub.condition("a", "Ready", "ClaimRefused").await.status.unwrap();
    assert_eq!(refused.receipt_signer.as_deref(), Some(SIGNER));
    agent.claim(SIGNER).await;
    hub.condition("a", "Ready", "Offering").await;
}

async fn version<K>(api: &Api<K>, name: &str) -> (String, String)
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let object = api.get(name).await.unwrap();
    (format!("{} {name}", K::kind(&())), object.resource_version().unwrap())
}

/// Versions of everything that the controller keeps and nobody else writes.
async fn versions(hub: &Hub) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([
        version(&hub.providers(), "a").await,
        version(&Api::<Node>::all(hub.admin.clone()), NODE).await,
        version(&Api::<Namespace>::all(hub.admin.clone()), "spillway-provider-a").await,
        version(&hub.of::<ProviderInventory>("a"), "inventory").await,
        version(&hub.of::<Secret>("a"), "agent").await,
    ]);
    for account in ["join", "agent"] {
        versions.extend([
            version(&hub.of::<ServiceAccount>("a"), account).await,
            version(&hub.of::<Role>("a"), account).await,
            version(&hub.of::<RoleBinding>("a"), account).await,
        ]);
    }
    versions
}

/// Waits for the next renewal of the node's own Lease: every 20 s, so some passes later.
async fn node_lease_renewed(hub: &Hub) {
    let leases: Api<Lease> = Api::namespaced(hub.admin.clone(), "kube-node-lease");
    let before = version(&leases, NODE).await;
    eventually("a renewal of the node lease", LIMIT, || async {
        (version(&leases, NODE).await != before).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joined_provider_shows_as_a_virtual_node_that_nobody_writes_without_cause() {
    let hub = Hub::start().await;
    let _agent = hub.joined("a").await;
    let nodes: Api<Node> = Api::all(hub.admin.clone());
    let node = eventually("a node that takes work", LIMIT, || async {
        let node = nodes.get_opt(NODE).await.ok()??;
        let taints = node.spec.as_ref()?.taints.clone().unwrap_or_default();
        (!taints.iter().any(|taint| taint.key == names::TAINT_DARK)).then_some(node)
    })
    .await
    .unwrap();
    let spec = node.spec.clone().unwrap();
    let is_virtual =
        |taint: &k8s_openapi::api::core::v1::Taint| taint.key == names::TAINT_VIRTUAL && taint.effect == "NoSchedule";
    assert!(spec.taints.iter().flatten().any(is_virtual), "{spec:?}");
    assert_eq!(spec.provider_id.as_deref(), Some("spillway://a/gpu0"));
    for (label, value) in [
        (names::LABEL_VIRTUAL, "true"),
        (names::LABEL_PROVIDER, "a"),
        ("topology.kubernetes.io/zone", "a"),
        ("topology.kubernetes.io/region", "eu"),
        ("spillway.dev/class", "Decentralized"),
        ("nvidia.com/gpu.product", "NVIDIA-L4"),
        ("nvidia.com/gpu.memory", "24576"),
        ("nvidia.com/gpu.compute.major", "8"),
        ("nvidia.com/gpu.compute.minor", "9"),
    ] {
        assert_eq!(node.labels().get(label).map(String::as_str), Some(value), "{label}");
    }
    assert!(
        !node.labels().contains_key("kubernetes.io/os"),
        "DaemonSets would come to it"
    );
    let status = node.status.unwrap();
    for resources in [status.capacity.unwrap(), status.allocatable.unwrap()] {
        assert_eq!(resources[names::GPU_RESOURCE].0, "2");
    }

    node_lease_renewed(&hub).await;
    let before = versions(&hub).await;
    node_lease_renewed(&hub).await;
    assert_eq!(versions(&hub).await, before, "converged means no writes");
}

/// Both ends of a distance: what an agent claims, and how long the hub's pings take.
#[tokio::test(flavor = "multi_thread")]
async fn a_distance_is_a_fact_when_the_hub_s_pings_bear_it_out() {
    let hub = Hub::start().await;
    let mut agent = hub.joined("a").await;
    let inventories: Api<ProviderInventory> = hub.of("a");
    let asked = eventually("the probe targets in the inventory", LIMIT, || async {
        inventories.get("inventory").await.ok()?.status
    });
    assert_eq!(asked.await.unwrap().probe_targets[0].location, "next-door");

    // A claim alone is nothing.
    agent.claim_distance(400).await;
    hub.condition("a", "LatencyKnown", "NotMeasured").await;
    agent.answer_pings(Duration::from_millis(400));
    let known = hub.condition("a", "LatencyKnown", "Confirmed").await.status.unwrap();
    let facts: Vec<_> = known
        .latencies
        .iter()
        .map(|fact| (fact.to.as_str(), fact.median_micros))
        .collect();
    assert_eq!(facts, [("hub", 400_000)]);

    // Nearer than any answer ever came.
    agent.claim_distance(2).await;
    let disputed = hub
        .condition("a", "LatencyKnown", "LatencyDisputed")
        .await
        .status
        .unwrap();
    assert_eq!(disputed.latencies, []);
    hub.condition("a", "Ready", "Offering").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_provider_loses_its_token_and_can_come_back() {
    let hub = Hub::start().await;
    let (agent, other) = (hub.joined("a").await, hub.joined("b").await);
    let assignment = hub.assign("a").await.name_any();
    hub.providers().delete("a", &DeleteParams::default()).await.unwrap();

    let own = "/apis/spillway.dev/v1alpha1/namespaces/spillway-provider-a/providerinventories/inventory";
    eventually("the agent's token to end", LIMIT, || async {
        (code(&agent.client, "GET", own).await == 401).then_some(())
    })
    .await
    .unwrap();
    let nodes: Api<Node> = Api::all(hub.admin.clone());
    let leases: Api<Lease> = Api::namespaced(hub.admin.clone(), "kube-node-lease");
    eventually("node and node lease to go", LIMIT, || async {
        let gone = nodes.get_opt(NODE).await.ok()?.is_none() && leases.get_opt(NODE).await.ok()?.is_none();
        gone.then_some(())
    })
    .await
    .unwrap();

    // An assignment that is not released holds the provider and its namespace.
    let namespaces: Api<Namespace> = Api::all(hub.admin.clone());
    let ends = async || {
        let namespace = namespaces.get("spillway-provider-a").await.unwrap();
        namespace.metadata.deletion_timestamp.is_some()
    };
    assert!(hub.providers().get_opt("a").await.unwrap().is_some() && !ends().await);
    hub.of::<WorkAssignment>("a")
        .delete(&assignment, &DeleteParams::default())
        .await
        .unwrap();
    eventually("the provider to go", LIMIT, || async {
        hub.providers().get_opt("a").await.ok()?.is_none().then_some(())
    })
    .await
    .unwrap();
    assert!(ends().await);

    // The other one does not notice.
    mint(&other.client, "b", "agent", "agent").await.unwrap();
    hub.condition("b", "Ready", "Offering").await;

    // The same name again, at once: a provider like any new one. The old agent stays out.
    end_namespace(&hub).await;
    hub.register("a").await;
    provisioned(&hub, "a").await;
    assert_eq!(code(&agent.client, "GET", own).await, 401);
    let mut back = hub.agent("a").await;
    back.claim(OTHER_SIGNER).await;
    back.beat();
    let joined = hub.condition("a", "Ready", "Offering").await;
    assert_eq!(joined.status.unwrap().receipt_signer.as_deref(), Some(OTHER_SIGNER));
}

/// The namespace controller's part: what lies in the namespace goes, then the namespace.
async fn end_namespace(hub: &Hub) {
    let (delete, all) = (DeleteParams::default(), kube::api::ListParams::default());
    hub.of::<Secret>("a").delete_collection(&delete, &all).await.unwrap();
    hub.of::<ServiceAccount>("a")
        .delete_collection(&delete, &all)
        .await
        .unwrap();
    hub.of::<RoleBinding>("a")
        .delete_collection(&delete, &all)
        .await
        .unwrap();
    hub.of::<Role>("a").delete_collection(&delete, &all).await.unwrap();
    hub.of::<Lease>("a").delete_collection(&delete, &all).await.unwrap();
    hub.of::<ProviderInventory>("a")
        .delete_collection(&delete, &all)
        .await
        .unwrap();
    let finalized = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "spillway-provider-a"}, "spec": {"finalizers": []},
    });
    let request = http::Request::put("/api/v1/namespaces/spillway-provider-a/finalize")
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&finalized).unwrap())
        .unwrap();
    hub.admin.request_text(request).await.unwrap();
}
