//! A host that does not run yet: it is offered, work waits for it at its provider, and the wait is paid.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use spillway_crds::{HostFact, InferenceJob};
use spillway_e2e_scenarios::{Installed, Scene, attempts, plugin_json, set_variable, until};

const PROVIDER: &str = "provider-b";
const AGENT: Installed<'static> = Installed {
    namespace: "spillway",
    deployment: "spillway-agent",
    container: "agent",
};
const POOLS: &str = "ELASTIC_POOLS";
/// As `e2e/demo/install.sh` sets it.
const NO_POOL: &str = "[]";
/// What nobody else offers.
const MODEL: &str = "NVIDIA-H200";
const HOST: &str = "burst-0";
const LABEL_POOL: &str = "e2e.spillway.dev/pool";
/// What the scene's autoscaler takes to bring a node up.
const START: SignedDuration = SignedDuration::from_secs(15);
const TOLD_WITHIN: Duration = Duration::from_secs(120);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);

fn pools() -> String {
    json!([{"name": "burst", "product": MODEL, "memory": "141Gi", "gpusPerHost": 1, "maxHosts": 1,
        "startTime": "2m", "nodeSelector": {LABEL_POOL: "burst"}}])
    .to_string()
}

/// Waits until these are all hosts of the provider that appear on demand (`true`), or run.
async fn hosts(scene: &Scene, elastic: bool, wanted: impl Fn(&[HostFact]) -> bool) -> anyhow::Result<Vec<HostFact>> {
    until("the hosts that are offered", TOLD_WITHIN, async || {
        let status = scene.ground.gpu_providers().get(PROVIDER).await?.status;
        let mut hosts = status.unwrap_or_default().hosts;
        hosts.retain(|host| host.elastic == elastic);
        Ok(wanted(&hosts).then_some(hosts))
    })
    .await
}

/// The job's pod at the provider, once its scheduler has said that no node fits.
async fn waiting_pod(scene: &Scene, job: &InferenceJob) -> anyhow::Result<Pod> {
    let is_told = |pod: &Pod| {
        let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|one| one.type_ == "PodScheduled" && one.reason.as_deref() == Some("Unschedulable"))
    };
    until("a pod that waits for its node", TOLD_WITHIN, async || {
        let found = scene.ground.work_pods(PROVIDER, job).await?;
        Ok(found.into_iter().find(is_told))
    })
    .await
}

/// Puts the provider's only node into the pool, or takes it out: the part of an autoscaler.
async fn in_pool(cluster: &Client, pool: Option<&str>) -> anyhow::Result<()> {
    let nodes = Api::<Node>::all(cluster.clone());
    let node = nodes
        .list(&ListParams::default())
        .await?
        .items
        .pop()
        .context("no node")?;
    let patch = Patch::Merge(json!({"metadata": {"labels": {LABEL_POOL: pool}}}));
    nodes.patch(&node.name_any(), &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The job on a host that comes while it waits.
async fn run_on_demand(scene: &Scene, cluster: &Client) -> anyhow::Result<InferenceJob> {
    let offered = hosts(scene, true, |hosts| hosts.iter().any(|host| host.name == HOST)).await?;
    let node = offered.first().map(|host| host.node.clone()).unwrap_or_default();
    let listed = plugin_json(&["offers", "--model", MODEL])?;
    ensure!(
        listed.to_string().contains(&node),
        "`offers` does not list {node}: {listed}"
    );

    let manifest = scene.asking("burst", &[("resources", json!({"models": [MODEL]}))])?;
    let job = scene.apply(manifest).await?;
    let pod = waiting_pod(scene, &job).await?;
    let created = pod.metadata.creation_timestamp.context("no creation time")?;
    until("the autoscaler's node", TOLD_WITHIN, async || {
        Ok((Timestamp::now().duration_since(created.0) >= START).then_some(()))
    })
    .await?;
    let waiting = scene.ground.jobs().get(&job.name_any()).await?;
    ensure!(
        attempts(&waiting).all(|attempt| attempt.node.as_ref() == Some(&node) && attempt.finished_at.is_none()),
        "it did not wait for {node}: {:?}",
        waiting.status
    );
    in_pool(cluster, Some("burst")).await?;
    let done = scene.until_complete(&job.name_any(), COMPLETE_WITHIN).await?;
    // The node is in the pool now, and not offered a second time.
    hosts(scene, false, <[_]>::is_empty).await?;
    Ok(done)
}

#[tokio::test]
async fn work_waits_for_a_host_that_appears_on_demand_and_its_start_is_paid() -> anyhow::Result<()> {
    let scene = Scene::open("elastic").await?;
    let cluster = scene.ground.providers.get(PROVIDER).context("no such cluster")?;
    let standing = hosts(&scene, false, |hosts| !hosts.is_empty()).await?;
    set_variable(cluster, AGENT, POOLS, &pools()).await?;
    let done = run_on_demand(&scene, cluster).await;
    in_pool(cluster, None).await?;
    set_variable(cluster, AGENT, POOLS, NO_POOL).await?;
    hosts(&scene, true, <[_]>::is_empty).await?;
    hosts(&scene, false, |hosts| hosts.len() == standing.len()).await?;

    let done = done?;
    let attempt = attempts(&done).next().context("no attempt")?;
    let started = u64::try_from(START.as_millis())?;
    let metered = attempt.receipt.as_ref().map(|receipt| receipt.metered_millis);
    ensure!(
        metered >= Some(started) && attempt.billed_millis >= Some(started),
        "the start is not paid: metered {metered:?}, billed {:?} of {started} ms",
        attempt.billed_millis
    );
    scene.close().await
}
