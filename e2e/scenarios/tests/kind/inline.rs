//! A small job that carries its input needs no store of its own.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};
use spillway_crds::job_condition;
use spillway_e2e_scenarios::{Scene, golden};

const TEXTS: usize = 4;
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);

#[tokio::test]
async fn an_inline_job_without_a_secret_has_its_results_in_the_hub_store() -> anyhow::Result<()> {
    let scene = Scene::open("inline").await?;
    scene.apply(scene.inline(&golden::requests(TEXTS)?, 1)).await?;
    let job = scene.until_condition(job_condition::COMPLETE, COMPLETE_WITHIN).await?;
    let results = job
        .status
        .as_ref()
        .and_then(|status| status.results.clone())
        .context("no results")?;
    let key = format!("jobs/{}/results.jsonl", job.uid().unwrap_or_default());
    ensure!(results.uri == format!("hub://{key}"), "results lie at {}", results.uri);
    let published = scene.stores.hub.get(&key).await?;
    ensure!(
        results.digest == format!("sha256:{}", hex::encode(Sha256::digest(&published))),
        "another digest"
    );
    ensure!(results.lines == TEXTS as u64, "{} lines", results.lines);
    let worst = golden::min_cosine(&published, TEXTS)?;
    ensure!(worst >= 0.9999, "the worst cosine is {worst}");
    scene.close().await
}
