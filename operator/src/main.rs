//! See the library's front page.

use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use jiff::SignedDuration;
use kube::Client;
use prometheus::Registry;
use spillway_operator::accrual::{self, Accrual, BatchLimits, SealedAttempts};
use spillway_operator::dispatch::ChainPlace;
use spillway_operator::leadership::Leadership;
use spillway_operator::provider::Probing;
use spillway_operator::settings::Settings;
use spillway_operator::store::HubStore;
use spillway_operator::{job, provider, verification};
use spillway_probe::Reach;
use spillway_process::{Health, Tasks};

/// A large job's status is read and written in blocks that musl's own allocator would map and fault in anew each time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const LEASE: &str = "spillway-operator";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    spillway_process::install_crypto_provider();
    spillway_process::init_telemetry();
    let settings = Settings::parse();
    let store = HubStore::connect(&settings.store_url).context("the hub store's settings")?;
    let client = spillway_process::client("spillway-operator").await;
    let client = client.context("reach the API server")?;
    let health = Health::default();
    let mut tasks = Tasks::default();
    let serving = spillway_process::serve(settings.listen, health.clone(), Registry::new(), tasks.token());
    tasks.spawn("health", async { Ok(serving.await?) });
    let token = tasks.token();
    tasks.spawn("controllers", lead(client, settings, store, health, token));
    tasks.run().await
}

/// Waits for the leader Lease, then runs every controller until one ends or the process is asked to stop.
async fn lead(
    client: Client,
    settings: Settings,
    store: HubStore,
    health: Health,
    cancelled: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    // A standby is as ready as the leader: it would take over.
    health.set_ready(true);
    let mut leadership = Leadership::new(client.clone(), &settings.namespace, LEASE, settings.identity.clone());
    if !leadership.acquire(&cancelled).await {
        return Ok(());
    }
    tracing::info!(identity = settings.identity, "leading");
    let place = ChainPlace {
        chain_id: settings.chain_id,
        contract: settings.settlement_contract,
    };
    let sealed = Arc::new(SealedAttempts::default());
    let accrual = Accrual::new(
        client.clone(),
        &settings.namespace,
        store.clone(),
        place,
        batch_limits(&settings)?,
        sealed.clone(),
    )
    .in_mode(settings.settlement_mode.into())
    .keeping_leaves_for(SignedDuration::try_from(settings.leaves_retention).context("LEAVES_RETENTION is too long")?);
    let probing = Probing {
        named: settings.probe_targets,
        reach: if settings.probe_private_networks {
            Reach::Anywhere
        } else {
            Reach::Public
        },
    };
    let job_settings = job::Settings {
        namespace: settings.namespace,
        runner_image: settings.runner_image,
        place,
        default_data_class: settings.default_data_class.into(),
        sealed,
    };
    tokio::try_join!(
        leadership.keep(cancelled.clone()),
        provider::run(client.clone(), probing, cancelled.clone()),
        job::run(client.clone(), job_settings, store.clone(), cancelled.clone()),
        verification::keep_reputation(client, store, cancelled.clone()),
        accrual::run(accrual, cancelled),
    )?;
    Ok(())
}

fn batch_limits(settings: &Settings) -> anyhow::Result<BatchLimits> {
    let oldest = SignedDuration::try_from(settings.batch_age).context("BATCH_AGE is too long")?;
    Ok(BatchLimits {
        leaves: usize::from(settings.batch_leaves),
        oldest,
        value: settings.batch_value.map_or(u128::MAX, |value| value.0.into()),
        ..BatchLimits::default()
    })
}
