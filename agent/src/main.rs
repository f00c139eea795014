//! The agent on a provider's cluster: offers its idle GPUs to one hub and runs what comes back, outbound only.
//!
//! In: Nodes and pods here; assignments on the hub. Out: inventory, heartbeat and assignment status on the hub;
//! work pods here; signed receipts. `credential` and `keys` say who we are, `inventory` what we have, `heartbeat`
//! that we live, `pong` how far we are, `work` what we do. May depend on `core`, `crds` and `process`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::{Api, Client};
use prometheus::Registry;
use spillway_core::knowledge::Knowledge;
use spillway_probe::{Prober, Reach, echo};
use spillway_process::{Health, Tasks, init_telemetry, install_crypto_provider, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use spillway_agent::PROGRAM;
use spillway_agent::bundle::Bundle;
use spillway_agent::credential::Keeper;
use spillway_agent::heartbeat::Heart;
use spillway_agent::hub;
use spillway_agent::inventory::Inventory;
use spillway_agent::keys::Keys;
use spillway_agent::label_node;
use spillway_agent::metrics::Metrics;
use spillway_agent::pong::Ponger;
use spillway_agent::settings::{PullPolicy, Settings};
use spillway_agent::work::{IsolationRuntime, PodSettings, Policy, Worker};

/// Between two round trips to one probe target; 64 of them, a window, are 16 min.
const PROBE_PERIOD: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    install_crypto_provider();
    if std::env::args().nth(1).as_deref() == Some(label_node::COMMAND) {
        return label_node::run(std::env::args().skip(1)).await;
    }
    init_telemetry();
    let settings = Settings::parse();
    let text = std::fs::read_to_string(&settings.bundle_file)
        .with_context(|| format!("read the join bundle {}", settings.bundle_file.display()))?;
    let bundle = Bundle::parse(&text)?;
    let client = spillway_process::client(PROGRAM).await;
    let client = client.context("make a client of this cluster")?;
    let own_secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.namespace);
    let keys = Keys::load_or_create(&own_secrets).await?;
    tracing::info!(provider = bundle.terms.provider, receipt_signer = %keys.receipt_signer(), "agent starts");
    start(settings, bundle, client, own_secrets, keys)?.run().await
}

fn start(
    settings: Settings,
    bundle: Bundle,
    client: Client,
    own_secrets: Api<Secret>,
    keys: Keys,
) -> anyhow::Result<Tasks> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let health = Health::default();
    let (source, link) = hub::link();
    let (latency_in, latency) = watch::channel(None);
    let (hosts_in, hosts) = watch::channel(Knowledge::Unknown);
    let (prober, probes) = Prober::new(reach(&settings), PROBE_PERIOD);

    let policy = policy(&settings, &bundle, &keys);
    let keeper = Keeper {
        bundle,
        secrets: own_secrets,
        source,
        metrics: metrics.clone(),
    };
    let heart = Heart {
        hub: link.clone(),
        holder: settings.identity,
        metrics: metrics.clone(),
        latency: latency_in,
    };
    let inventory = Inventory {
        nodes: Api::<Node>::all(client.clone()),
        hub: link.clone(),
        keys,
        price: settings.price,
        elastic: settings.elastic_pools,
        latency,
        probes,
        probe_address: settings.probe_address,
        hosts: hosts_in,
        metrics: metrics.clone(),
    };
    let ponger = Ponger {
        hub: link.clone(),
        metrics: metrics.clone(),
    };
    let worker = Worker {
        local: client,
        hub: link,
        hosts,
        policy,
        metrics,
        health: health.clone(),
    };

    let mut tasks = Tasks::default();
    let token = tasks.token();
    let listen = settings.listen;
    let served = token.clone();
    tasks.spawn(
        "health",
        async move { Ok(serve(listen, health, registry, served).await?) },
    );
    tasks.spawn("credential", keeper.run(token.clone()));
    tasks.spawn("heartbeat", heart.run(token.clone()));
    tasks.spawn("inventory", inventory.run(token.clone()));
    tasks.spawn("probe", prober.run(token.clone()));
    tasks.spawn("pong", ponger.run(token.clone()));
    if let Some(address) = settings.probe_listen {
        tasks.spawn("echo", open_echo(address, token.clone()));
    }
    tasks.spawn("work", worker.run(token));
    Ok(tasks)
}

fn policy(settings: &Settings, bundle: &Bundle, keys: &Keys) -> Policy {
    Policy {
        terms: bundle.terms.clone(),
        keys: keys.clone(),
        price: settings.price,
        pods: PodSettings {
            namespace: settings.work_namespace.clone(),
            runner_image: settings.runner_image.clone(),
            image_pull_policy: settings.image_pull_policy.map(PullPolicy::name),
            engine_concurrency: settings.engine_concurrency,
            isolation: settings
                .isolation_runtime_class
                .clone()
                .zip(settings.isolation_tier)
                .map(|(runtime_class, tier)| IsolationRuntime {
                    runtime_class,
                    tier: tier.into(),
                }),
            elastic: settings.elastic_pools.clone(),
        },
    }
}

fn reach(settings: &Settings) -> Reach {
    if settings.probe_private_networks {
        Reach::Anywhere
    } else {
        Reach::Public
    }
}

async fn open_echo(address: SocketAddr, cancelled: CancellationToken) -> anyhow::Result<()> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.with_context(|| format!("--probe-listen {address}"))?;
    echo(listener, cancelled).await
}
