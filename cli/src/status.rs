//! `kubectl spillway status [JOB]`: the hub, or one job as a tree of shards and attempts.

use std::fmt::Write as _;

use anyhow::Context;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use spillway_crds::{AttemptStatus, Condition, GpuProvider, InferenceJob, Settlement, ShardStatus, names};

use crate::Output;
use crate::connect::{Connection, Hub};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// A job; without it the hub is shown.
    job: Option<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    match arguments.job {
        Some(name) => job(&connection, &name, arguments.output).await,
        None => overview(&connection, arguments.output).await,
    }
}

async fn job(connection: &Connection, name: &str, output: Output) -> anyhow::Result<()> {
    let jobs: Api<InferenceJob> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let job = jobs
        .get(name)
        .await
        .with_context(|| format!("read InferenceJob {}/{name}", connection.namespace))?;
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&job)?),
        Output::Table => print!("{}", job_text(&job)),
    }
    Ok(())
}

async fn overview(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let all = ListParams::default();
    let providers = Api::<GpuProvider>::all(connection.client.clone())
        .list(&all)
        .await?
        .items;
    let jobs = Api::<InferenceJob>::all(connection.client.clone())
        .list(&all)
        .await?
        .items;
    let settlements: Api<Settlement> = Api::namespaced(connection.client.clone(), names::SYSTEM_NAMESPACE);
    let settlements = settlements.list(&all).await?.items;
    match output {
        Output::Json => {
            let whole = serde_json::json!({"providers": providers, "jobs": jobs, "settlements": settlements});
            println!("{}", serde_json::to_string_pretty(&whole)?);
        }
        Output::Table => print!("{}", overview_text(&providers, &jobs, &settlements)),
    }
    Ok(())
}

fn overview_text(providers: &[GpuProvider], jobs: &[InferenceJob], settlements: &[Settlement]) -> String {
    let mut text = String::from("PROVIDERS\n");
    for provider in providers {
        let status = provider.status.clone().unwrap_or_default();
        let ready = condition_text(&status.conditions, "Ready");
        let price = if status.price_per_gpu_hour.is_empty() {
            "-"
        } else {
            &status.price_per_gpu_hour
        };
        line(
            &mut text,
            format_args!(
                "  {:<24} {:>3} GPU(s)  {price:>8} USD/h  {ready}",
                provider.name_any(),
                status.gpus
            ),
        );
    }
    text.push_str("JOBS\n");
    for job in jobs {
        let status = job.status.clone().unwrap_or_default();
        let place = format!("{}/{}", job.namespace().unwrap_or_default(), job.name_any());
        let progress = format!("{}/{} shards accepted", status.summary.accepted, status.summary.total);
        line(&mut text, format_args!("  {place:<32} {:<12} {progress}", status.phase));
    }
    text.push_str("SETTLEMENTS\n");
    for settlement in settlements {
        let status = settlement.status.clone().unwrap_or_default();
        let amount = spillway_core::money::MicroUsd(settlement.spec.total_micro);
        line(
            &mut text,
            format_args!("  {:>6}  {amount} USD  {:?}", settlement.spec.sequence, status.state),
        );
    }
    text
}

fn job_text(job: &InferenceJob) -> String {
    let status = job.status.clone().unwrap_or_default();
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "{}/{}  {}",
            job.namespace().unwrap_or_default(),
            job.name_any(),
            status.phase
        ),
    );
    for condition in &status.conditions {
        line(
            &mut text,
            format_args!(
                "  {:<10} {:<6} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            ),
        );
    }
    if let Some(placement) = &status.placement {
        line(&mut text, format_args!("  placement  {}", placement.message));
    }
    for shard in &status.shards {
        shard_text(&mut text, shard);
    }
    if let Some(results) = &status.results {
        line(
            &mut text,
            format_args!(
                "  results    {} ({} lines, {})",
                results.uri, results.lines, results.digest
            ),
        );
        if let Some(errors) = &results.errors {
            line(
                &mut text,
                format_args!(
                    "  errors     {} ({} requests without a result)",
                    errors.uri, errors.lines
                ),
            );
        }
    }
    if !status.cost.total.is_empty() {
        line(&mut text, format_args!("  cost       {} USD", status.cost.total));
    }
    text
}

fn shard_text(text: &mut String, shard: &ShardStatus) {
    line(
        text,
        format_args!(
            "  shard {:<4} {:?}, {} requests",
            shard.index, shard.state, shard.requests
        ),
    );
    for attempt in &shard.attempts {
        attempt_text(text, attempt);
    }
}

fn attempt_text(text: &mut String, attempt: &AttemptStatus) {
    let provider = attempt.provider.as_deref().unwrap_or("not placed yet");
    let why = attempt
        .message
        .as_deref()
        .or(attempt.decision.as_deref())
        .unwrap_or_default();
    line(
        text,
        format_args!(
            "    {} {:?} on {provider}: {:?}  {why}",
            attempt.number, attempt.kind, attempt.state
        ),
    );
}

fn condition_text(conditions: &[Condition], kind: &str) -> String {
    let found = conditions.iter().find(|condition| condition.type_ == kind);
    found.map_or_else(
        || "not seen by the operator yet".to_owned(),
        |found| format!("{}: {}", found.reason, found.message),
    )
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}
