//! Process of the scheduler extender: settings, watches, two listeners, ordered shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use clap::Parser;
use prometheus::Registry;
use spillway_process::{Health, Tasks, init_telemetry, install_crypto_provider};
use spillway_scheduler_plugin::metrics::Metrics;
use spillway_scheduler_plugin::publish::{Published, changes, publish};
use spillway_scheduler_plugin::server::{self, Extender, Listener, check_exposure};
use spillway_scheduler_plugin::tls::{self, TlsFiles, TlsListener};
use tokio::net::TcpListener;

/// musl's own allocator gives every block above 128 KiB back to the kernel at once: each request about thousands of nodes
/// would fault its pages in anew.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Scheduler extender of Spillway: filters and ranks virtual nodes for kube-scheduler.
#[derive(Debug, Parser)]
#[command(version)]
struct Settings {
    /// Where kube-scheduler asks. Without TLS there is no authentication: keep it on loopback beside the scheduler.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// PEM chain that this server shows; the three --tls-… files go together and are read again when they change.
    #[arg(long, env = "TLS_CERTIFICATE", requires_all = ["tls_key", "tls_client_authority"])]
    tls_certificate: Option<PathBuf>,
    /// PEM key of that certificate.
    #[arg(long, env = "TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// PEM certificates of the authority that signs kube-scheduler's certificate, and nobody else's.
    #[arg(long, env = "TLS_CLIENT_AUTHORITY", requires = "tls_certificate")]
    tls_client_authority: Option<PathBuf>,
    /// Listens beyond loopback without TLS: anybody who reaches the port may ask.
    #[arg(long, env = "INSECURE_LISTEN", conflicts_with = "tls_certificate")]
    insecure_listen: bool,
    /// Where /healthz, /readyz and /metrics answer.
    #[arg(long, env = "HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    health_listen: SocketAddr,
}

impl Settings {
    fn tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_certificate.clone()?,
            key: self.tls_key.clone()?,
            client_authority: self.tls_client_authority.clone()?,
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    install_crypto_provider();
    init_telemetry();
    run(Settings::parse()).await
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let tls_files = settings.tls_files();
    check_exposure(settings.listen, tls_files.is_some(), settings.insecure_listen)?;
    let client = spillway_process::client("spillway-scheduler-plugin")
        .await
        .context("no access to the hub's API server")?;
    let mut tasks = Tasks::default();
    let token = tasks.token();
    let listener = listener(settings.listen, tls_files, &mut tasks).await?;
    let (registry, health, published) = (Registry::new(), Health::default(), Published::default());
    let metrics = Metrics::register(&registry)?;
    let extender = Extender {
        published: published.clone(),
        metrics: metrics.clone(),
    };

    let publishing = publish(changes(&client), published, health.clone(), metrics, token.clone());
    tasks.spawn("snapshot", async { Ok(publishing.await?) });
    let serving = server::serve(listener, extender, token.clone());
    tasks.spawn("extender", async { Ok(serving.await?) });
    let reporting = spillway_process::serve(settings.health_listen, health, registry, token);
    tasks.spawn("health", async { Ok(reporting.await?) });
    tracing::info!(listen = %settings.listen, "serving /filter and /prioritize");
    tasks.run().await
}

async fn listener(address: SocketAddr, tls_files: Option<TlsFiles>, tasks: &mut Tasks) -> anyhow::Result<Listener> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.with_context(|| format!("--listen {address}"))?;
    let Some(files) = tls_files else {
        return Ok(Listener::Plain(listener));
    };
    let current = Arc::new(ArcSwap::from_pointee(files.load()?));
    tasks.spawn("tls", tls::follow(files, Arc::clone(&current), tasks.token()));
    Ok(Listener::Mutual(TlsListener::new(listener, current)?))
}
