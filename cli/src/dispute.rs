//! `kubectl spillway dispute`: what is provably wrong with posted batches, and the transactions that say so.

mod find;
mod list;
mod open;
mod resolve;

use std::process::ExitCode;

use anyhow::Context;
use spillway_core::knowledge::Knowledge;
use spillway_crds::names;
use spillway_settlement::chain::{BlockFact, Chain, DisputeRules};
use spillway_settlement::disputes::{Docket, Reading, Scope, gather};
use spillway_settlement::reconcile::Documents;

use crate::connect::{Connection, Hub};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List what the contracts would take as proof, without sending anything.
    Find(find::Arguments),
    /// Prove what is wrong, or challenge a line.
    Open(open::Arguments),
    /// List disputes that wait for an answer or an appeal, and those that did.
    List(list::Arguments),
    /// Close a dispute whose deadline has passed.
    Resolve(resolve::Arguments),
}

/// The hub's object store.
#[derive(clap::Args, Debug)]
struct Store {
    /// The hub's object store, `s3://bucket/prefix`, with AWS_* in the environment: leaves documents and stored orders.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    store_url: String,
}

impl Store {
    async fn gather(&self, connection: &Connection, chain: &Chain, scope: Scope) -> anyhow::Result<Docket> {
        let documents = Documents::connect(&self.store_url)?;
        let client = connection.client.clone();
        let reading = Reading::new(client, names::SYSTEM_NAMESPACE, chain.clone(), documents);
        Ok(gather(&reading, scope).await?)
    }
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Find(wanted) => return find::run(hub, wanted).await,
        Command::Open(wanted) => open::run(hub, wanted).await?,
        Command::List(wanted) => list::run(hub, wanted).await?,
        Command::Resolve(wanted) => resolve::run(hub, wanted).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest block that most endpoints have, and the terms of disputes there.
async fn rules(chain: &Chain) -> anyhow::Result<(BlockFact, DisputeRules)> {
    let block = known("the newest block", chain.common_block().await)?;
    let rules = known("the terms of disputes", chain.dispute_rules(block).await)?;
    let contract = chain.place.contract;
    let rules = rules.with_context(|| format!("contract {contract} has no disputes contract"))?;
    Ok((block, rules))
}

fn known<T>(what: &str, answer: Knowledge<T>) -> anyhow::Result<T> {
    let silent = || format!("the chain could not be asked for {what}: give another --rpc-url, or more of them");
    answer.known().with_context(silent)
}

/// As JSON on standard output.
fn print(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value).context("print as JSON")?);
    Ok(())
}

/// Seconds as people read them, from a block's time on.
fn until(deadline: u64, now: u64) -> String {
    match deadline.checked_sub(now) {
        None | Some(0) => "passed".to_owned(),
        Some(rest) => format!("in {}", crate::words::span(std::time::Duration::from_secs(rest))),
    }
}

/// Micro-USD as USD; more than 2^64 - 1 of them cannot be posted.
fn usd(micro: u128) -> String {
    crate::words::usd(spillway_core::money::MicroUsd(u64::try_from(micro).unwrap_or(u64::MAX)))
}
