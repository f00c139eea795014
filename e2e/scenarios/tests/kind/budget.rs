//! At a limit no new attempts start, a condition says so, and what is finished is kept and paid. A raised budget lets the
//! job go on.

use std::time::Duration;

use anyhow::ensure;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use spillway_crds::{InferenceJob, ShardState, SpendPolicy, job_condition};
use spillway_e2e_scenarios::{Ledger, Scene, attempts, golden, holds, leaves, placeable_for};

const STOPPED_WITHIN: Duration = Duration::from_secs(240);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);
const POLICY: &str = "demo";

fn exhausted(job: &InferenceJob) -> Option<String> {
    placeable_for(job, "BudgetExhausted")
}

/// What was begun is finished, and nothing more is begun.
fn stopped(job: &InferenceJob) -> Option<String> {
    exhausted(job).filter(|_| attempts(job).all(|attempt| attempt.verdict.is_some()))
}

#[tokio::test]
async fn an_over_budget_job_starts_nothing_more_and_keeps_what_is_finished_until_its_budget_is_raised()
-> anyhow::Result<()> {
    let scene = Scene::open("budget").await?;
    let ledger = Ledger::connect(&scene.ground).await?;
    let before = ledger.quiet(&scene.ground).await?;
    scene.idle().await?;
    let mut manifest = scene.inline(&golden::requests(3)?, 3);
    // The dearest candidate asks 1.10, so six minutes are 0.11: one attempt and its check, and not a micro-unit besides.
    manifest["spec"]["resources"]["models"] = json!(["NVIDIA-L4"]);
    manifest["spec"]["execution"] = json!({"shards": 3, "parallelism": 1, "shardTimeout": "6m"});
    manifest["spec"]["price"] = json!({"maxPerGpuHour": "2.00", "budget": "0.22"});
    scene.apply(manifest).await?;

    let message = scene
        .until("a finished shard and reason BudgetExhausted", STOPPED_WITHIN, stopped)
        .await?;
    ensure!(
        message.contains("spec.price.budget is 0.22"),
        "`{message}` does not name the limit"
    );
    let after = ledger.quiet(&scene.ground).await?;
    let job = scene.job().await?;
    ensure!(exhausted(&job).is_some(), "it went on: {:?}", job.status);
    let status = job.status.clone().unwrap_or_default();
    let states: Vec<ShardState> = status.shards.iter().map(|shard| shard.state).collect();
    ensure!(
        states == [ShardState::Accepted, ShardState::Pending, ShardState::Pending],
        "the shards are {states:?}"
    );
    ensure!(
        attempts(&job).count() == 2,
        "only the first shard and its check were to run"
    );
    ensure!(!holds(&job, job_condition::FAILED, "True"), "it failed");

    // The finished shard is paid while the job still waits.
    let leaves = leaves(&scene.ground, &scene.stores, &job.uid().unwrap_or_default()).await?;
    let owed: u128 = leaves.iter().map(|leaf| leaf.amount).sum();
    ensure!(leaves.len() == 2 && owed > 0, "{} leaves pay {owed}", leaves.len());
    ensure!(
        before.deposit - after.deposit == owed,
        "{owed} are owed: {before:?} became {after:?}"
    );

    let raised = Patch::Merge(json!({"spec": {"price": {"budget": "2.00"}}}));
    let jobs = scene.ground.jobs();
    jobs.patch(&scene.name, &PatchParams::default(), &raised).await?;
    scene.until_condition(job_condition::COMPLETE, COMPLETE_WITHIN).await?;
    scene.close().await
}

async fn limit(scene: &Scene, per_day: &str, per_namespace_per_day: Option<&str>) -> anyhow::Result<()> {
    let policies = Api::<SpendPolicy>::all(scene.ground.hub.clone());
    let limits = json!({"perDay": per_day, "perNamespacePerDay": per_namespace_per_day});
    let patch = Patch::Merge(json!({"spec": {"limits": limits}}));
    policies.patch(POLICY, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn waits_for(scene: &Scene, reason: &str, who: &str) -> anyhow::Result<()> {
    let message = scene
        .until(&format!("Placeable for reason {reason}"), STOPPED_WITHIN, |job| {
            placeable_for(job, reason)
        })
        .await?;
    ensure!(
        message.contains(&format!("SpendPolicy demo allows {who} 0.01 per day")),
        "`{message}` does not name the limit"
    );
    ensure!(attempts(&scene.job().await?).next().is_none(), "an attempt was begun");
    Ok(())
}

/// First the policy is at its limit, then the namespace under a policy that has enough.
async fn waits_for_the_day(scene: &Scene, usual: &str) -> anyhow::Result<()> {
    limit(scene, "0.01", None).await?;
    scene.apply(scene.inline(&golden::requests(1)?, 1)).await?;
    waits_for(scene, "DailyLimit", "all of its jobs").await?;
    limit(scene, usual, Some("0.01")).await?;
    waits_for(scene, "NamespaceDailyLimit", "namespace team-a").await
}

#[tokio::test]
async fn a_policy_at_a_limit_per_day_holds_jobs_back_until_it_is_raised() -> anyhow::Result<()> {
    let scene = Scene::open("daily").await?;
    let policies = Api::<SpendPolicy>::all(scene.ground.hub.clone());
    let usual = policies.get(POLICY).await?.spec.limits.per_day;
    let waited = waits_for_the_day(&scene, &usual).await;
    // Whatever was found: the other tests' jobs spend under it too.
    limit(&scene, &usual, None).await?;
    waited?;
    scene.until_condition(job_condition::COMPLETE, COMPLETE_WITHIN).await?;
    scene.close().await
}
