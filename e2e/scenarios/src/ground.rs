//! Clients of the three clusters, and where the installer left addresses and keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use spillway_crds::{GpuProvider, InferenceJob, Settlement, names};

/// Namespace whose jobs the SpendPolicy `demo` pays.
pub const TENANT: &str = "team-a";
const PROVIDERS: [&str; 2] = ["provider-a", "provider-b"];

/// The standing system.
#[derive(Clone)]
pub struct Ground {
    pub hub: Client,
    /// By the provider's name.
    pub providers: BTreeMap<String, Client>,
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Ground")
            .field("providers", &self.providers.keys())
            .finish_non_exhaustive()
    }
}

impl Ground {
    /// # Errors
    /// When the kubeconfig lacks one of the contexts.
    pub async fn find() -> anyhow::Result<Self> {
        spillway_process::install_crypto_provider();
        let mut providers = BTreeMap::new();
        for name in PROVIDERS {
            providers.insert(name.to_owned(), client(name).await?);
        }
        Ok(Self {
            hub: client("hub").await?,
            providers,
        })
    }

    pub fn jobs(&self) -> Api<InferenceJob> {
        Api::namespaced(self.hub.clone(), TENANT)
    }

    pub fn settlements(&self) -> Api<Settlement> {
        Api::namespaced(self.hub.clone(), names::SYSTEM_NAMESPACE)
    }

    pub fn gpu_providers(&self) -> Api<GpuProvider> {
        Api::all(self.hub.clone())
    }

    /// Pods in which the provider's own cluster runs the job, or will.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub async fn work_pods(&self, provider: &str, job: &InferenceJob) -> anyhow::Result<Vec<Pod>> {
        let client = self.providers.get(provider).context("no such cluster")?;
        let of_job = format!("{}={}", names::LABEL_JOB_UID, job.uid().unwrap_or_default());
        let pods = Api::<Pod>::namespaced(client.clone(), names::WORK_NAMESPACE);
        Ok(pods.list(&ListParams::default().labels(&of_job)).await?.items)
    }

    /// The spec of a pod in which the provider's own cluster runs the job.
    ///
    /// # Errors
    /// When there is none.
    pub async fn work_pod(&self, provider: &str, job: &InferenceJob) -> anyhow::Result<PodSpec> {
        let pods = self.work_pods(provider, job).await?;
        let spec = pods.into_iter().find_map(|pod| pod.spec);
        spec.with_context(|| format!("{provider} runs no pod of {}", job.name_any()))
    }
}

/// The hub's name in the kubeconfig.
pub fn hub_context() -> String {
    context_of("hub")
}

fn context_of(cluster: &str) -> String {
    let prefix = std::env::var("SPILLWAY_CLUSTER_PREFIX").unwrap_or_default();
    format!("kind-{prefix}{cluster}")
}

async fn client(cluster: &str) -> anyhow::Result<Client> {
    let context = context_of(cluster);
    let kubeconfig = Kubeconfig::read_from(kubeconfig()?).context("no kubeconfig: run e2e/demo/install.sh")?;
    let options = KubeConfigOptions {
        context: Some(context.clone()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.with_context(|| format!("no context {context}: run e2e/demo/install.sh"))?;
    Ok(Client::try_from(config)?)
}

/// `KUBECONFIG`, or the one that `e2e/clusters/up.sh` merges.
///
/// # Errors
/// When neither it nor a home folder is known.
pub fn kubeconfig() -> anyhow::Result<PathBuf> {
    match std::env::var_os("KUBECONFIG") {
        Some(path) => Ok(path.into()),
        None => Ok(cache()?.join("e2e/kubeconfig")),
    }
}

/// Folder of `chain.json` and `keys/`.
pub(crate) fn demo_folder() -> anyhow::Result<PathBuf> {
    Ok(cache()?.join("e2e/demo"))
}

fn cache() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("SPILLWAY_CACHE").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache/spillway"));
    named
        .or_else(home)
        .context("neither SPILLWAY_CACHE nor a home folder is known")
}

/// Port on this machine, as `e2e/clusters/kind.yaml` maps it.
pub(crate) fn local_url(variable: &str, default: &str) -> String {
    format!(
        "http://127.0.0.1:{}",
        std::env::var(variable).unwrap_or_else(|_| default.to_owned())
    )
}
