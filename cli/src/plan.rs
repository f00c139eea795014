//! `kubectl spillway plan -f job.yaml`: what a job would cost, how long it would take and who would compute it, before
//! anything is submitted.

mod forecast;
mod history;
mod manifest;
mod money;
mod text;

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use kube::api::Api;
use spillway_crds::InferenceJob;

use crate::connect::{Connection, Hub};
use crate::market::{Market, is_forbidden, list_all};
use crate::{Code, Output};
use forecast::{Forecast, Seen};
use manifest::{Fault, Manifest};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// File with the InferenceJob; `-` reads standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// Count of shards, where the input lies in a store and `execution.shards` is `auto`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: Option<u32>,
    /// How long one shard takes, such as 4m; default: as earlier jobs of the namespace with the same engine took.
    #[arg(long, value_parser = duration)]
    shard_time: Option<Duration>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

fn duration(text: &str) -> Result<Duration, spillway_core::duration::DurationError> {
    spillway_core::duration::parse(text)
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<Code> {
    let text = read(&arguments.filename)?;
    let document = match manifest::document(&text) {
        Ok(document) => document,
        Err(fault) => return invalid(&[fault], arguments.output),
    };
    let connection = hub.connect().await?;
    let namespace = match manifest::namespace(&document, hub.namespace(), &connection.namespace) {
        Ok(namespace) => namespace,
        Err(fault) => return invalid(&[fault], arguments.output),
    };
    let manifest = match manifest::check(&connection.client, &namespace, &document).await? {
        Ok(manifest) => manifest,
        Err(faults) => return invalid(&faults, arguments.output),
    };
    let forecast = Forecast::of(&see(&connection, &namespace, manifest, &arguments).await?);
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&forecast)?),
        Output::Table => print!("{}", text::render(&forecast)),
    }
    Ok(forecast.code())
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

fn invalid(faults: &[Fault], output: Output) -> anyhow::Result<Code> {
    match output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({"faults": faults}))?
        ),
        Output::Table => {
            for Fault { field, message } in faults {
                let place = if field.is_empty() {
                    String::new()
                } else {
                    format!("{field}: ")
                };
                eprintln!("error: {place}{message}");
            }
        }
    }
    Ok(Code::Invalid)
}

async fn see(
    connection: &Connection,
    namespace: &str,
    manifest: Manifest,
    arguments: &Arguments,
) -> anyhow::Result<Seen> {
    let client = &connection.client;
    let market = Market::read(client).await?;
    let jobs = list_all(&Api::<InferenceJob>::namespaced(client.clone(), namespace)).await;
    let jobs = match jobs {
        Ok(jobs) => Some(jobs),
        Err(error) if is_forbidden(&error) => None,
        Err(error) => return Err(error).with_context(|| format!("list InferenceJobs in {namespace}")),
    };
    let image = &manifest.job.spec.engine;
    let paces = jobs
        .iter()
        .flatten()
        .filter(|job| job.spec.engine.image == image.image && job.spec.engine.model == image.model);
    Ok(Seen {
        namespace: namespace.to_owned(),
        pace: history::pace(paces),
        shard_time: arguments.shard_time,
        asked_shards: arguments.shards,
        wallet: money::wallet(client, namespace, Timestamp::now()).await?,
        market,
        manifest,
    })
}

#[cfg(test)]
mod tests;
