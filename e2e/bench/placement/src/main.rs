//! See README.md beside this crate.

mod ground;
mod hub;
mod operator;
mod optimum;
mod processes;
mod requests;
mod run;

use anyhow::Context;
use clap::{Parser, Subcommand};

use ground::{CLASSES, Ground, Sizes, class_of, fitting, requirements, usual_nodes};
use run::Outcome;

/// As in the operator that this binary plays.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Settings {
    #[command(subcommand)]
    part: Option<Part>,
    /// One-GPU shards, at 80 % of the GPUs.
    #[arg(long, env = "PODS", default_value_t = 5_000)]
    pods: usize,
    /// Virtual nodes; by default as many as the shards need.
    #[arg(long, env = "NODES")]
    nodes: Option<usize>,
    /// GPUs of a node; every fourth has twice as many.
    #[arg(long, env = "NODE_GPUS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    node_gpus: u32,
    #[arg(long, env = "PROVIDERS", default_value_t = 320)]
    providers: usize,
    /// Runs of each side, in turn.
    #[arg(long, env = "ROUNDS", default_value_t = 2)]
    rounds: usize,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Play the operator; the bench starts this itself.
    #[command(hide = true)]
    Operator,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    spillway_process::install_crypto_provider();
    let settings = Settings::parse();
    match &settings.part {
        Some(Part::Operator) => operator::run().await,
        // Dropping the comparison ends the processes that it started.
        None => tokio::select! {
            compared = compare(&settings) => compared,
            stopped = spillway_process::shutdown_signal() => {
                stopped?;
                anyhow::bail!("interrupted")
            }
        },
    }
}

async fn compare(settings: &Settings) -> anyhow::Result<()> {
    let sizes = Sizes {
        pods: settings.pods,
        nodes: settings
            .nodes
            .unwrap_or_else(|| usual_nodes(settings.pods, settings.node_gpus)),
        providers: settings.providers,
        gpus: settings.node_gpus,
    };
    let ground = Ground::new(sizes, hub::TEAM)?;
    println!(
        "{} shards in {} jobs of {} classes, {} nodes of {} providers",
        sizes.pods,
        ground.jobs.len(),
        CLASSES.len(),
        ground.offers.len(),
        sizes.providers
    );
    let (mut ours, mut stock) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds.max(1) {
        ours.push(told("operator + extender", &ground, run::ours(&ground).await?)?);
        stock.push(told("stock scheduler", &ground, run::stock(&ground).await?)?);
    }
    let most = told(
        "pods by a plain client, no operator",
        &ground,
        run::no_operator(&ground).await?,
    )?;
    told(
        "scheduler + extender alone",
        &ground,
        run::scheduler_alone(&ground).await?,
    )?;
    let speed = |outcomes: &[Outcome]| median(outcomes.iter().map(Outcome::pods_per_second).collect());
    let excess: Result<Vec<f64>, _> = ours.iter().map(|outcome| over_optimum(&ground, outcome)).collect();
    let (fast, slow) = (speed(&ours), speed(&stock));
    println!(
        "pods_per_second={fast:.0} vs_stock={:.2} price_over_optimum={:.4} vs_no_operator={:.2}",
        fast / slow,
        median(excess?),
        fast / most.pods_per_second()
    );
    Ok(())
}

fn told(side: &str, ground: &Ground, outcome: Outcome) -> anyhow::Result<Outcome> {
    let total: f64 = outcome.cost.values().sum();
    let parts: Vec<String> = outcome
        .cost
        .iter()
        .map(|(program, cost)| format!("{program} {cost:.2}"))
        .collect();
    println!(
        "{side}: {:.0} pods/s, {:.1} s; price {:+.2} % over the optimum; processor {total:.2} ms per pod ({})",
        outcome.pods_per_second(),
        outcome.seconds,
        100.0 * over_optimum(ground, &outcome)?,
        parts.join(", ")
    );
    println!("  requests per pod: {}", outcome.requests.join(", "));
    if outcome.unplaced > 0 {
        println!("  {} shards found their candidates full", outcome.unplaced);
    }
    if let Some(mebibytes) = outcome.operator_mebibytes {
        println!(
            "  operator {mebibytes} MiB at most, {} assignments written",
            outcome.handed_over
        );
    }
    Ok(outcome)
}

/// How far the sum of prices is above that of a min-cost flow, as a share of it.
fn over_optimum(ground: &Ground, outcome: &Outcome) -> anyhow::Result<f64> {
    let requirements = requirements()?;
    let prices = ground.prices();
    let mut demands = vec![0; CLASSES.len()];
    let mut paid = 0;
    for (shard, node) in &outcome.nodes {
        demands[class_of(shard).context("a shard of no class")?] += 1;
        paid += prices.get(node.as_str()).context("an unknown node")?;
    }
    let owner = |offers: &&[spillway_core::market::Offer]| {
        let first = offers.first()?;
        let gpus = offers.iter().map(|offer| u64::from(offer.gpus_total)).sum();
        Some((gpus, first.price.0, fitting(&requirements, first)))
    };
    let owners: Vec<_> = ground
        .offers
        .chunk_by(|one, other| one.provider == other.provider)
        .filter_map(|offers| owner(&offers))
        .collect();
    let least = optimum::least_price(&demands, &owners).context("the demand cannot be served at all")?;
    Ok(paid as f64 / least as f64 - 1.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => f64::midpoint(*value, values[middle - 1]),
        (None, _) => f64::NAN,
    }
}
