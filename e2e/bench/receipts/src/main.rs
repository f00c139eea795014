//! See README.md.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use spillway_bench_receipts::{chain, hub};
use spillway_core::reconcile::{Patience, reconcile};
use spillway_crds::names::SYSTEM_NAMESPACE;
use spillway_crds::{Settlement, SettlementState};
use spillway_e2e_control_plane::ControlPlane;
use spillway_settlement::chain::Books;
use spillway_settlement::deploy::Mode;
use spillway_settlement::reconcile::{Reading, gather};

/// A run that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(3_600);
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Parser)]
#[command(about = "Measures receipts from accepted to final")]
struct Arguments {
    #[arg(long, env = "RECEIPTS", default_value_t = 100_000)]
    receipts: u32,
    /// Leaves of one batch.
    #[arg(long, env = "BATCH_LEAVES", default_value_t = 4_096)]
    batch_leaves: usize,
    /// Payout addresses that earn.
    #[arg(long, env = "PROVIDERS", default_value_t = 20)]
    providers: u8,
    /// How batches move money.
    #[arg(long, env = "MODE", value_enum, default_value_t)]
    mode: Mode,
    /// The anvil binary.
    #[arg(long, env = "ANVIL", default_value = "settlement/contracts/node_modules/.bin/anvil")]
    anvil: std::path::PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    spillway_process::install_crypto_provider();
    spillway_process::init_telemetry();
    let arguments = Arguments::parse();
    // Dropping the run ends the processes that it started.
    tokio::select! {
        done = run(arguments) => done,
        stopped = spillway_process::shutdown_signal() => {
            stopped?;
            anyhow::bail!("interrupted")
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let chain = chain::Ground::start(&arguments.anvil, arguments.mode).await?;
    let plane = ControlPlane::start().await?;
    let hub = hub::Ground::prepare(&plane, &chain, arguments.receipts, arguments.providers).await?;
    eprintln!("{} accepted attempts in {} jobs stand", arguments.receipts, hub.jobs);

    let calls_before = chain.calls();
    let started = Instant::now();
    let mut running = hub.run(&plane, &chain, arguments.batch_leaves).await?;
    let settlements: Api<Settlement> = Api::namespaced(plane.client().await?, SYSTEM_NAMESPACE);
    let (sealed, finished) = tokio::select! {
        measured = measure(&settlements, arguments.receipts, started) => measured?,
        ended = running.join_next() => anyhow::bail!("a process ended early: {ended:?}"),
    };
    let calls = chain.calls() - calls_before;
    drop(running);

    let posted = settlements.list(&ListParams::default()).await?.items;
    compare(&plane, &chain).await?;
    report(arguments.receipts, &posted, sealed, finished, calls);
    Ok(())
}

/// Seconds until all are sealed, and until all are final and marked in their jobs.
async fn measure(settlements: &Api<Settlement>, receipts: u32, started: Instant) -> anyhow::Result<(f64, f64)> {
    let sealed = until(settlements, receipts, started, |_| true).await?;
    let is_final = |settlement: &Settlement| {
        let status = settlement.status.as_ref();
        status.is_some_and(|status| status.state == SettlementState::Final && status.recorded)
    };
    Ok((sealed, until(settlements, receipts, started, is_final).await?))
}

/// Seconds until Settlements that are `done` pay all receipts.
async fn until(
    settlements: &Api<Settlement>,
    receipts: u32,
    started: Instant,
    done: impl Fn(&Settlement) -> bool,
) -> anyhow::Result<f64> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while started.elapsed() < LIMIT {
        ticks.tick().await;
        let listed = settlements.list(&ListParams::default()).await?;
        let paid: u32 = listed.iter().filter(|one| done(one)).map(|one| one.spec.count).sum();
        if paid >= receipts {
            ensure!(paid == receipts, "{paid} attempts are paid, {receipts} were owed");
            return Ok(started.elapsed().as_secs_f64());
        }
    }
    anyhow::bail!("not done after {LIMIT:?}")
}

/// The oracle: chain, Settlements and statuses agree.
async fn compare(plane: &ControlPlane, chain: &chain::Ground) -> anyhow::Result<()> {
    let reading = Reading::new(plane.client().await?, SYSTEM_NAMESPACE, chain.direct()?, None);
    let ledgers = gather(&reading, &mut Books::from_block(0), None, Timestamp::now()).await;
    let report = reconcile(&ledgers, &Patience::default());
    for drift in &report.drifts {
        eprintln!("DRIFT {drift}");
    }
    ensure!(
        report.drifts.is_empty() && report.unknown.is_empty(),
        "the ledgers disagree: {:?}",
        report.unknown
    );
    eprintln!(
        "chain, Settlements and statuses agree: {} batches, {} receipts",
        report.compared.posted, report.compared.receipts
    );
    Ok(())
}

fn report(receipts: u32, posted: &[Settlement], sealed: f64, finished: f64, calls: u64) {
    let gas: u64 = posted
        .iter()
        .filter_map(|settlement| settlement.status.as_ref()?.gas_used)
        .sum();
    let jobs = f64::from(receipts);
    println!(
        "batches {}, all sealed after {sealed:.1} s, all final after {finished:.1} s",
        posted.len()
    );
    println!("gas per job {:.1}, RPC calls {calls}", gas as f64 / jobs);
    println!(
        "jobs_per_second={:.1} rpc_calls_per_job={:.4}",
        jobs / finished,
        calls as f64 / jobs
    );
}
