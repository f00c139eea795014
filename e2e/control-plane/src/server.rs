//! Starting and stopping etcd and kube-apiserver.

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Client, Config};
use serde_json::json;

use crate::certificates::write_service_account_key;

const VERSION: &str = "v1.36.3";
/// Token of the user with all rights.
pub const ADMIN_TOKEN: &str = "control-plane-of-one-test-process";
const START_LIMIT: Duration = Duration::from_secs(90);

/// A running API server. Dropping it ends both processes.
#[derive(Debug)]
pub struct ControlPlane {
    url: String,
    authority: PathBuf,
    api_server: Child,
    etcd: Child,
    _folder: tempfile::TempDir,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver (RBAC on) and installs the CRDs.
    ///
    /// # Errors
    /// When the binaries are missing or a server does not become ready within 90 s.
    pub async fn start() -> anyhow::Result<Self> {
        spillway_process::install_crypto_provider();
        let assets = assets()?;
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let etcd_port = free_port()?;
        let etcd = spawn_etcd(&assets, folder.path(), etcd_port)?;
        let port = free_port()?;
        let api_server = spawn_api_server(&assets, folder.path(), port, etcd_port)?;
        let mut plane = Self {
            url: format!("https://127.0.0.1:{port}"),
            authority: folder.path().join("certificates/apiserver.crt"),
            api_server,
            etcd,
            _folder: folder,
        };
        plane.wait_until_ready().await?;
        plane.install_definitions().await?;
        Ok(plane)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// PEM of the certificate that signs the server's certificate.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn authority_pem(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(&self.authority)?)
    }

    /// A client with all rights.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.client_with_token(ADMIN_TOKEN).await
    }

    /// A client that shows `token`.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub async fn client_with_token(&self, token: &str) -> anyhow::Result<Client> {
        let config = Config::from_custom_kubeconfig(self.kubeconfig(token)?, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig for `token`, for tools that read a file.
    ///
    /// # Errors
    /// Never in practice: the form is fixed.
    pub fn kubeconfig(&self, token: &str) -> anyhow::Result<Kubeconfig> {
        let authority = self.authority.to_string_lossy();
        Ok(serde_json::from_value(json!({
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": authority}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }))?)
    }

    /// A token of a service account, as the TokenRequest API mints it.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(self.client().await?, namespace);
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}}))?;
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        let status = answer.status.context("the TokenRequest came back without a status")?;
        status.token.context("the TokenRequest came back without a token")
    }

    /// Makes a namespace with a fresh name that starts with `prefix`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn namespace(&self, prefix: &str) -> anyhow::Result<String> {
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        let wanted = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let made = namespaces.create(&PostParams::default(), &wanted).await?;
        made.metadata.name.context("the namespace came back without a name")
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            for (name, child) in [("etcd", &mut self.etcd), ("kube-apiserver", &mut self.api_server)] {
                if let Some(status) = child.try_wait()? {
                    bail!("{name} ended with {status}; its log is on stderr when CONTROL_PLANE_LOG=1");
                }
            }
            // The certificate file appears first; before it, not even a client can be made.
            if self.authority.exists() && self.is_ready().await {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                bail!("kube-apiserver was not ready after {START_LIMIT:?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let Ok(client) = self.client().await else { return false };
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
            return false;
        };
        client.request_text(request).await.is_ok_and(|answer| answer == "ok")
    }

    async fn install_definitions(&self) -> anyhow::Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client().await?);
        for (_, definition) in spillway_crds::definitions() {
            let made = definitions.create(&PostParams::default(), &definition).await?;
            let name = made.metadata.name.context("a definition without a name")?;
            let established = await_condition(definitions.clone(), &name, is_crd_established());
            tokio::time::timeout(START_LIMIT, established)
                .await
                .context("definition not established")??;
        }
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for child in [&mut self.api_server, &mut self.etcd] {
            // Already ended is as good as killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Asks `question` again until it answers `Some`, at most `limit` long.
///
/// # Errors
/// When the limit passed; `what` says what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return Ok(answer);
        }
        if started.elapsed() > limit {
            bail!("waited {limit:?} in vain for: {what}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Folder of the Kubernetes binaries: `KUBEBUILDER_ASSETS`, or where `e2e/tools/kubernetes.sh` puts them.
///
/// # Errors
/// When etcd or kube-apiserver is not in it.
pub fn assets() -> anyhow::Result<PathBuf> {
    let default = || {
        let cache = std::env::var_os("SPILLWAY_CACHE").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache/spillway")))?;
        Some(cache.join("kubernetes").join(VERSION))
    };
    let folder = std::env::var_os("KUBEBUILDER_ASSETS")
        .map(PathBuf::from)
        .or_else(default);
    let folder = folder.context("neither KUBEBUILDER_ASSETS nor HOME is set")?;
    for binary in ["etcd", "kube-apiserver"] {
        if !folder.join(binary).exists() {
            bail!(
                "{} is missing: run e2e/tools/kubernetes.sh, or set KUBEBUILDER_ASSETS",
                folder.join(binary).display()
            );
        }
    }
    Ok(folder)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn spawn_etcd(assets: &Path, folder: &Path, port: u16) -> anyhow::Result<Child> {
    let url = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let mut command = Command::new(assets.join("etcd"));
    command
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls={peer}"))
        // Test data is thrown away: durability would only cost time.
        .arg("--unsafe-no-fsync=true");
    spawn(command).context("start etcd")
}

fn spawn_api_server(assets: &Path, folder: &Path, port: u16, etcd_port: u16) -> anyhow::Result<Child> {
    let key = folder.join("service-account.key");
    write_service_account_key(&key)?;
    let tokens = folder.join("tokens.csv");
    std::fs::write(&tokens, format!("{ADMIN_TOKEN},admin,admin,system:masters\n"))?;
    let mut command = Command::new(assets.join("kube-apiserver"));
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--secure-port={port}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--cert-dir={}", folder.join("certificates").display()))
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!("--service-account-signing-key-file={}", key.display()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--token-auth-file={}", tokens.display()))
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"])
        // No controllers run here: pods would wait for a default service account, and nodes stay tainted as not ready, for ever.
        .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition");
    spawn(command).context("start kube-apiserver")
}

fn spawn(mut command: Command) -> std::io::Result<Child> {
    let verbose = std::env::var_os("CONTROL_PLANE_LOG").is_some();
    let log = || if verbose { Stdio::inherit() } else { Stdio::null() };
    command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn()
}
