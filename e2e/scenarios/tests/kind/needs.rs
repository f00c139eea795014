//! Hard needs: one that nobody meets is told in words and starts nothing; one that a single owner meets decides.

use std::time::Duration;

use anyhow::ensure;
use kube::ResourceExt as _;
use serde_json::json;
use spillway_crds::{InferenceJob, PlacementExplanation};
use spillway_e2e_scenarios::{Scene, attempts, only_provider, placeable_for, running};

/// Cheaper than the other, and without a runtime that keeps work apart.
const CHEAP: &str = "provider-a";
/// `e2e/demo/install.sh` gives its cluster the RuntimeClass of this name.
const SANDBOXING: &str = "provider-b";
const RUNTIME_CLASS: &str = "sandboxed";
/// Hosts that `e2e/demo/install.sh` sets up.
const OFFERS: u32 = 3;
const DECIDED_WITHIN: Duration = Duration::from_secs(120);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);

fn explained(job: &InferenceJob) -> Option<PlacementExplanation> {
    placeable_for(job, "NoOfferFits")?;
    job.status.as_ref()?.placement.clone()
}

#[tokio::test]
async fn a_need_that_nobody_meets_is_told_and_starts_nothing() -> anyhow::Result<()> {
    let scene = Scene::open("needs").await?;
    let cases = [
        (
            "apart",
            "data",
            json!({"isolation": "Confidential"}),
            &["Isolation"][..],
        ),
        ("region", "placement", json!({"regions": ["moon"]}), &["Region"]),
        (
            "law",
            "placement",
            json!({"jurisdictions": ["XX"]}),
            &["Jurisdiction", "JurisdictionUnknown"],
        ),
        (
            "trust",
            "placement",
            json!({"minReputation": "1"}),
            &["Reputation", "ReputationUnknown"],
        ),
        (
            "near",
            "placement",
            json!({"maxLatency": {"to": "moon", "p95": "5ms"}}),
            &["LatencyUnknown"],
        ),
        ("large", "resources", json!({"gpus": 16}), &["HostTooSmall"]),
        (
            "new",
            "resources",
            json!({"minComputeCapability": "99.0"}),
            &["ComputeCapability", "ComputeCapabilityUnknown"],
        ),
    ];
    let mut jobs = Vec::new();
    for (what, section, need, reasons) in cases {
        let name = scene.apply(scene.asking(what, &[(section, need)])?).await?.name_any();
        jobs.push((name, reasons));
    }
    for (name, reasons) in jobs {
        let told = scene
            .until_of(&name, "Placeable for reason NoOfferFits", DECIDED_WITHIN, explained)
            .await?;
        let counted: u32 = reasons.iter().filter_map(|reason| told.excluded.get(*reason)).sum();
        ensure!(
            counted == OFFERS,
            "{name}: {reasons:?} shut out {counted} of {OFFERS}: {}",
            told.message
        );
        let job = scene.ground.jobs().get(&name).await?;
        ensure!(attempts(&job).next().is_none(), "{name}: an attempt was begun");
    }
    scene.close().await
}

#[tokio::test]
async fn isolation_changes_the_chosen_provider_and_the_runtime_of_its_pod() -> anyhow::Result<()> {
    let scene = Scene::open("isolation").await?;
    let cheap = ("placement", json!({"policy": "Cost"}));
    let plain = scene.complete(scene.asking("plain", std::slice::from_ref(&cheap))?, COMPLETE_WITHIN);
    let chosen = only_provider(&plain.await?)?;
    ensure!(chosen == CHEAP, "the cheapest one is {CHEAP}, chosen was {chosen}");

    let apart = scene.asking("apart", &[cheap, ("data", json!({"isolation": "Sandboxed"}))])?;
    let job = scene.apply(scene.gated(apart).await?).await?;
    scene
        .until_of(&job.name_any(), "a running attempt", COMPLETE_WITHIN, running)
        .await?;
    let class = scene.ground.work_pod(SANDBOXING, &job).await?.runtime_class_name;
    ensure!(class.as_deref() == Some(RUNTIME_CLASS), "it runs under {class:?}");
    scene.open_gate().await?;
    let done = scene.until_complete(&job.name_any(), COMPLETE_WITHIN).await?;
    let chosen = only_provider(&done)?;
    ensure!(
        chosen == SANDBOXING,
        "only {SANDBOXING} keeps work apart, chosen was {chosen}"
    );
    scene.close().await
}
