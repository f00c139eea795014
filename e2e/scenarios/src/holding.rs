//! Work that runs until the test says so: the engine waits at a gate, an object in the tenant's bucket.

use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use spillway_crds::{InferenceJob, WorkAssignment};

use crate::reading::{attempts, running};
use crate::{Scene, golden, until};

const HELD_WITHIN: Duration = Duration::from_secs(180);
const FREE_WITHIN: Duration = Duration::from_secs(120);

impl Scene {
    /// Lets the engines of this job begin only once [`Self::open_gate`] was called.
    ///
    /// # Errors
    /// When the gate's URL cannot be signed.
    pub async fn gated(&self, mut manifest: Value) -> anyhow::Result<Value> {
        let url = self.stores.signed(&self.opener()).await?;
        manifest["spec"]["engine"]["env"] = json!([{"name": "SPILLWAY_GATE_URL", "value": url}]);
        Ok(manifest)
    }

    /// Folder of the object whose presence opens it.
    fn gate(&self) -> String {
        format!("{}/gate/", self.name)
    }

    fn opener(&self) -> String {
        self.gate() + "open"
    }

    /// # Errors
    /// When the store cannot be asked.
    pub async fn open_gate(&self) -> anyhow::Result<()> {
        self.stores.tenant.put(&self.opener(), "open").await
    }

    /// For engines that start from now on.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn close_gate(&self) -> anyhow::Result<()> {
        self.stores.tenant.delete(&self.gate()).await
    }

    /// Holds `gpus` GPUs of one host with this model at a provider of this class, and returns the job that does.
    ///
    /// # Errors
    /// When they are not held within three minutes.
    pub async fn fill(&self, class: &str, model: &str, gpus: u32) -> anyhow::Result<InferenceJob> {
        let manifest = self.gated(self.inline(&golden::requests(1)?, 1)).await?;
        let mut manifest = self.another("fill", manifest);
        manifest["spec"]["resources"]["models"] = json!([model]);
        manifest["spec"]["resources"]["gpus"] = json!(gpus);
        manifest["spec"]["placement"] = json!({"classes": [class]});
        manifest["spec"]["execution"]["shardTimeout"] = json!("15m");
        let name = self.apply(manifest).await?.name_any();
        self.until_of(&name, "GPUs that are held", HELD_WITHIN, |job| {
            running(job).map(|_| job.clone())
        })
        .await
    }

    /// Gives the GPUs back, and waits until the hub knows.
    ///
    /// # Errors
    /// When something of it is left after three minutes.
    pub async fn release(&self, filler: &InferenceJob) -> anyhow::Result<()> {
        self.delete(filler).await
    }

    /// Waits until no assignment holds a GPU anywhere.
    ///
    /// # Errors
    /// When some still do after two minutes.
    pub async fn idle(&self) -> anyhow::Result<()> {
        let assignments = Api::<WorkAssignment>::all(self.ground.hub.clone());
        until("GPUs that are all free", FREE_WITHIN, async || {
            let held = assignments.list(&ListParams::default()).await?;
            let free = |one: &WorkAssignment| spillway_crds::market::gpus_held(one) == 0;
            Ok(held.iter().all(free).then_some(()))
        })
        .await
    }
}

/// The provider of a job's only attempt.
///
/// # Errors
/// When there is none, or there are more.
pub fn only_provider(job: &InferenceJob) -> anyhow::Result<String> {
    let held: Vec<_> = attempts(job).map(|attempt| attempt.provider.clone()).collect();
    match held.as_slice() {
        [Some(provider)] => Ok(provider.clone()),
        _ => anyhow::bail!("one attempt at one provider was asked for: {held:?}"),
    }
}
