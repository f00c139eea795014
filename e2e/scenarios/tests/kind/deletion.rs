//! A job that is deleted while it runs leaves nothing behind.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use spillway_crds::{AttemptState, InferenceJob, names};
use spillway_e2e_scenarios::{Ledger, Scene, golden, leaves, leftovers, until};

const RUNS_WITHIN: Duration = Duration::from_secs(180);

fn runs(job: &InferenceJob) -> Option<()> {
    let mut attempts = job.status.as_ref()?.shards.iter().flat_map(|shard| &shard.attempts);
    attempts
        .any(|attempt| attempt.state == AttemptState::Running)
        .then_some(())
}

async fn pods_at_providers(scene: &Scene, uid: &str) -> anyhow::Result<usize> {
    let of_job = ListParams::default().labels(&format!("{}={uid}", names::LABEL_JOB_UID));
    let mut count = 0;
    for client in scene.ground.providers.values() {
        count += Api::<Pod>::namespaced(client.clone(), names::WORK_NAMESPACE)
            .list_metadata(&of_job)
            .await?
            .items
            .len();
    }
    Ok(count)
}

#[tokio::test]
async fn a_running_job_that_is_deleted_leaves_nothing_behind() -> anyhow::Result<()> {
    let scene = Scene::open("deletion").await?;
    let ledger = Ledger::connect(&scene.ground).await?;
    let before = ledger.quiet(&scene.ground).await?;
    let job = scene.apply(scene.stored(golden::requests(200)?, 2).await?).await?;
    let uid = job.uid().unwrap_or_default();
    scene.until("a running attempt", RUNS_WITHIN, runs).await?;
    ensure!(pods_at_providers(&scene, &uid).await? > 0, "nothing runs at a provider");
    let there = leftovers(&scene.ground, &scene.stores, &scene.name, &uid).await?;
    let kinds = ["hub Pod", "hub WorkAssignment", "Secret", "NetworkPolicy", "jobs/"];
    for kind in kinds {
        ensure!(
            there.iter().any(|line| line.contains(kind)),
            "a running job has no {kind}: {there:?}"
        );
    }

    scene.delete_job().await?;

    // What was accepted before is paid, and nothing else: the payer lost what the job's leaves say.
    let after = ledger.quiet(&scene.ground).await?;
    let owed: u128 = leaves(&scene.ground, &scene.stores, &uid)
        .await?
        .iter()
        .map(|leaf| leaf.amount)
        .sum();
    ensure!(
        before.deposit - after.deposit == owed,
        "{owed} micro-USD are owed: {before:?} became {after:?}"
    );
    // Nor does anything come back: the agents have passed over their objects since.
    until("nothing left of the job", RUNS_WITHIN, async || {
        let left = leftovers(&scene.ground, &scene.stores, &scene.name, &uid).await?;
        Ok(left.is_empty().then_some(()))
    })
    .await?;
    scene.close().await
}
