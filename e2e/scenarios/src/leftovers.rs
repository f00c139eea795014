//! What is left of a job, anywhere.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use spillway_crds::{WorkAssignment, names};

use crate::{Ground, Stores, TENANT};

/// One line per thing that still belongs to the job: objects on hub and providers, the job's data in the hub store.
/// Receipts, verdicts and leaves may outlive a job and are not counted.
///
/// # Errors
/// When somebody cannot be asked.
pub async fn leftovers(ground: &Ground, stores: &Stores, job: &str, uid: &str) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    left.extend(
        ground
            .jobs()
            .get_opt(job)
            .await?
            .map(|_| format!("hub InferenceJob {job}")),
    );
    left.extend(named::<Pod>(&ground.hub, job, uid).await?);
    left.extend(named::<Secret>(&ground.hub, job, uid).await?);
    left.extend(named::<ConfigMap>(&ground.hub, job, uid).await?);
    let assignments = Api::<WorkAssignment>::all(ground.hub.clone())
        .list(&ListParams::default())
        .await?;
    let of_job = assignments.iter().filter(|assignment| assignment.spec.job.uid == uid);
    left.extend(of_job.map(|assignment| format!("hub WorkAssignment {}", assignment.name_any())));
    for (provider, client) in &ground.providers {
        left.extend(labelled::<Pod>(provider, client, uid).await?);
        left.extend(labelled::<Secret>(provider, client, uid).await?);
        left.extend(labelled::<ConfigMap>(provider, client, uid).await?);
        left.extend(labelled::<NetworkPolicy>(provider, client, uid).await?);
    }
    left.extend(stores.hub.keys(&format!("jobs/{uid}/")).await?);
    Ok(left)
}

/// In the tenant's namespace: `<job>-…`, or owned by the job.
async fn named<K>(client: &Client, job: &str, uid: &str) -> anyhow::Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let all = Api::<K>::namespaced(client.clone(), TENANT)
        .list_metadata(&ListParams::default())
        .await?;
    let prefix = format!("{job}-");
    let belongs = |object: &&kube::core::PartialObjectMeta<K>| {
        object.name_any().starts_with(&prefix) || object.owner_references().iter().any(|owner| owner.uid == uid)
    };
    Ok(all
        .iter()
        .filter(belongs)
        .map(|object| format!("hub {} {}", K::kind(&()), object.name_any()))
        .collect())
}

/// In the provider's work namespace.
async fn labelled<K>(provider: &str, client: &Client, uid: &str) -> anyhow::Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let of_job = ListParams::default().labels(&format!("{}={uid}", names::LABEL_JOB_UID));
    let found = Api::<K>::namespaced(client.clone(), names::WORK_NAMESPACE)
        .list_metadata(&of_job)
        .await?;
    Ok(found
        .iter()
        .map(|object| format!("{provider} {} {}", K::kind(&()), object.name_any()))
        .collect())
}
