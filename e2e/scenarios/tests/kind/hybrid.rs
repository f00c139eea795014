//! Own GPUs first, and data that may not travel: full is no reason to leave.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use spillway_crds::{AttemptStatus, InferenceJob, job_condition};
use spillway_e2e_scenarios::{Scene, attempts, golden, only_provider, placeable_for, providers, running};

/// The company's own provider and the independent one, as `e2e/demo/install.sh` lets them join.
const OWN: &str = "provider-a";
const FOREIGN: &str = "provider-b";
/// Both have two of it on one host.
const MODEL: &str = "NVIDIA-L4";
const QUEUED_WITHIN: Duration = Duration::from_secs(120);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);
const BURST_AFTER: Duration = Duration::from_secs(15);

/// One GPU a shard, and no check: a check must go to another owner, which is not the question here.
fn unchecked(scene: &Scene, shards: u32) -> anyhow::Result<Value> {
    let mut manifest = scene.inline(&golden::requests(2)?, shards);
    manifest["spec"]["resources"]["models"] = json!([MODEL]);
    manifest["spec"]["verification"] = json!({"maxShare": "0"});
    Ok(manifest)
}

fn with_burst(scene: &Scene, burst: Value) -> anyhow::Result<Value> {
    let mut manifest = unchecked(scene, 2)?;
    manifest["spec"]["placement"] = json!({"policy": "Cost", "burst": burst});
    Ok(manifest)
}

/// With own GPUs full.
fn check_left(attempt: &AttemptStatus) -> anyhow::Result<()> {
    let provider = attempt.provider.as_deref();
    ensure!(provider == Some(FOREIGN), "with own GPUs full it went to {provider:?}");
    Ok(())
}

fn queued(job: &InferenceJob) -> Option<String> {
    placeable_for(job, "Queued")
}

#[tokio::test]
async fn a_restricted_job_never_leaves_the_private_provider_even_when_it_is_full() -> anyhow::Result<()> {
    let scene = Scene::open("restricted").await?;
    let filler = scene.fill("Private", MODEL, 2).await?;
    let mut manifest = unchecked(&scene, 2)?;
    manifest["spec"]["data"] = json!({"class": "Restricted"});
    scene.apply(manifest).await?;
    let message = scene
        .until("Placeable for reason Queued", QUEUED_WITHIN, queued)
        .await?;
    ensure!(message.contains("busy"), "`{message}` does not say what is waited for");

    // The other provider has the same GPUs free, and takes what may travel.
    let open = scene.complete(scene.another("public", unchecked(&scene, 1)?), COMPLETE_WITHIN);
    let open = only_provider(&open.await?)?;
    ensure!(open == FOREIGN, "the public job ran at {open}");
    let waiting = scene.job().await?;
    ensure!(
        attempts(&waiting).next().is_none(),
        "it did not wait: {:?}",
        providers(&waiting)
    );

    scene.release(&filler).await?;
    let done = scene.until_condition(job_condition::COMPLETE, COMPLETE_WITHIN).await?;
    ensure!(providers(&done).iter().eq([&OWN]), "it was at {:?}", providers(&done));
    scene.close().await
}

/// Whole seconds, as the API server writes both times.
fn age_at_creation(job: &InferenceJob, attempt: &AttemptStatus) -> anyhow::Result<SignedDuration> {
    let created = job.metadata.creation_timestamp.as_ref().context("no creation time")?;
    let attempted = attempt.created_at.as_ref().context("an attempt without a time")?;
    Ok(attempted.0.duration_since(created.0))
}

#[tokio::test]
async fn overflow_starts_after_the_burst_delay_and_returns_to_own_gpus() -> anyhow::Result<()> {
    let scene = Scene::open("overflow").await?;
    let filler = scene.fill("Private", MODEL, 2).await?;
    let manifest = with_burst(&scene, json!({"after": format!("{}s", BURST_AFTER.as_secs())}))?;
    let mut manifest = scene.gated(manifest).await?;
    // One shard after the other: the second is placed when own GPUs are free again.
    manifest["spec"]["execution"]["parallelism"] = json!(1);
    scene.apply(manifest).await?;
    scene
        .until("Placeable for reason Queued", QUEUED_WITHIN, queued)
        .await?;
    let overflown = scene.until("a running attempt", COMPLETE_WITHIN, running).await?;
    let job = scene.job().await?;
    check_left(&overflown)?;
    let age = age_at_creation(&job, &overflown)?;
    ensure!(age >= SignedDuration::try_from(BURST_AFTER)?, "it left after {age:#}");

    scene.release(&filler).await?;
    scene.open_gate().await?;
    let done = scene.until_condition(job_condition::COMPLETE, COMPLETE_WITHIN).await?;
    let way: Vec<_> = attempts(&done).map(|attempt| attempt.provider.as_deref()).collect();
    ensure!(way == [Some(FOREIGN), Some(OWN)], "the shards went to {way:?}");
    scene.close().await
}

#[tokio::test]
async fn a_long_queue_overflows_at_once_within_the_bursts_own_price_cap() -> anyhow::Result<()> {
    let scene = Scene::open("queue").await?;
    let filler = scene.fill("Private", MODEL, 2).await?;
    // The foreign GPUs cost 1.10: below the job's cap, above the burst's.
    let capped = with_burst(&scene, json!({"queueLength": 1, "maxPerGpuHour": "1.00"}))?;
    scene.apply(capped).await?;
    let long = scene.another("long", with_burst(&scene, json!({"queueLength": 1}))?);
    let long = scene.apply(scene.gated(long).await?).await?.name_any();
    let overflown = scene
        .until_of(&long, "a running attempt", COMPLETE_WITHIN, running)
        .await?;
    check_left(&overflown)?;
    // One that waits is no long queue.
    scene
        .until_of(&long, "Placeable for reason Queued", QUEUED_WITHIN, queued)
        .await?;
    let begun = attempts(&scene.ground.jobs().get(&long).await?).count();
    ensure!(begun == 1, "{begun} of its 2 shards left");
    scene
        .until("Placeable for reason Queued", QUEUED_WITHIN, queued)
        .await?;
    let waiting = scene.job().await?;
    ensure!(
        attempts(&waiting).next().is_none(),
        "it was at {:?}",
        providers(&waiting)
    );

    scene.release(&filler).await?;
    scene.open_gate().await?;
    let done = scene.until_condition(job_condition::COMPLETE, COMPLETE_WITHIN).await?;
    ensure!(providers(&done).iter().eq([&OWN]), "it was at {:?}", providers(&done));
    scene.close().await
}
