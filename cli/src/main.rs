//! `kubectl spillway …`: what an admin and a team ask of a hub.
//!
//! In: a kubeconfig, for `verify`, `audit` and `earnings` also a chain RPC. Out: text or JSON on standard output, hints
//! on standard error, exit code 1 on failure. May depend on `core`, `crds`, and on what `settlement` reads of the chain:
//! an audit runs the code that the settlement process runs.

mod audit;
mod connect;
mod earnings;
mod invoice;
mod join_token;
mod place;
mod status;
mod verify;

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
    /// Show the invoice of a job, line by line.
    Invoice(invoice::Arguments),
    /// Check every line of a job's invoice against the chain.
    Verify(verify::Arguments),
    /// Hold chain, Settlements and accepted receipts against each other.
    Audit(audit::Arguments),
    /// Show what providers have earned, from accepted to claimed.
    Earnings(earnings::Arguments),
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    spillway_process::install_crypto_provider();
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::JoinToken(wanted) => join_token::run(&arguments.hub, wanted).await,
        Command::Status(wanted) => status::run(&arguments.hub, wanted).await,
        Command::Invoice(wanted) => invoice::run(&arguments.hub, wanted).await,
        Command::Verify(wanted) => verify::run(&arguments.hub, wanted).await,
        Command::Audit(wanted) => return audit::run(&arguments.hub, wanted).await,
        Command::Earnings(wanted) => earnings::run(&arguments.hub, wanted).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
