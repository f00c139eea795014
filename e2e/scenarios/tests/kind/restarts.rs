//! Operator, agents and settlement process are killed in the middle of a job: nothing is lost, nothing is paid twice.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;
use spillway_core::batch::Leaf;
use spillway_crds::{
    AttemptKind, AttemptState, AttemptStatus, InferenceJob, Settlement, SettlementState, job_condition,
};
use spillway_e2e_scenarios::{Component, Ledger, Scene, attempts, golden, invoice_total, kill, leaves, story, until};

const TEXTS: usize = 120;
const SHARDS: u32 = 3;
const STEP_WITHIN: Duration = Duration::from_secs(240);
const SETTLED_WITHIN: Duration = Duration::from_secs(360);

fn running(job: &InferenceJob, kind: AttemptKind) -> Option<String> {
    let mut found = attempts(job).filter(|attempt| attempt.kind == kind && attempt.state == AttemptState::Running);
    found.find_map(|attempt| attempt.provider.clone())
}

/// A leaf of this job is sealed, and a Settlement is not final yet; before this job all were.
async fn is_being_settled(scene: &Scene, uid: &str) -> anyhow::Result<Option<()>> {
    let pays = !leaves(&scene.ground, &scene.stores, uid).await?.is_empty();
    let settlements = scene.ground.settlements().list(&ListParams::default()).await?;
    let state = |settlement: &Settlement| {
        settlement
            .status
            .as_ref()
            .map(|status| status.state)
            .unwrap_or_default()
    };
    Ok((pays && settlements.iter().any(|one| state(one) != SettlementState::Final)).then_some(()))
}

/// Each shard is paid once for its work and once for its check.
fn check_leaves(leaves: &[Leaf]) -> anyhow::Result<()> {
    let mut paid: BTreeMap<(u32, u8), u32> = BTreeMap::new();
    for leaf in leaves {
        *paid.entry((leaf.shard, leaf.kind)).or_default() += 1;
    }
    let kinds = [AttemptKind::Work, AttemptKind::Check].map(|kind| spillway_core::order::Kind::from(kind).code());
    let once: BTreeMap<(u32, u8), u32> = (0..SHARDS)
        .flat_map(|shard| kinds.map(|kind| ((shard, kind), 1)))
        .collect();
    ensure!(paid == once, "leaves by shard and kind: {paid:?}");
    Ok(())
}

#[tokio::test]
async fn killed_processes_lose_nothing_and_pay_nothing_twice() -> anyhow::Result<()> {
    let scene = Scene::open("restarts").await?;
    let ledger = Ledger::connect(&scene.ground).await?;
    let before = ledger.quiet(&scene.ground).await?;
    let mut manifest = scene.stored(golden::requests(TEXTS)?, SHARDS).await?;
    // One after another: whenever the operator is killed, some work is still to come.
    manifest["spec"]["execution"]["parallelism"] = json!(1);
    let job = scene.apply(manifest).await?;
    let uid = job.uid().context("no UID")?;

    scene
        .until("running work", STEP_WITHIN, |job| running(job, AttemptKind::Work))
        .await?;
    kill(&scene.ground, &Component::Operator).await?;
    let any = |job: &InferenceJob| running(job, AttemptKind::Check).or_else(|| running(job, AttemptKind::Work));
    let provider = scene
        .until("a running attempt after the operator's restart", STEP_WITHIN, any)
        .await?;
    kill(&scene.ground, &Component::Agent(provider)).await?;
    until("a settlement on its way", STEP_WITHIN, async || {
        is_being_settled(&scene, &uid).await
    })
    .await?;
    kill(&scene.ground, &Component::Settlement).await?;
    let job = scene.until_condition(job_condition::SETTLED, SETTLED_WITHIN).await?;

    let lost: Vec<&AttemptStatus> = attempts(&job)
        .filter(|attempt| attempt.state != AttemptState::Completed)
        .collect();
    ensure!(
        lost.is_empty(),
        "work was lost: {lost:?}{}",
        story(&scene.ground, &scene.name).await
    );
    let worst = golden::min_cosine(&scene.published().await?, TEXTS)?;
    ensure!(worst >= 0.9999, "the worst cosine is {worst}");
    let leaves = leaves(&scene.ground, &scene.stores, &uid).await?;
    check_leaves(&leaves)?;
    let total = invoice_total(&scene.ground, &job).await?;
    let after = ledger.quiet(&scene.ground).await?;
    let debited = before.deposit - after.deposit;
    ensure!(debited == total, "the chain took {debited}, the invoice says {total}");
    scene.close().await
}
