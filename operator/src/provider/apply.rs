//! Carries out a provider's plan against the API server.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use spillway_crds::{GpuProvider, GpuProviderStatus, ProbeTarget, ProviderInventory, names};

use super::access::access;
use super::node::VirtualNode;
use super::plan::{Action, FINALIZER};

const NODE_LEASE_NAMESPACE: &str = "kube-node-lease";
const NODE_LEASE_SECONDS: i32 = 40;

/// Applies one action.
///
/// # Errors
/// What the API server answered; the next pass plans anew.
pub async fn apply(client: &Client, provider: &GpuProvider, action: Action, now: &Time) -> kube::Result<()> {
    let name = provider.metadata.name.as_deref().unwrap_or_default();
    let namespace = names::provider_namespace(name);
    match action {
        Action::Provision { joined } => provision(client, name, joined).await,
        Action::DeleteJoinSecret => {
            delete(
                Api::<Secret>::namespaced(client.clone(), &namespace),
                names::JOIN_SECRET,
            )
            .await
        }
        Action::DeleteAgentSecret => {
            delete(
                Api::<Secret>::namespaced(client.clone(), &namespace),
                names::AGENT_SECRET,
            )
            .await
        }
        Action::DeleteNamespace => delete(Api::<Namespace>::all(client.clone()), &namespace).await,
        Action::DeleteNode(node) => delete_node(client, &node).await,
        Action::ApplyNode(node) => apply_node(client, &node, now).await,
        Action::AskForDistances(targets) => ask_for_distances(client, &namespace, targets).await,
        Action::UpdateStatus(status) => update_status(client, provider, *status).await,
        Action::AddFinalizer => set_finalizer(client, provider, true).await,
        Action::RemoveFinalizer => set_finalizer(client, provider, false).await,
    }
}

async fn provision(client: &Client, provider: &str, joined: bool) -> kube::Result<()> {
    let access = access(provider, joined);
    server_side_apply(&Api::all(client.clone()), &access.namespace).await?;
    let namespace = names::provider_namespace(provider);
    apply_all(client, &namespace, &access.service_accounts).await?;
    apply_all(client, &namespace, &access.roles).await?;
    apply_all(client, &namespace, &access.role_bindings).await?;
    apply_all(client, &namespace, &[access.agent_secret]).await?;
    apply_all(client, &namespace, access.join_secret.as_slice()).await?;
    // These belong to the agent once they exist.
    for lease in &access.leases {
        create_if_absent(client, &namespace, lease).await?;
    }
    create_if_absent(client, &namespace, &access.inventory).await
}

async fn apply_all<K>(client: &Client, namespace: &str, objects: &[K]) -> kube::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api = Api::namespaced(client.clone(), namespace);
    for object in objects {
        server_side_apply(&api, object).await?;
    }
    Ok(())
}

async fn server_side_apply<K>(api: &Api<K>, object: &K) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams::apply(names::OPERATOR_FIELD_MANAGER).force();
    let name = object.meta().name.clone().unwrap_or_default();
    // Typed objects serialise apiVersion and kind, which apply needs.
    api.patch(&name, &parameters, &Patch::Apply(object)).await.map(drop)
}

async fn create_if_absent<K>(client: &Client, namespace: &str, object: &K) -> kube::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    match Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), object)
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

async fn delete<K>(api: Api<K>, name: &str) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

async fn apply_node(client: &Client, node: &VirtualNode, now: &Time) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut wanted = node.node(now);
    let status = wanted.status.take();
    server_side_apply(&nodes, &wanted).await?;
    let parameters = PatchParams::apply(names::OPERATOR_FIELD_MANAGER).force();
    let status = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.host.node}, "status": status,
    });
    nodes
        .patch_status(&node.host.node, &parameters, &Patch::Apply(&status))
        .await?;
    renew_node_lease(client, &node.host.node, now).await
}

/// Keeps Kubernetes' own node lifecycle from acting on a virtual node.
///
/// # Errors
/// What the API server answered.
pub async fn renew_node_lease(client: &Client, node: &str, now: &Time) -> kube::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NODE_LEASE_NAMESPACE);
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.to_owned()),
            lease_duration_seconds: Some(NODE_LEASE_SECONDS),
            renew_time: Some(MicroTime(now.0)),
            ..LeaseSpec::default()
        }),
    };
    server_side_apply(&leases, &lease).await
}

async fn ask_for_distances(client: &Client, namespace: &str, probe_targets: Vec<ProbeTarget>) -> kube::Result<()> {
    let inventories: Api<ProviderInventory> = Api::namespaced(client.clone(), namespace);
    // A merge patch takes a list as a whole.
    let patch = Patch::Merge(json!({"status": {"probeTargets": probe_targets}}));
    inventories
        .patch_status(names::INVENTORY_NAME, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

async fn delete_node(client: &Client, node: &str) -> kube::Result<()> {
    delete(Api::<Node>::all(client.clone()), node).await?;
    delete(Api::<Lease>::namespaced(client.clone(), NODE_LEASE_NAMESPACE), node).await
}

/// Writes with the resourceVersion that was planned on: a conflict means plan anew.
async fn update_status(client: &Client, provider: &GpuProvider, status: GpuProviderStatus) -> kube::Result<()> {
    let api: Api<GpuProvider> = Api::all(client.clone());
    let name = provider.metadata.name.as_deref().unwrap_or_default();
    let mut updated = provider.clone();
    updated.status = Some(status);
    api.replace_status(name, &PostParams::default(), &updated)
        .await
        .map(drop)
}

async fn set_finalizer(client: &Client, provider: &GpuProvider, present: bool) -> kube::Result<()> {
    let api: Api<GpuProvider> = Api::all(client.clone());
    let name = provider.metadata.name.as_deref().unwrap_or_default();
    let others = provider
        .metadata
        .finalizers
        .iter()
        .flatten()
        .filter(|finalizer| *finalizer != FINALIZER);
    let mut finalizers: Vec<String> = others.cloned().collect();
    if present {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": provider.metadata.resource_version}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map(drop)
}
