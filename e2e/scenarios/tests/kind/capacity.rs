//! A job that no provider can serve waits, and says for what.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::api::ListParams;
use serde_json::json;
use spillway_crds::{InferenceJob, job_condition};
use spillway_e2e_scenarios::{Scene, golden, holds, placeable, story};

const DECIDED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_job_that_no_provider_can_serve_says_which_need_excluded_how_many_offers() -> anyhow::Result<()> {
    let scene = Scene::open("capacity").await?;
    let mut manifest = scene.inline(&golden::requests(1)?, 1);
    manifest["spec"]["resources"]["models"] = json!(["NVIDIA-H100"]);
    scene.apply(manifest).await?;

    let refused = |job: &InferenceJob| holds(job, job_condition::PLACEABLE, "False").then(|| placeable(job));
    let decided = scene.until("Placeable=False", DECIDED_WITHIN, refused).await?;
    let (reason, message) = decided.context("no condition")?;
    let providers = scene.ground.gpu_providers().list(&ListParams::default()).await?;
    let offers: usize = providers
        .iter()
        .filter_map(|one| one.status.as_ref())
        .map(|status| status.hosts.len())
        .sum();
    ensure!(offers > 0, "nobody offers anything");
    ensure!(reason == "NoOfferFits", "the reason is {reason}");
    let expected = format!("0 of {offers} offers fit: {offers} of another GPU model");
    ensure!(message.contains(&expected), "`{message}` does not say `{expected}`");

    let job = scene.job().await?;
    let status = job.status.context("no status")?;
    let attempts: usize = status.shards.iter().map(|shard| shard.attempts.len()).sum();
    ensure!(
        status.phase == "Pending" && attempts == 0,
        "it does not wait{}",
        story(&scene.ground, &scene.name).await
    );
    scene.delete_job().await?;
    scene.close().await
}
