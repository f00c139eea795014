//! A hub of its own for each run: API server, namespaces, payer, providers, nodes.

use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use spillway_crds::{GpuProvider, SpendPolicy, names};
use spillway_e2e_control_plane::{ADMIN_TOKEN, ControlPlane};
use spillway_operator::provider::VirtualNode;

use crate::ground::Ground;

pub(crate) const TEAM: &str = "team-a";
/// Requests of the bench on their way at the same time.
pub(crate) const AT_ONCE: usize = 16;
/// Address of the order-signing key 0x11…11.
const SIGNER: &str = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A";

pub(crate) struct Hub {
    pub client: Client,
    pub kubeconfig: PathBuf,
    folder: tempfile::TempDir,
    _plane: ControlPlane,
}

impl Hub {
    pub(crate) async fn start(ground: &Ground) -> anyhow::Result<Self> {
        let plane = ControlPlane::start().await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, serde_json::to_vec(&plane.kubeconfig(ADMIN_TOKEN)?)?)?;
        let client = plane.client().await?;
        let hub = Self {
            client,
            kubeconfig,
            folder,
            _plane: plane,
        };
        hub.furnish(ground).await?;
        Ok(hub)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn furnish(&self, ground: &Ground) -> anyhow::Result<()> {
        let spaces = ground
            .providers
            .iter()
            .map(|provider| names::provider_namespace(&provider.name_any()));
        let spaces = spaces.chain([names::SYSTEM_NAMESPACE.to_owned(), TEAM.to_owned()]);
        let spaces = spaces.map(|name| json!({"metadata": {"name": name}}));
        self.create_all(&Api::<Namespace>::all(self.client.clone()), from_json(spaces)?)
            .await?;
        let key = json!({"metadata": {"name": "order-key"}, "stringData": {"key": "11".repeat(32)}});
        let secrets = Api::<Secret>::namespaced(self.client.clone(), names::SYSTEM_NAMESPACE);
        self.create_all(&secrets, from_json([key])?).await?;
        let policy = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "SpendPolicy", "metadata": {"name": TEAM}, "spec": {
            "namespaces": [TEAM], "payer": format!("0x{}", "a".repeat(40)),
            "limits": {"perJob": "1000000", "perDay": "1000000000"},
            "orderSigningKey": {"address": SIGNER, "secretRef": "order-key"},
        }});
        self.create_all(&Api::<SpendPolicy>::all(self.client.clone()), from_json([policy])?)
            .await?;
        let providers = Api::<GpuProvider>::all(self.client.clone());
        self.create_all(&providers, ground.providers.clone()).await?;
        self.write_facts(&providers, ground).await?;
        let since: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z"))?;
        let nodes = ground.providers.iter().flat_map(|provider| {
            let hosts = provider.status.iter().flat_map(|status| &status.hosts);
            hosts.map(|host| VirtualNode::new(provider, host, true).node(&since))
        });
        self.create_all(&Api::<Node>::all(self.client.clone()), nodes.collect())
            .await
    }

    async fn write_facts(&self, providers: &Api<GpuProvider>, ground: &Ground) -> anyhow::Result<()> {
        let patches = ground.providers.iter().map(|provider| {
            let patch = Patch::Merge(json!({"status": provider.status}));
            async move {
                let written = providers
                    .patch_status(&provider.name_any(), &PatchParams::default(), &patch)
                    .await;
                written.map(drop).context("write a provider's facts")
            }
        });
        let patches: Vec<_> = patches.collect();
        futures::stream::iter(patches)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// As fast as the API server takes them.
    pub(crate) async fn create_all<K>(&self, api: &Api<K>, objects: Vec<K>) -> anyhow::Result<()>
    where
        K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let mut requests = Vec::new();
        for object in &objects {
            requests.push(async move {
                let made = api.create(&PostParams::default(), object).await;
                made.map(drop).with_context(|| format!("create {}", object.name_any()))
            });
        }
        futures::stream::iter(requests)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}

fn from_json<K: DeserializeOwned>(objects: impl IntoIterator<Item = serde_json::Value>) -> anyhow::Result<Vec<K>> {
    objects
        .into_iter()
        .map(|object| Ok(serde_json::from_value(object)?))
        .collect()
}
