//! The hub's API server, chosen as kubectl chooses it.

use anyhow::Context;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

#[derive(Args, Clone, Debug)]
pub(crate) struct Hub {
    /// Kubeconfig context of the hub (default: the current one).
    #[arg(long, global = true)]
    context: Option<String>,
    /// Namespace of the job (default: the context's).
    #[arg(short, long, global = true)]
    namespace: Option<String>,
}

/// A client and the namespace that was asked for.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// The API server's address as the kubeconfig names it.
    pub(crate) server: String,
}

impl Hub {
    /// The namespace that the command line names.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let kubeconfig = Kubeconfig::read().context("read the kubeconfig")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .context("read the kubeconfig")?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        Ok(Connection {
            client: spillway_process::client_of(config, "kubectl-spillway")?,
            namespace,
            server,
        })
    }
}
