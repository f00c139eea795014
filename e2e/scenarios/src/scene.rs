//! One test's own objects in the tenant's namespace: a Secret, an input, one job or more.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use spillway_crds::{InferenceJob, job_condition};
use tokio::sync::{Mutex, MutexGuard};

use crate::{Ground, Stores, TENANT, golden, holds, leftovers, story, until};

/// The chain's balances and the two processors are everybody's: one test at a time, however they are started.
static TURN: Mutex<()> = Mutex::const_new(());

const GONE_WITHIN: Duration = Duration::from_secs(180);
/// On every job: the scene that made it.
const LABEL_SCENE: &str = "e2e.spillway.dev/scene";

#[derive(Debug)]
pub struct Scene {
    pub ground: Ground,
    pub stores: Stores,
    /// Of the first job, the Secret, and the folder in the tenant's bucket.
    pub name: String,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// Waits for its turn, takes away what tests that failed left at work, and makes the Secret.
    ///
    /// # Errors
    /// When the system does not stand.
    pub async fn open(test: &str) -> anyhow::Result<Self> {
        let turn = TURN.lock().await;
        let ground = Ground::find().await?;
        let stores = Stores::connect(&ground).await?;
        let name = format!("{test}-{:x}", Timestamp::now().as_millisecond() & 0xff_ffff);
        let scene = Self {
            ground,
            stores,
            name,
            _turn: turn,
        };
        scene.stop_others().await?;
        scene.make_secret().await?;
        Ok(scene)
    }

    /// Jobs of tests that failed, unless they ended: GPUs that they hold and money that they owe are missed elsewhere.
    async fn stop_others(&self) -> anyhow::Result<()> {
        let ended = |job: &InferenceJob| {
            [job_condition::COMPLETE, job_condition::FAILED]
                .iter()
                .any(|end| holds(job, end, "True"))
        };
        for job in self
            .ground
            .jobs()
            .list(&ListParams::default().labels(LABEL_SCENE))
            .await?
        {
            if !ended(&job) {
                self.delete(&job).await?;
            }
        }
        Ok(())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.ground.hub.clone(), TENANT)
    }

    /// With the entries that the installer gave the namespace's Secret `store`.
    async fn make_secret(&self) -> anyhow::Result<()> {
        let installed = self.secrets().get("store").await?;
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        let own = Secret {
            metadata,
            data: installed.data,
            ..Secret::default()
        };
        self.secrets().create(&PostParams::default(), &own).await?;
        Ok(())
    }

    /// Uploads requests, and returns the manifest of a job that computes them in `shards` shards.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn stored(&self, requests: String, shards: u32) -> anyhow::Result<Value> {
        let key = format!("{}/input.jsonl", self.name);
        self.stores.tenant.put(&key, requests).await?;
        let mut manifest = self.inline("", shards);
        manifest["spec"]["input"] = json!({"uri": format!("s3://tenant/{key}"), "secretRef": self.name});
        manifest["spec"]["output"]["secretRef"] = json!(self.name);
        Ok(manifest)
    }

    /// A job that carries its requests, and needs no Secret.
    pub fn inline(&self, requests: &str, shards: u32) -> Value {
        json!({
            "apiVersion": "spillway.dev/v1alpha1",
            "kind": "InferenceJob",
            "metadata": {"name": self.name, "namespace": TENANT, "labels": {LABEL_SCENE: self.name}},
            "spec": {
                "engine": {"image": "spillway-e2e/engine:dev"},
                "input": {"inline": requests},
                "output": {"uri": format!("s3://tenant/{}/", self.name)},
                "resources": {"cpu": "200m", "memory": "512Mi"},
                "price": {"maxPerGpuHour": "2.00", "budget": "2.00"},
                "execution": {"shards": shards, "shardTimeout": "5m"},
            },
        })
    }

    /// The same manifest for another job of this scene, called `<what>-<scene>`.
    pub fn another(&self, what: &str, mut manifest: Value) -> Value {
        let name = format!("{what}-{}", self.name);
        manifest["spec"]["output"]["uri"] = json!(format!("s3://tenant/{}/{what}/", self.name));
        manifest["metadata"]["name"] = json!(name);
        manifest
    }

    /// A job of one request, called as by [`Self::another`], that needs no check (it would have to go to another owner)
    /// and has these fields in sections of its spec.
    ///
    /// # Errors
    /// When fields are no object.
    pub fn asking(&self, what: &str, needs: &[(&str, Value)]) -> anyhow::Result<Value> {
        let mut manifest = self.another(what, self.inline(&golden::requests(1)?, 1));
        manifest["spec"]["verification"] = json!({"maxShare": "0"});
        for (section, fields) in needs {
            for (field, value) in fields.as_object().context("needs are an object")? {
                manifest["spec"][section][field] = value.clone();
            }
        }
        Ok(manifest)
    }

    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, manifest: Value) -> anyhow::Result<InferenceJob> {
        let job = serde_json::from_value(manifest)?;
        Ok(self.ground.jobs().create(&PostParams::default(), &job).await?)
    }

    /// # Errors
    /// When it is not there.
    pub async fn job(&self) -> anyhow::Result<InferenceJob> {
        Ok(self.ground.jobs().get(&self.name).await?)
    }

    /// Waits until the first job is as `wanted`; gives up as soon as it failed.
    ///
    /// # Errors
    /// With the job's story, when it is not so within the limit.
    pub async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&InferenceJob) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.until_of(&self.name, what, limit, wanted).await
    }

    /// [`Self::until`] for the job of this name.
    ///
    /// # Errors
    /// With the job's story, when it is not so within the limit.
    pub async fn until_of<T>(
        &self,
        job: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&InferenceJob) -> Option<T>,
    ) -> anyhow::Result<T> {
        let question = async || {
            let job = self.ground.jobs().get(job).await?;
            let answer = wanted(&job).map(Ok);
            Ok(answer.or_else(|| holds(&job, job_condition::FAILED, "True").then(|| Err(()))))
        };
        match until(what, limit, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(())) => bail!("the job failed before: {what}{}", story(&self.ground, job).await),
            Err(error) => Err(error.context(story(&self.ground, job).await)),
        }
    }

    /// Applies the job and waits until it is complete.
    ///
    /// # Errors
    /// With the job's story, when it is not so within the limit.
    pub async fn complete(&self, manifest: Value, limit: Duration) -> anyhow::Result<InferenceJob> {
        let name = self.apply(manifest).await?.name_any();
        self.until_complete(&name, limit).await
    }

    /// Waits until the job of this name is complete.
    ///
    /// # Errors
    /// As [`Self::until_of`].
    pub async fn until_complete(&self, job: &str, limit: Duration) -> anyhow::Result<InferenceJob> {
        self.until_condition_of(job, job_condition::COMPLETE, limit).await
    }

    /// # Errors
    /// As [`Self::until`].
    pub async fn until_condition(&self, condition: &str, limit: Duration) -> anyhow::Result<InferenceJob> {
        self.until_condition_of(&self.name, condition, limit).await
    }

    async fn until_condition_of(&self, job: &str, condition: &str, limit: Duration) -> anyhow::Result<InferenceJob> {
        let wanted = |job: &InferenceJob| holds(job, condition, "True").then(|| job.clone());
        self.until_of(job, &format!("{condition}=True"), limit, wanted).await
    }

    /// The folder's `results.jsonl` in the tenant's bucket.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn published(&self) -> anyhow::Result<bytes::Bytes> {
        self.stores.tenant.get(&format!("{}/results.jsonl", self.name)).await
    }

    /// Deletes the first job and waits until nothing of it is left anywhere.
    ///
    /// # Errors
    /// With what is left, when the limit passed.
    pub async fn delete_job(&self) -> anyhow::Result<()> {
        self.delete(&self.job().await?).await
    }

    /// Deletes a job and waits until nothing of it is left anywhere.
    ///
    /// # Errors
    /// With what is left, when the limit passed.
    pub async fn delete(&self, job: &InferenceJob) -> anyhow::Result<()> {
        let (name, uid) = (job.name_any(), job.uid().context("a job without a UID")?);
        self.ground.jobs().delete(&name, &DeleteParams::default()).await?;
        let mut left = Vec::new();
        let gone = until("nothing left of the job", GONE_WITHIN, async || {
            left = leftovers(&self.ground, &self.stores, &name, &uid).await?;
            Ok(left.is_empty().then_some(()))
        })
        .await;
        match gone {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}; left are {left:?}{}", story(&self.ground, &name).await),
        }
    }

    /// Takes away what the test made. A test that fails leaves it; the next one stops what is still at work.
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub async fn close(self) -> anyhow::Result<()> {
        let own = ListParams::default().labels(&format!("{LABEL_SCENE}={}", self.name));
        for job in self.ground.jobs().list(&own).await? {
            self.delete(&job).await?;
        }
        self.secrets().delete(&self.name, &DeleteParams::default()).await?;
        self.stores.tenant.delete(&format!("{}/", self.name)).await
    }

    /// Labels as the operator puts them on a pod of this scene's job.
    pub fn labels(&self, uid: &str) -> BTreeMap<String, String> {
        use spillway_crds::names::{LABEL_ATTEMPT, LABEL_JOB_NAME, LABEL_JOB_UID, LABEL_KIND, LABEL_SHARD};
        let labels = [
            (LABEL_JOB_NAME, self.name.as_str()),
            (LABEL_JOB_UID, uid),
            (LABEL_SHARD, "0"),
            (LABEL_ATTEMPT, "0"),
            (LABEL_KIND, "Work"),
        ];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }
}
