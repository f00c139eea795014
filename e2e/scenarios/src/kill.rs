//! Killing processes of the system: their pods vanish without grace.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use spillway_crds::names::SYSTEM_NAMESPACE;

use crate::{Ground, until};

const REPLACED_WITHIN: Duration = Duration::from_secs(180);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    Operator,
    Settlement,
    /// Of this provider.
    Agent(String),
}

impl Component {
    fn pods(&self, ground: &Ground) -> anyhow::Result<(Api<Pod>, ListParams)> {
        let (client, namespace, component): (&Client, _, _) = match self {
            Self::Operator => (&ground.hub, SYSTEM_NAMESPACE, "operator"),
            Self::Settlement => (&ground.hub, SYSTEM_NAMESPACE, "settlement"),
            Self::Agent(provider) => {
                let client = ground.providers.get(provider);
                (
                    client.ok_or_else(|| anyhow::anyhow!("no cluster {provider}"))?,
                    "spillway",
                    "agent",
                )
            }
        };
        let selector = format!("app.kubernetes.io/component={component}");
        Ok((
            Api::namespaced(client.clone(), namespace),
            ListParams::default().labels(&selector),
        ))
    }
}

/// Deletes the component's pods with grace 0 and waits until another one is ready.
///
/// # Errors
/// When there was none, or none came in its place.
pub async fn kill(ground: &Ground, component: &Component) -> anyhow::Result<()> {
    let (pods, selector) = component.pods(ground)?;
    let mut killed = BTreeSet::new();
    for pod in pods.list(&selector).await? {
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
            .await?;
        killed.extend(pod.uid());
    }
    ensure!(!killed.is_empty(), "{component:?} has no pod");
    until(&format!("another {component:?}"), REPLACED_WITHIN, async || {
        let now = pods.list(&selector).await?;
        let is_new = |pod: &&Pod| pod.uid().is_some_and(|uid| !killed.contains(&uid));
        Ok(now.iter().find(is_new).filter(|pod| is_ready(pod)).map(|_| ()))
    })
    .await
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
