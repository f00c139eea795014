//! `kubectl spillway invoice JOB`: every accepted attempt a line, checks apart, and where it was paid.

use anyhow::Context;
use kube::api::{Api, ListParams};
use spillway_crds::money::invoice_of;
use spillway_crds::{AttemptStatus, InferenceJob, Settlement, ShardStatus, names};

use crate::Output;
use crate::connect::{Connection, Hub};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    job: String,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let (job, settlements) = read(&connection, &arguments.job).await?;
    let invoice = invoice_of(&job, &settlements);
    match arguments.output {
        Output::Table => print!("{}", invoice.to_table()),
        Output::Json => println!("{}", invoice.to_json()?),
    }
    Ok(())
}

pub(crate) async fn read(connection: &Connection, name: &str) -> anyhow::Result<(InferenceJob, Vec<Settlement>)> {
    let jobs: Api<InferenceJob> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let job = jobs
        .get(name)
        .await
        .with_context(|| format!("read InferenceJob {}/{name}", connection.namespace))?;
    let settlements: Api<Settlement> = Api::namespaced(connection.client.clone(), names::SYSTEM_NAMESPACE);
    let settlements = settlements
        .list(&ListParams::default())
        .await
        .context("read the Settlements")?;
    Ok((job, settlements.items))
}

/// Shard and attempt of everything that is owed.
pub(crate) fn owed(job: &InferenceJob) -> impl Iterator<Item = (&ShardStatus, &AttemptStatus)> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    let attempts = shards.flat_map(|shard| shard.attempts.iter().map(move |attempt| (shard, attempt)));
    attempts.filter(|(_, attempt)| attempt.amount_micro.is_some())
}
