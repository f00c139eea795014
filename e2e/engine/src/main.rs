//! `engine`: loads the model, listens, and stops gracefully on SIGTERM or SIGINT.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use spillway_e2e_engine::gate::Gate;
use spillway_e2e_engine::model::Embedder;
use spillway_e2e_engine::server::{Engine, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// OpenAI-compatible embeddings on the CPU, for the end-to-end tests.
// Not `ENGINE_PORT`: Kubernetes sets that to a URL when a Service is called "engine".
#[derive(Debug, Parser)]
#[command(name = "engine", version)]
struct Arguments {
    /// Folder of the model files, as weights.sh lays them out
    #[arg(long, env = "SPILLWAY_MODEL_DIR", default_value = "/model")]
    model_dir: PathBuf,
    /// Model name that requests must give
    #[arg(long, env = "SPILLWAY_MODEL_NAME", default_value = "all-MiniLM-L6-v2")]
    model_name: String,
    /// Address to listen on
    #[arg(long, env = "SPILLWAY_LISTEN", default_value = "0.0.0.0")]
    listen: IpAddr,
    /// Port to listen on; 0 takes a free one, which the log names
    #[arg(long, env = "SPILLWAY_LISTEN_PORT", default_value_t = 8000)]
    port: u16,
    /// Requests wait until this URL has answered 200 once
    #[arg(long, env = "SPILLWAY_GATE_URL")]
    gate_url: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    run(Arguments::parse()).await
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let embedder = Embedder::load(&arguments.model_dir).context("cannot load the model")?;
    let parallel = std::thread::available_parallelism().map_or(1, usize::from);
    let engine =
        Engine::new(embedder, arguments.model_name, parallel).behind(arguments.gate_url.map(Gate::new).transpose()?);
    let engine = Arc::new(engine);
    let address = SocketAddr::new(arguments.listen, arguments.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, parallel, "serving");
    serve(listener, engine, stop).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Handlers are in place when this returns, so a signal during the loading of the model is not lost.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
    })
}
