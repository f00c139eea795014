//! `kubectl spillway offers`, `why` and `plan` say what is so: what they promise is held against what happens.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use spillway_crds::InferenceJob;
use spillway_e2e_scenarios::{Scene, TENANT, ask, golden, only_provider, placeable_for, plugin_json, providers};

const DECIDED_WITHIN: Duration = Duration::from_secs(120);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);
/// Exit codes of `plan`, as the reference has them.
const OVER_BUDGET: i32 = 3;
const NO_OFFER: i32 = 4;

fn pointer<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a Value> {
    value
        .pointer(pointer)
        .with_context(|| format!("no {pointer} in {value}"))
}

#[tokio::test]
async fn offers_lists_every_host_and_filters() -> anyhow::Result<()> {
    let scene = Scene::open("offers").await?;
    let all = plugin_json(&["offers"])?;
    let hosts = |offers: &Value| -> Vec<String> {
        let offers = offers["offers"].as_array().into_iter().flatten();
        let mut names: Vec<String> = offers
            .map(|offer| {
                format!(
                    "{} {}",
                    offer["provider"].as_str().unwrap_or_default(),
                    offer["product"].as_str().unwrap_or_default()
                )
            })
            .collect();
        names.sort();
        names
    };
    let (small, large, other) = ("provider-a NVIDIA-L4", "provider-a NVIDIA-L40S", "provider-b NVIDIA-L4");
    ensure!(
        hosts(&all) == [small, large, other] && all["total"] == json!(3),
        "all are {all}"
    );
    for (filter, wanted) in [
        (vec!["--model", "l40s"], vec![large]),
        (vec!["--class", "decentralized"], vec![other]),
        (vec!["--max-price", "1.00"], vec![small, large]),
        (vec!["--min-memory", "40Gi"], vec![large]),
    ] {
        let found = hosts(&plugin_json(&[&["offers"], filter.as_slice()].concat())?);
        ensure!(found == wanted, "{filter:?} gives {found:?}");
    }
    scene.close().await
}

fn unfit(job: &InferenceJob) -> Option<String> {
    placeable_for(job, "NoOfferFits")
}

/// The change that `why` proposes is made, and the job runs where `why` said.
#[tokio::test]
async fn the_change_that_why_proposes_makes_the_job_run() -> anyhow::Result<()> {
    let scene = Scene::open("why").await?;
    let mut manifest = scene.inline(&golden::requests(1)?, 1);
    manifest["spec"]["price"]["maxPerGpuHour"] = json!("0.50");
    manifest["spec"]["verification"] = json!({"maxShare": "0"});
    scene.apply(manifest.clone()).await?;
    scene
        .until("Placeable for reason NoOfferFits", DECIDED_WITHIN, unfit)
        .await?;
    let why = plugin_json(&["why", &scene.name, "-n", TENANT])?;
    ensure!(why["state"] == json!("NoOfferFits"), "it is in state {}", why["state"]);
    let fields = pointer(&why, "/now/change/fields")?.as_array().context("a list")?;
    ensure!(
        fields.len() == 1 && fields[0]["field"] == json!("spec.price.maxPerGpuHour"),
        "it proposes {fields:?}"
    );
    manifest["spec"]["price"]["maxPerGpuHour"] = fields[0]["to"].clone();
    let done = scene
        .complete(scene.another("changed", manifest), COMPLETE_WITHIN)
        .await?;
    let chosen = only_provider(&done)?;
    ensure!(chosen == "provider-a", "{} buys {chosen}", fields[0]["to"]);
    scene.close().await
}

/// Exit code and forecast of `plan` for a manifest.
fn plan(manifest: &Value) -> anyhow::Result<(Option<i32>, Value)> {
    let output = ask(
        &["plan", "-n", TENANT, "-f", "-", "-o", "json"],
        manifest.to_string().as_bytes(),
    )?;
    let said = String::from_utf8_lossy(&output.stderr);
    let forecast = serde_json::from_slice(&output.stdout).with_context(|| format!("no forecast: {said}"))?;
    Ok((output.status.code(), forecast))
}

#[tokio::test]
async fn plan_bounds_what_a_job_costs_and_refuses_what_cannot_run() -> anyhow::Result<()> {
    let scene = Scene::open("plan").await?;
    let manifest = scene.inline(&golden::requests(4)?, 2);
    let (code, forecast) = plan(&manifest)?;
    ensure!(code == Some(0), "code {code:?}: {forecast}");
    ensure!(
        forecast["input"] == json!({"shards": 2, "requests": 4}),
        "the input is {}",
        forecast["input"]
    );
    let bound = pointer(&forecast, "/estimate/costBoundMicro")?
        .as_u64()
        .context("a number")?;
    ensure!(
        scene.ground.jobs().get_opt(&scene.name).await?.is_none(),
        "something was submitted"
    );

    for (at, value, wanted, problem) in [
        ("/spec/price/budget", json!("0.000001"), OVER_BUDGET, "OverBudget"),
        (
            "/spec/resources/models",
            json!(["NVIDIA-H100"]),
            NO_OFFER,
            "NoOfferFits",
        ),
        // A check needs a second owner, and there is only one Private one.
        (
            "/spec/placement",
            json!({"classes": ["Private"]}),
            NO_OFFER,
            "NoSecondOwner",
        ),
    ] {
        let mut changed = manifest.clone();
        let (parent, field) = at.rsplit_once('/').context("a path")?;
        changed.pointer_mut(parent).context("a parent")?[field] = value;
        let (code, forecast) = plan(&changed)?;
        let problems = forecast["problems"].to_string();
        ensure!(
            code == Some(wanted) && problems.contains(problem),
            "{at}: code {code:?} and {problems}"
        );
    }

    let candidates = pointer(&forecast, "/candidates")?.as_array().context("a list")?.clone();
    let done = scene.complete(manifest, COMPLETE_WITHIN).await?;
    let cost = done.status.clone().unwrap_or_default().cost;
    let spent = cost.work_micro + cost.checks_micro;
    ensure!(
        spent > 0 && spent <= bound,
        "it cost {spent}, the plan's bound was {bound}"
    );
    let foreseen = |name: &&str| candidates.iter().any(|candidate| candidate["provider"] == json!(*name));
    ensure!(
        providers(&done).iter().all(foreseen),
        "{} ran at {:?}",
        done.name_any(),
        providers(&done)
    );
    scene.close().await
}
