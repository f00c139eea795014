//! The hub as the agent reaches it: a client that is replaced at each rotation of the credential.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PartialObjectMeta;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use serde_json::json;
use spillway_crds::{ProviderInventory, WorkAssignment};
use tokio::sync::{Notify, watch};

use crate::PROGRAM;
use crate::bundle::HubAddress;

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("the join bundle does not make a client configuration: {0}")]
    Bundle(#[from] KubeconfigError),
    #[error("a client of the hub cannot be made: {0}")]
    Client(#[from] kube::Error),
    #[error("the join bundle does not make a client configuration: {0}")]
    Shape(#[from] serde_json::Error),
}

/// Our namespace on the hub, reached with one token.
#[derive(Clone)]
pub struct Hub {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Hub")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// # Errors
    /// When address or certificate do not make a client; nothing is sent.
    pub async fn new(address: &HubAddress, token: &str) -> Result<Self, HubError> {
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "hub",
                "cluster": {"server": address.server, "certificate-authority-data": address.ca_data},
            }],
            "users": [{"name": "agent", "user": {"token": token}}],
            "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "agent", "namespace": address.namespace}}],
            "current-context": "hub",
        }))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Self {
            client: spillway_process::client_of(config, PROGRAM)?,
            namespace: address.namespace.clone(),
        })
    }

    pub fn assignments(&self) -> Api<WorkAssignment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Of the same assignments; watched for hints.
    pub fn assignment_metadata(&self) -> Api<PartialObjectMeta<WorkAssignment>> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn inventories(&self) -> Api<ProviderInventory> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn service_accounts(&self) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// What the tasks hold: the current hub, and a way to say that it does not know our token.
#[derive(Clone, Debug)]
pub struct HubLink {
    current: watch::Receiver<Option<Hub>>,
    rejected: Arc<Notify>,
}

/// The credential task's end of a [`HubLink`].
#[derive(Debug)]
pub struct HubSource {
    current: watch::Sender<Option<Hub>>,
    rejected: Arc<Notify>,
}

pub fn link() -> (HubSource, HubLink) {
    let (sender, receiver) = watch::channel(None);
    let rejected = Arc::new(Notify::new());
    let source = HubSource {
        current: sender,
        rejected: Arc::clone(&rejected),
    };
    (
        source,
        HubLink {
            current: receiver,
            rejected,
        },
    )
}

impl HubSource {
    pub fn replace(&self, hub: Hub) {
        self.current.send_replace(Some(hub));
    }

    /// Resolves when a task was answered 401.
    pub async fn rejected(&self) {
        self.rejected.notified().await;
    }
}

impl HubLink {
    pub fn current(&self) -> Option<Hub> {
        self.current.borrow().clone()
    }

    /// The hub once there is one; pends for ever after the credential task ended, which ends the process.
    pub async fn ready(&mut self) -> Hub {
        match self.current.wait_for(Option::is_some).await.map(|hub| hub.clone()) {
            Ok(Some(hub)) => hub,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Resolves when the client was replaced; pends when it never will be again.
    pub async fn replaced(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub fn report_rejection(&self) {
        self.rejected.notify_one();
    }
}
