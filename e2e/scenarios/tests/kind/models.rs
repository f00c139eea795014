//! One provider with hosts of two GPU models: a job gets the one it asks for.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::ResourceExt as _;
use serde_json::json;
use spillway_crds::HostFact;
use spillway_e2e_scenarios::{Scene, running};

const PROVIDER: &str = "provider-a";
const RUNS_WITHIN: Duration = Duration::from_secs(180);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);

/// The provider's host with this model.
async fn host(scene: &Scene, product: &str) -> anyhow::Result<HostFact> {
    let status = scene
        .ground
        .gpu_providers()
        .get(PROVIDER)
        .await?
        .status
        .unwrap_or_default();
    let mut hosts = status.hosts.into_iter();
    hosts
        .find(|host| host.product == product)
        .with_context(|| format!("{PROVIDER} has no host with {product}"))
}

#[tokio::test]
async fn a_provider_with_two_gpu_models_runs_each_job_on_the_one_it_asks_for() -> anyhow::Result<()> {
    let scene = Scene::open("models").await?;
    let (small, large) = (host(&scene, "NVIDIA-L4").await?, host(&scene, "NVIDIA-L40S").await?);
    ensure!(small.name != large.name, "both models are on one host");
    let cases = [
        ("small", json!({"models": ["NVIDIA-L4"]}), &small),
        ("large", json!({"models": ["NVIDIA-L40S"]}), &large),
        // Without a name: only one of them has so much memory.
        ("memory", json!({"minMemory": "40Gi"}), &large),
    ];
    for (what, resources, host) in cases {
        let own = ("placement", json!({"classes": ["Private"]}));
        let manifest = scene.asking(what, &[own, ("resources", resources)])?;
        let manifest = scene.gated(manifest).await?;
        let job = scene.apply(manifest).await?;
        let attempt = scene
            .until_of(&job.name_any(), "a running attempt", RUNS_WITHIN, running)
            .await?;
        ensure!(
            attempt.node.as_ref() == Some(&host.node),
            "{what}: bound to {:?}, not to {}",
            attempt.node,
            host.node
        );
        let node = scene.ground.work_pod(PROVIDER, &job).await?.node_name;
        ensure!(
            node.as_ref() == Some(&host.name),
            "{what}: it runs on {node:?}, not on {}",
            host.name
        );
        scene.open_gate().await?;
        scene.until_complete(&job.name_any(), COMPLETE_WITHIN).await?;
        scene.close_gate().await?;
    }
    scene.close().await
}
