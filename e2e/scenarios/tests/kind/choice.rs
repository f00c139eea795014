//! A hard need changes which provider is chosen: without it the other one is the better choice.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use spillway_e2e_scenarios::{Scene, only_provider, until};

/// Cheap and far from the hub: `e2e/demo/install.sh` puts a relay with a delay before it.
const CHEAP: &str = "provider-a";
/// Dearer, and near.
const NEAR: &str = "provider-b";
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);
/// A few heartbeats, the agent's word of them, and the hub's own pings to check it.
const MEASURED_WITHIN: Duration = Duration::from_secs(180);
/// Less than the relay's delay there and back: what must lie between the two.
const APART_MICROS: u64 = 50_000;

fn job(scene: &Scene, what: &str, placement: Value) -> anyhow::Result<Value> {
    scene.asking(what, &[("placement", placement)])
}

async fn provider_of(scene: &Scene, manifest: Value) -> anyhow::Result<String> {
    only_provider(&scene.complete(manifest, COMPLETE_WITHIN).await?)
}

async fn p95(scene: &Scene, provider: &str) -> anyhow::Result<Option<u64>> {
    let status = scene.ground.gpu_providers().get(provider).await?.status;
    let latencies = status.unwrap_or_default().latencies;
    let to_hub = latencies.iter().find(|latency| latency.to == "hub");
    Ok(to_hub.map(|latency| latency.p95_micros))
}

/// Milliseconds between the two providers' measured latencies, once they are known and apart.
async fn bound_between(scene: &Scene) -> anyhow::Result<u64> {
    until("a far and a near provider", MEASURED_WITHIN, async || {
        let (Some(far), Some(near)) = (p95(scene, CHEAP).await?, p95(scene, NEAR).await?) else {
            return Ok(None);
        };
        Ok((far >= near + APART_MICROS).then_some((far + near) / 2 / 1_000))
    })
    .await
}

#[tokio::test]
async fn a_price_cap_changes_the_chosen_provider() -> anyhow::Result<()> {
    let scene = Scene::open("cap").await?;
    bound_between(&scene).await?;
    let placement = json!({"policy": "Latency"});
    let chosen = provider_of(&scene, job(&scene, "any", placement.clone())?).await?;
    ensure!(chosen == NEAR, "the nearest one is {NEAR}, chosen was {chosen}");
    let mut capped = job(&scene, "low", placement)?;
    capped["spec"]["price"]["maxPerGpuHour"] = json!("1.00");
    let chosen = provider_of(&scene, capped).await?;
    ensure!(chosen == CHEAP, "{NEAR} asks more than 1.00, chosen was {chosen}");
    scene.close().await
}

#[tokio::test]
async fn a_latency_bound_changes_the_chosen_provider() -> anyhow::Result<()> {
    let scene = Scene::open("latency").await?;
    let bound = bound_between(&scene).await?;
    let chosen = provider_of(&scene, job(&scene, "any", json!({"policy": "Cost"}))?).await?;
    ensure!(chosen == CHEAP, "the cheapest one is {CHEAP}, chosen was {chosen}");
    let placement = json!({"policy": "Cost", "maxLatency": {"to": "hub", "p95": format!("{bound}ms")}});
    let done = scene.complete(job(&scene, "near", placement)?, COMPLETE_WITHIN).await?;
    let chosen = only_provider(&done)?;
    ensure!(chosen == NEAR, "only {NEAR} is within {bound} ms, chosen was {chosen}");
    let explained = done
        .status
        .and_then(|status| status.placement)
        .context("no explanation")?;
    ensure!(
        explained.excluded.get("Latency").is_some_and(|count| *count > 0),
        "nobody was excluded for latency: {}",
        explained.message
    );
    scene.close().await
}
