//! See the library's front page.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use spillway_core::shard::WorkReport;
use spillway_runner::{publish, report, split, work};

#[derive(Debug, Parser)]
#[command(version, about = "Computes, splits or publishes the shards of an InferenceJob")]
struct Arguments {
    /// Where the report for Kubernetes goes.
    #[arg(long, global = true, default_value = "/dev/termination-log")]
    report_file: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compute one shard with the engine beside this container.
    Work {
        #[arg(long, default_value = "/var/run/spillway/task.json")]
        task_file: PathBuf,
    },
    /// Cut a job's input into shards.
    Split {
        #[arg(long, default_value = "/var/run/spillway/plan.json")]
        plan_file: PathBuf,
    },
    /// Write a job's accepted results to its output store.
    Publish {
        #[arg(long, default_value = "/var/run/spillway/plan.json")]
        plan_file: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    spillway_process::install_crypto_provider();
    spillway_process::init_telemetry();
    let arguments = Arguments::parse();
    let outcome = tokio::select! {
        outcome = run(&arguments) => outcome,
        _ = spillway_process::shutdown_signal() => Err(anyhow::anyhow!("stopped before the end")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&arguments, &error),
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Command::Work { task_file } => {
            let done = work::run(task_file).await?;
            tracing::info!(report = ?done, "shard computed");
            report::write(&arguments.report_file, &done)
        }
        Command::Split { plan_file } => {
            let manifest = split::run(plan_file).await?;
            tracing::info!(shards = manifest.shards.len(), "input split");
            Ok(())
        }
        Command::Publish { plan_file } => {
            let published = publish::run(plan_file).await?;
            tracing::info!(?published, "results published");
            Ok(())
        }
    }
}

fn fail(arguments: &Arguments, error: &anyhow::Error) -> ExitCode {
    tracing::error!(error = format!("{error:#}"), "failed");
    let failed: WorkReport = report::failed(error);
    if let Err(error) = report::write(&arguments.report_file, &failed) {
        tracing::error!(%error, "the report could not be written");
    }
    ExitCode::FAILURE
}
