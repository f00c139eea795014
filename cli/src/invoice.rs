//! `kubectl spillway invoice JOB`: every accepted attempt a line, checks apart, and where it was paid.

use std::collections::BTreeMap;

use anyhow::Context;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use spillway_core::invoice::{Heading, Invoice, Line, Payment};
use spillway_core::money::{MicroUsd, UnitPrice};
use spillway_core::order::Kind;
use spillway_crds::money::leaf_of;
use spillway_crds::{AttemptStatus, InferenceJob, Settlement, SettlementState, ShardStatus, names};

use crate::Output;
use crate::connect::{Connection, Hub};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    job: String,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Settlements by sequence.
pub(crate) type Settlements = BTreeMap<u64, Settlement>;

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let (job, settlements) = read(&connection, &arguments.job).await?;
    let invoice = invoice(&job, &settlements)?;
    match arguments.output {
        Output::Table => print!("{}", invoice.to_table()),
        Output::Json => println!("{}", invoice.to_json()?),
    }
    Ok(())
}

pub(crate) async fn read(connection: &Connection, name: &str) -> anyhow::Result<(InferenceJob, Settlements)> {
    let jobs: Api<InferenceJob> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let job = jobs.get(name).await.with_context(|| format!("read InferenceJob {}/{name}", connection.namespace))?;
    let settlements: Api<Settlement> = Api::namespaced(connection.client.clone(), names::SYSTEM_NAMESPACE);
    let settlements = settlements.list(&ListParams::default()).await.context("read the Settlements")?;
    Ok((job, settlements.into_iter().map(|settlement| (settlement.spec.sequence, settlement)).collect()))
}

/// Shard and attempt of everything that is owed.
pub(crate) fn owed(job: &InferenceJob) -> impl Iterator<Item = (&ShardStatus, &AttemptStatus)> {
    let shards = job.status.iter().flat_map(|status| &status.shards);
    let attempts = shards.flat_map(|shard| shard.attempts.iter().map(move |attempt| (shard, attempt)));
    attempts.filter(|(_, attempt)| attempt.amount_micro.is_some())
}

fn invoice(job: &InferenceJob, settlements: &Settlements) -> anyhow::Result<Invoice> {
    let lines: anyhow::Result<Vec<Line>> = owed(job).map(|(shard, attempt)| line(job, shard, attempt, settlements)).collect();
    let heading = Heading {
        namespace: job.namespace().unwrap_or_default(),
        job: job.name_any(),
        uid: job.uid().unwrap_or_default(),
        payer: job.status.as_ref().and_then(|status| Some(status.payer.as_ref()?.address.clone())),
    };
    Ok(Invoice::new(heading, lines?))
}

fn line(job: &InferenceJob, shard: &ShardStatus, attempt: &AttemptStatus, settlements: &Settlements) -> anyhow::Result<Line> {
    let leaf = leaf_of(job, shard.index, attempt).with_context(|| format!("shard {} attempt {}", shard.index, attempt.number))?;
    let price = UnitPrice(attempt.unit_price_micro.unwrap_or_default());
    Ok(Line {
        shard: shard.index,
        attempt: attempt.number,
        kind: Kind::from(attempt.kind),
        provider: attempt.provider.clone().unwrap_or_default(),
        gpu_millis: attempt.receipt.as_ref().map(|receipt| receipt.metered_millis).unwrap_or_default(),
        unit_price: price,
        amount: MicroUsd(attempt.amount_micro.unwrap_or_default()),
        settlement: attempt.settlement.map(|sequence| payment(sequence, settlements.get(&sequence))),
        leaf: Some(leaf.hash()),
    })
}

fn payment(sequence: u64, settlement: Option<&Settlement>) -> Payment {
    let status = settlement.and_then(|settlement| settlement.status.clone()).unwrap_or_default();
    Payment {
        sequence,
        state: settlement.map(|_| format!("{:?}", status.state)).unwrap_or_default(),
        transaction: status.transaction,
        jobs_root: settlement.map(|settlement| settlement.spec.jobs_root.clone()),
        is_final: settlement.is_some() && status.state == SettlementState::Final,
    }
}
