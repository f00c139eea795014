//! While the extender does not answer, pods wait and say for what; afterwards they go on.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use spillway_crds::{WorkAssignment, job_condition, names};
use spillway_e2e_scenarios::{Installed, Scene, TENANT, golden, set_variable, story, until};

/// Where kube-scheduler asks, and where nobody asks.
const ASKED: &str = "127.0.0.1:8888";
const UNASKED: &str = "127.0.0.1:8889";
const WAITS_WITHIN: Duration = Duration::from_secs(180);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);

/// Lets the extender listen there, and waits until only such a scheduler is left.
async fn extender_listens(scene: &Scene, address: &str) -> anyhow::Result<()> {
    let plugin = Installed {
        namespace: names::SYSTEM_NAMESPACE,
        deployment: "spillway-scheduler",
        container: "plugin",
    };
    set_variable(&scene.ground.hub, plugin, "LISTEN", address).await
}

/// Why the job's pod is not bound yet.
async fn unscheduled(scene: &Scene) -> anyhow::Result<Option<String>> {
    let pods = Api::<Pod>::namespaced(scene.ground.hub.clone(), TENANT);
    let pod = pods.get_opt(&names::attempt_pod(&scene.name, 0, 0)).await?;
    let conditions = pod.and_then(|pod| pod.status?.conditions).unwrap_or_default();
    let found = conditions
        .into_iter()
        .find(|one| one.type_ == "PodScheduled" && one.status == "False");
    Ok(found.and_then(|one| one.message))
}

async fn waits(scene: &Scene) -> anyhow::Result<()> {
    scene.apply(scene.inline(&golden::requests(1)?, 1)).await?;
    let said = until("a pod that says why it waits", WAITS_WITHIN, async || {
        unscheduled(scene).await
    })
    .await;
    let message = match said {
        Ok(message) => message,
        Err(error) => return Err(error.context(story(&scene.ground, &scene.name).await)),
    };
    ensure!(message.contains(ASKED), "`{message}` does not name the extender");
    let assignments = Api::<WorkAssignment>::all(scene.ground.hub.clone());
    let uid = scene.job().await?.metadata.uid.context("no UID")?;
    let all = assignments.list(&ListParams::default()).await?;
    ensure!(
        all.iter().all(|one| one.spec.job.uid != uid),
        "somebody got work meanwhile"
    );
    Ok(())
}

#[tokio::test]
async fn without_the_extender_pods_wait_with_a_reason_and_go_on_afterwards() -> anyhow::Result<()> {
    let scene = Scene::open("extender").await?;
    extender_listens(&scene, UNASKED).await?;
    let waited = waits(&scene).await;
    extender_listens(&scene, ASKED).await?;
    waited?;
    scene.until_condition(job_condition::COMPLETE, COMPLETE_WITHIN).await?;
    scene.close().await
}
