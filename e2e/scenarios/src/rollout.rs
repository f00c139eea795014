//! Changing one setting of an installed component, until only pods with it are left.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::until;

const ROLLED_WITHIN: Duration = Duration::from_secs(240);

/// A Deployment of one replica, and the container in it that reads the setting.
#[derive(Clone, Copy, Debug)]
pub struct Installed<'a> {
    pub namespace: &'a str,
    pub deployment: &'a str,
    pub container: &'a str,
}

/// Sets an environment variable and waits until only such a pod is left. Take one that the chart sets: `e2e/demo/install.sh`
/// then mends what a test that was killed left.
///
/// # Errors
/// When it is not so within four minutes.
pub async fn set_variable(client: &Client, installed: Installed<'_>, name: &str, value: &str) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), installed.namespace);
    let variable = json!({"name": name, "value": value});
    let container = json!({"name": installed.container, "env": [variable]});
    let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [container]}}}}));
    let changed = deployments
        .patch(installed.deployment, &PatchParams::default(), &patch)
        .await?;
    let generation = changed.metadata.generation;
    let what = format!("{} with another {name}", installed.deployment);
    until(&what, ROLLED_WITHIN, async || {
        let status = deployments.get(installed.deployment).await?.status.unwrap_or_default();
        let counts = [status.replicas, status.updated_replicas, status.available_replicas];
        Ok((status.observed_generation >= generation && counts == [Some(1); 3]).then_some(()))
    })
    .await
}
