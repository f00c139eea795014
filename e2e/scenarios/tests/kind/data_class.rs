//! The hub's data class for jobs that name none: fixed at acceptance, and never loosened.

use std::time::Duration;

use anyhow::ensure;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use spillway_crds::{DataClass, InferenceJob, find_status_condition, job_condition, names};
use spillway_e2e_scenarios::{Installed, Scene, only_provider, running, set_variable};

/// The company's own provider, and one that is no place for Internal data.
const OWN: &str = "provider-a";
const FOREIGN: &str = "provider-b";
const OPERATOR: Installed<'static> = Installed {
    namespace: names::SYSTEM_NAMESPACE,
    deployment: "spillway-operator",
    container: "operator",
};
const DEFAULT: &str = "DEFAULT_DATA_CLASS";
/// A new operator leads once the old one's Lease is over.
const DECIDED_WITHIN: Duration = Duration::from_secs(180);
const COMPLETE_WITHIN: Duration = Duration::from_secs(240);

fn refused(job: &InferenceJob) -> Option<String> {
    let accepted = find_status_condition(&job.status.as_ref()?.conditions, job_condition::ACCEPTED)?;
    (accepted.status == "False").then(|| accepted.message.clone())
}

fn strangers() -> Value {
    json!({"classes": ["Decentralized"]})
}

/// Its data is Internal, and that shut somebody out.
fn is_internal(job: &InferenceJob) -> bool {
    let status = job.status.as_ref();
    let excluded = status.and_then(|status| status.placement.as_ref()?.excluded.get("DataClass"));
    status.and_then(|status| status.data_class) == Some(DataClass::Internal) && excluded.is_some()
}

/// Under a hub that says Internal; returns the name of a job that says nothing, and runs.
async fn under_internal(scene: &Scene) -> anyhow::Result<String> {
    let cases = [
        ("loose", json!({"class": "Public"}), json!({}), "looser than Internal"),
        ("abroad", json!({}), strangers(), "this hub sets for every job"),
    ];
    for (what, data, placement, words) in cases {
        let job = scene
            .apply(scene.asking(what, &[("data", data), ("placement", placement)])?)
            .await?
            .name_any();
        let message = scene.until_of(&job, "Accepted=False", DECIDED_WITHIN, refused).await?;
        ensure!(message.contains(words), "{what}: `{message}` does not say `{words}`");
    }
    let silent = scene.asking("silent", &[])?;
    let silent = scene.apply(scene.gated(silent).await?).await?.name_any();
    scene
        .until_of(&silent, "a running attempt", DECIDED_WITHIN, running)
        .await?;
    Ok(silent)
}

#[tokio::test]
async fn a_job_that_names_no_data_class_has_the_hubs_and_keeps_it() -> anyhow::Result<()> {
    let scene = Scene::open("class").await?;
    set_variable(&scene.ground.hub, OPERATOR, DEFAULT, "Internal").await?;
    let silent = under_internal(&scene).await;
    set_variable(&scene.ground.hub, OPERATOR, DEFAULT, "Public").await?;
    let silent = silent?;

    let public = scene.asking("public", &[("placement", strangers())])?;
    let chosen = only_provider(&scene.complete(public, COMPLETE_WITHIN).await?)?;
    ensure!(chosen == FOREIGN, "public data went to {chosen}");
    scene.open_gate().await?;
    let kept = scene.until_complete(&silent, COMPLETE_WITHIN).await?;
    let chosen = only_provider(&kept)?;
    ensure!(
        chosen == OWN && is_internal(&kept),
        "Internal data went to {chosen}: {:?}",
        kept.status
    );
    scene.close().await
}
