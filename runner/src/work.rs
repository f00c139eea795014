//! `runner work`: one shard attempt, from its input to its results and report.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use bytes::Bytes;
use reqwest::Client;
use spillway_core::results::ResultLine;
use spillway_core::shard::{WorkReport, WorkTask, digest};

use crate::engine::{self, Answers};
use crate::transfer;

/// Reads the task file and does the work.
///
/// # Errors
/// What kept the results from being written; a request that the engine refuses is a result, not an error.
pub async fn run(task_file: &Path) -> anyhow::Result<WorkReport> {
    let task = std::fs::read(task_file).with_context(|| format!("read {}", task_file.display()))?;
    let task: WorkTask = serde_json::from_slice(&task).context("the task file is not a task")?;
    work(&Client::new(), &task).await
}

/// Does one task.
///
/// # Errors
/// See [`run`].
pub async fn work(client: &Client, task: &WorkTask) -> anyhow::Result<WorkReport> {
    let input = transfer::get(client, "read the shard's input", &task.input_url).await?;
    let input_digest = digest(&input);
    ensure!(
        input_digest == task.input_digest,
        "the input has digest {input_digest}, ordered was {}",
        task.input_digest
    );
    let requests = engine::requests(&input)?;
    engine::wait_until_ready(client, task).await?;
    let (started_unix, metered) = (unix_now()?, Instant::now());
    let answers = engine::answer_all(client, task, requests).await;
    let metered_millis = u64::try_from(metered.elapsed().as_millis())?.max(1) * u64::from(task.gpus);
    let finished_unix = unix_now()?;
    let output = jsonl(&answers.lines)?;
    transfer::put(client, "write the results", &task.output_url, output.clone()).await?;
    Ok(report(
        input_digest,
        &output,
        &answers,
        started_unix,
        finished_unix,
        metered_millis,
    ))
}

fn report(
    input_digest: String,
    output: &Bytes,
    answers: &Answers,
    started_unix: u64,
    finished_unix: u64,
    metered_millis: u64,
) -> WorkReport {
    WorkReport::Completed {
        input_digest,
        output_digest: digest(output),
        output_bytes: output.len() as u64,
        requests: answers.lines.len() as u64,
        failed_requests: answers.failed,
        started_unix,
        finished_unix,
        metered_millis,
        prompt_tokens: answers.prompt_tokens,
        completion_tokens: answers.completion_tokens,
    }
}

fn jsonl(lines: &[ResultLine]) -> anyhow::Result<Bytes> {
    let mut output = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut output, line)?;
        output.push(b'\n');
    }
    Ok(output.into())
}

fn unix_now() -> anyhow::Result<u64> {
    Ok(SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?
        .as_secs())
}
