//! Reading both sides into one value.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};
use spillway_core::knowledge::Knowledge;
use spillway_crds::WorkAssignment;
use spillway_crds::names::LABEL_ASSIGNMENT_UID;

use crate::hub::Hub;
use crate::inventory::Hosts;
use crate::request::{RequestError, within};

/// Clients of the work namespace of our own cluster.
#[derive(Clone)]
pub(super) struct LocalCluster {
    pub pods: Api<Pod>,
    /// Of the same pods; watched for hints.
    pub pod_metadata: Api<PartialObjectMeta<Pod>>,
    pub secrets: Api<Secret>,
    pub policies: Api<NetworkPolicy>,
}

impl LocalCluster {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            pods: Api::namespaced(client.clone(), namespace),
            pod_metadata: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            policies: Api::namespaced(client.clone(), namespace),
        }
    }
}

/// Our objects of one assignment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LocalWork {
    pub pod: Option<Pod>,
    pub has_secret: bool,
    pub has_policy: bool,
}

/// One look at both clusters; maps are by the assignment's UID.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    /// The complete list, or that the hub cannot be asked: then nothing is concluded from absence.
    pub assignments: Knowledge<BTreeMap<String, WorkAssignment>>,
    pub local: BTreeMap<String, LocalWork>,
    pub hosts: Hosts,
    /// The hub answered that it does not know our token.
    pub hub_rejected: bool,
}

/// The local side first: an object made from an assignment is then never older than the list that lacks it.
///
/// # Errors
/// When our own cluster cannot be asked; that the hub cannot is a value.
pub(super) async fn observe(cluster: &LocalCluster, hub: Option<&Hub>, hosts: Hosts) -> Result<Observed, RequestError> {
    let local = observe_local(cluster).await?;
    let mut observed = Observed {
        local,
        hosts,
        ..Observed::default()
    };
    let Some(hub) = hub else { return Ok(observed) };
    match within(hub.assignments().list(&ListParams::default())).await {
        Ok(list) => {
            let by_uid = list.items.into_iter().filter_map(|one| Some((one.uid()?, one)));
            observed.assignments = Knowledge::Known(by_uid.collect());
        }
        Err(error) => {
            tracing::warn!(%error, "the hub cannot be asked for assignments; running work goes on");
            observed.hub_rejected = error.is_unauthorized();
        }
    }
    Ok(observed)
}

async fn observe_local(cluster: &LocalCluster) -> Result<BTreeMap<String, LocalWork>, RequestError> {
    let ours = ListParams::default().labels(LABEL_ASSIGNMENT_UID);
    let mut work: BTreeMap<String, LocalWork> = BTreeMap::new();
    for pod in within(cluster.pods.list(&ours)).await? {
        if let Some(uid) = assignment_uid(&pod) {
            work.entry(uid).or_default().pod = Some(pod);
        }
    }
    for secret in within(cluster.secrets.list_metadata(&ours)).await? {
        if let Some(uid) = assignment_uid(&secret) {
            work.entry(uid).or_default().has_secret = true;
        }
    }
    for policy in within(cluster.policies.list_metadata(&ours)).await? {
        if let Some(uid) = assignment_uid(&policy) {
            work.entry(uid).or_default().has_policy = true;
        }
    }
    Ok(work)
}

fn assignment_uid(object: &impl ResourceExt) -> Option<String> {
    object.labels().get(LABEL_ASSIGNMENT_UID).cloned()
}
