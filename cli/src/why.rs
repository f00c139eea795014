//! `kubectl spillway why JOB`: why a job waits, what would help, and why its attempts run where they run.

mod answer;
mod live;
mod record;
mod text;

use anyhow::Context;
use jiff::Timestamp;
use kube::api::Api;
use spillway_crds::{DataClass, InferenceJob, SpendPolicy};

use crate::connect::{Connection, Hub};
use crate::market::{Market, is_forbidden, is_not_found};
use crate::place::default_data_class;
use crate::{Code, Output};
use answer::Answer;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    job: String,
    /// Everything about one shard: all its attempts and what each was chosen from.
    #[arg(long)]
    shard: Option<u32>,
    /// The hub's object store (`s3://bucket/prefix`), for whoever may read it: all candidates' terms of the shard's last
    /// attempt. Credentials come from AWS_*, as for the operator.
    #[arg(long, value_name = "URL", env = "SPILLWAY_STORE_URL", requires = "shard")]
    store: Option<String>,
    /// Attempt whose candidates to show, in place of the last.
    #[arg(long, requires = "store")]
    attempt: Option<u16>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<Code> {
    let connection = hub.connect().await?;
    let jobs: Api<InferenceJob> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let job = jobs
        .get(&arguments.job)
        .await
        .with_context(|| format!("read InferenceJob {}/{}", connection.namespace, arguments.job))?;
    let seen = Seen {
        policy: policy_of(&connection, &job).await?,
        market: market(&connection).await?,
        least_data_class: default_data_class(&connection.client).await,
        job,
    };
    let mut answer = Answer::of(&seen, arguments.shard, Timestamp::now())?;
    if let (Some(store), Some(shard)) = (&arguments.store, arguments.shard) {
        answer.candidates = Some(record::fetch(store, &seen.job, shard, arguments.attempt).await?);
    }
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Output::Table => print!("{}", text::render(&answer)),
    }
    Ok(Code::Success)
}

/// What the caller may see; the rest is absent.
struct Seen {
    job: InferenceJob,
    market: Option<Market>,
    policy: Option<SpendPolicy>,
    /// Of every job.
    least_data_class: Option<DataClass>,
}

/// The job's own status tells the story too: whoever may not read the market still gets that.
async fn market(connection: &Connection) -> anyhow::Result<Option<Market>> {
    match Market::read(&connection.client).await {
        Ok(market) => Ok(Some(market)),
        Err(error) if error.downcast_ref::<kube::Error>().is_some_and(is_forbidden) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn policy_of(connection: &Connection, job: &InferenceJob) -> anyhow::Result<Option<SpendPolicy>> {
    let Some(payer) = job.status.as_ref().and_then(|status| status.payer.as_ref()) else {
        return Ok(None);
    };
    let policies: Api<SpendPolicy> = Api::all(connection.client.clone());
    match policies.get(&payer.spend_policy).await {
        Ok(policy) => Ok(Some(policy)),
        Err(error) if is_forbidden(&error) || is_not_found(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read SpendPolicy {}", payer.spend_policy)),
    }
}

#[cfg(test)]
mod tests;
