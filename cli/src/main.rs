//! `kubectl spillway …`: what an admin and a team ask of a hub.
//!
//! In: a kubeconfig, for what concerns money also a chain RPC. Out: text or JSON on standard output, hints on standard
//! error, exit codes that a script can tell apart ([`Code`]). May depend on `core`, `crds`, and on what `settlement` reads
//! of the chain and sends to it: an audit runs the code that the settlement process runs.

mod audit;
mod class;
mod connect;
mod dispute;
mod earnings;
#[cfg(test)]
mod fixture;
mod invoice;
mod join_token;
mod market;
mod offers;
mod place;
mod plan;
mod restore_settlements;
mod status;
mod table;
mod verify;
mod why;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(
    name = "kubectl spillway",
    bin_name = "kubectl spillway",
    version,
    about = "Ask and administer a Spillway hub"
)]
struct Arguments {
    #[command(flatten)]
    hub: connect::Hub,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register a provider and print the one Helm command that its owner runs.
    JoinToken(join_token::Arguments),
    /// Show the hub, or one job, at a glance.
    Status(status::Arguments),
    /// Show why a job waits and what would help, or why its attempts run where they run.
    Why(why::Arguments),
    /// Show what a manifest would cost, how long it would take and who would compute it, before it is submitted.
    Plan(plan::Arguments),
    /// Show the live market, cheapest first.
    Offers(offers::Arguments),
    /// Show the invoice of a job, line by line.
    Invoice(invoice::Arguments),
    /// Check every line of a job's invoice against the chain.
    Verify(verify::Arguments),
    /// Hold chain, Settlements and accepted receipts against each other.
    Audit(audit::Arguments),
    /// Make Settlements again that were lost, from the contract's events and the leaves documents.
    RestoreSettlements(restore_settlements::Arguments),
    /// Show what providers have earned, from accepted to claimed.
    Earnings(earnings::Arguments),
    /// Find, open, follow and resolve disputes about posted batches.
    Dispute(dispute::Arguments),
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// How the command ended; documented in `docs/src/reference/cli.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Success = 0,
    /// Something could not be asked or done.
    Failure = 1,
    /// The manifest cannot be honoured; wrong usage too.
    Invalid = 2,
    /// The job costs more than its budget, or than a SpendPolicy allows.
    OverBudget = 3,
    NoOfferFits = 4,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    spillway_process::install_crypto_provider();
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            Code::Failure.into()
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let hub = &arguments.hub;
    match arguments.command {
        Command::JoinToken(wanted) => join_token::run(hub, wanted).await?,
        Command::Status(wanted) => status::run(hub, wanted).await?,
        Command::Why(wanted) => return Ok(why::run(hub, wanted).await?.into()),
        Command::Plan(wanted) => return Ok(plan::run(hub, wanted).await?.into()),
        Command::Offers(wanted) => return Ok(offers::run(hub, wanted).await?.into()),
        Command::Invoice(wanted) => invoice::run(hub, wanted).await?,
        Command::Verify(wanted) => verify::run(hub, wanted).await?,
        Command::Audit(wanted) => return audit::run(hub, wanted).await,
        Command::RestoreSettlements(wanted) => restore_settlements::run(hub, wanted).await?,
        Command::Earnings(wanted) => earnings::run(hub, wanted).await?,
        Command::Dispute(wanted) => return dispute::run(hub, wanted).await,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_of_all_commands_fit_together() {
        Arguments::command().debug_assert();
    }
}
