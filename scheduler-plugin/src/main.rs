//! Process of the scheduler extender: settings, watches, two listeners, ordered shutdown.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use kube::Client;
use prometheus::Registry;
use spillway_process::{Health, Tasks, init_telemetry, install_crypto_provider};
use spillway_scheduler_plugin::metrics::Metrics;
use spillway_scheduler_plugin::publish::{Published, changes, publish};
use spillway_scheduler_plugin::server::{self, Extender};
use tokio::net::TcpListener;

/// Scheduler extender of Spillway: filters and ranks virtual nodes for kube-scheduler.
#[derive(Debug, Parser)]
#[command(version)]
struct Settings {
    /// Where kube-scheduler asks; it has no authentication, so keep it on loopback beside the scheduler.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// Where /healthz, /readyz and /metrics answer.
    #[arg(long, env = "HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    health_listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    install_crypto_provider();
    init_telemetry();
    run(Settings::parse()).await
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("no access to the hub's API server")?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("--listen {}", settings.listen))?;
    let (registry, health, published) = (Registry::new(), Health::default(), Published::default());
    let metrics = Metrics::register(&registry)?;
    let extender = Extender {
        published: published.clone(),
        metrics: metrics.clone(),
    };

    let mut tasks = Tasks::default();
    let token = tasks.token();
    let publishing = publish(changes(&client), published, health.clone(), metrics, token.clone());
    tasks.spawn("snapshot", async { Ok(publishing.await?) });
    let serving = server::serve(listener, extender, token.clone());
    tasks.spawn("extender", async { Ok(serving.await?) });
    let reporting = spillway_process::serve(settings.health_listen, health, registry, token);
    tasks.spawn("health", async { Ok(reporting.await?) });
    tracing::info!(listen = %settings.listen, "serving /filter and /prioritize");
    tasks.run().await
}
