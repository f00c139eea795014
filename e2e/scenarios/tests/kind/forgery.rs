//! A pod that looks like ours, down to labels and owner, is refused with an Event and handed to nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use spillway_crds::{InferenceJob, WorkAssignment, job_condition, names};
use spillway_e2e_scenarios::{Ground, Scene, TENANT, golden, holds, leftovers, story, until};

/// An unbound pod may be withdrawn for half a minute.
const REFUSED_WITHIN: Duration = Duration::from_secs(180);

/// As the operator would make it.
fn forged(scene: &Scene, job: &InferenceJob, name: &str, node: Option<&str>) -> anyhow::Result<Pod> {
    let uid = job.uid().context("no UID")?;
    let labels = scene.labels(&uid);
    let mut pod: Value = json!({
        "metadata": {"name": name, "namespace": TENANT, "labels": labels},
        "spec": {
            "schedulerName": names::SCHEDULER_NAME,
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "tolerations": [{"key": names::TAINT_VIRTUAL, "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [{
                "name": "work",
                "image": "spillway.invalid/remote",
                "resources": {"limits": {names::GPU_RESOURCE: "1"}},
            }],
        },
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    let mut pod: Pod = serde_json::from_value(pod)?;
    pod.metadata.owner_references = job.controller_owner_ref(&()).map(|owner| vec![owner]);
    Ok(pod)
}

async fn virtual_node(ground: &Ground) -> anyhow::Result<String> {
    let ours = ListParams::default().labels(&format!("{}=true", names::LABEL_VIRTUAL));
    let nodes = Api::<Node>::all(ground.hub.clone()).list(&ours).await?;
    Ok(nodes.items.first().context("no virtual node")?.name_any())
}

async fn assignments(ground: &Ground) -> anyhow::Result<BTreeSet<String>> {
    let all = Api::<WorkAssignment>::all(ground.hub.clone())
        .list_metadata(&ListParams::default())
        .await?;
    Ok(all.iter().map(ResourceExt::name_any).collect())
}

async fn refusal(events: &Api<Event>, pod: &Pod) -> anyhow::Result<Option<String>> {
    let about =
        |event: &&Event| event.involved_object.uid == pod.uid() && event.reason.as_deref() == Some("NotExpected");
    Ok(events
        .list(&ListParams::default())
        .await?
        .iter()
        .find(about)
        .and_then(|event| event.message.clone()))
}

#[tokio::test]
async fn a_forged_pod_gets_an_event_and_no_assignment() -> anyhow::Result<()> {
    let scene = Scene::open("forgery").await?;
    let pods: Api<Pod> = Api::namespaced(scene.ground.hub.clone(), TENANT);
    let events: Api<Event> = Api::namespaced(scene.ground.hub.clone(), TENANT);
    // A real, accepted job that waits: the best that a forger can name as owner.
    let mut manifest = scene.inline(&golden::requests(1)?, 1);
    manifest["spec"]["resources"]["models"] = json!(["NVIDIA-H100"]);
    let job = scene.apply(manifest).await?;
    let waits = |job: &InferenceJob| holds(job, job_condition::PLACEABLE, "False").then_some(());
    scene.until("a waiting job", REFUSED_WITHIN, waits).await?;
    let before = assignments(&scene.ground).await?;

    let node = virtual_node(&scene.ground).await?;
    let first_attempt = names::attempt_pod(&scene.name, 0, 0);
    let left_to_the_scheduler = forged(&scene, &job, &format!("{}-stray", scene.name), None)?;
    for pod in [
        forged(&scene, &job, &first_attempt, Some(&node))?,
        left_to_the_scheduler,
    ] {
        let made = pods.create(&PostParams::default(), &pod).await?;
        let found = until("Event NotExpected", REFUSED_WITHIN, async || {
            refusal(&events, &made).await
        })
        .await;
        let message = match found {
            Ok(message) => message,
            Err(error) => return Err(error.context(story(&scene.ground, &scene.name).await)),
        };
        ensure!(
            message.contains("apply an InferenceJob instead"),
            "the Event says `{message}`"
        );
    }
    ensure!(
        assignments(&scene.ground).await?.is_subset(&before),
        "somebody got an assignment"
    );
    let there = leftovers(
        &scene.ground,
        &scene.stores,
        &scene.name,
        &job.uid().unwrap_or_default(),
    )
    .await?;
    let at_provider = |line: &&String| line.starts_with("provider");
    ensure!(
        !there.iter().any(|line| at_provider(&line)),
        "something is at a provider: {there:?}"
    );

    for name in [first_attempt, format!("{}-stray", scene.name)] {
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
    }
    scene.close().await
}
