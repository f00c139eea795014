//! A job that ends before all of its shards: what is accepted is paid, so the tenant gets it, and is told what is missing.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use spillway_crds::{ShardState, job_condition};
use spillway_e2e_scenarios::{Scene, golden, holds, story, until};

const DEADLINE: Duration = Duration::from_secs(100);
const PUBLISHED_WITHIN: Duration = Duration::from_secs(240);

#[tokio::test]
async fn a_job_past_its_deadline_publishes_what_was_accepted_and_what_was_not() -> anyhow::Result<()> {
    let scene = Scene::open("unfinished").await?;
    let mut manifest = scene.stored(golden::requests(2)?, 2).await?;
    manifest["spec"]["resources"]["models"] = json!(["NVIDIA-L4"]);
    manifest["spec"]["verification"] = json!({"maxShare": "0"});
    // The budget covers one attempt and its check, so the second shard waits until the job's time is over.
    manifest["spec"]["execution"] = json!({"shards": 2, "parallelism": 1, "shardTimeout": "6m"});
    manifest["spec"]["execution"]["deadline"] = json!(format!("{}s", DEADLINE.as_secs()));
    manifest["spec"]["price"] = json!({"maxPerGpuHour": "2.00", "budget": "0.22"});
    scene.apply(manifest).await?;
    let published = until("Published=True", PUBLISHED_WITHIN, async || {
        let job = scene.job().await?;
        Ok(holds(&job, job_condition::PUBLISHED, "True").then_some(job))
    })
    .await;
    let job = match published {
        Ok(job) => job,
        Err(error) => return Err(error.context(story(&scene.ground, &scene.name).await)),
    };
    ensure!(holds(&job, job_condition::FAILED, "True"), "it did not fail");
    let status = job.status.context("no status")?;
    let states: Vec<ShardState> = status.shards.iter().map(|shard| shard.state).collect();
    ensure!(
        states == [ShardState::Accepted, ShardState::Pending],
        "the shards are {states:?}"
    );

    let worst = golden::min_cosine(&scene.published().await?, 1)?;
    ensure!(worst >= 0.9999, "the worst cosine is {worst}");
    let errors = status.results.and_then(|results| results.errors);
    let errors = errors.context("status.results.errors is missing")?;
    ensure!(
        errors.uri == format!("s3://tenant/{}/errors.jsonl", scene.name) && errors.lines == 1,
        "{errors:?}"
    );
    let written = scene.stores.tenant.get(&format!("{}/errors.jsonl", scene.name)).await?;
    let line: Value = serde_json::from_slice(&written).context("errors.jsonl is not one line")?;
    let requests = golden::requests(2)?;
    let asked: Value = serde_json::from_str(requests.lines().next_back().context("no request")?)?;
    ensure!(
        line["custom_id"] == asked["custom_id"] && line["error"]["code"] == json!("batch_expired"),
        "the line is {line}"
    );
    scene.close().await
}
