//! A hub's control plane with a market of three providers, a kube-scheduler, and the extender in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use prometheus::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spillway_crds::{GpuProvider, InferenceJob, names};
use spillway_e2e_control_plane::{ADMIN_TOKEN, ControlPlane, assets, eventually};
use spillway_process::Health;
use spillway_scheduler_plugin::metrics::Metrics;
use spillway_scheduler_plugin::publish::{Published, changes, publish};
use spillway_scheduler_plugin::server::{self, Extender, Listener};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const TEAM: &str = "team-a";
/// Provider and micro-USD per GPU-hour. The job's cap is 1.20.
pub(crate) const PROVIDERS: [(&str, u64); 3] = [("cheap", 800_000), ("fair", 1_000_000), ("dear", 1_300_000)];

/// An extender that this process serves.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) published: Published,
    pub(crate) extender: Extender,
}

pub(crate) async fn serve_extender(client: &Client) -> anyhow::Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (published, token) = (Published::default(), CancellationToken::new());
    let metrics = Metrics::register(&Registry::new())?;
    let extender = Extender {
        published: Arc::clone(&published),
        metrics: metrics.clone(),
    };
    tokio::spawn(publish(
        changes(client),
        Arc::clone(&published),
        Health::default(),
        metrics,
        token.clone(),
    ));
    tokio::spawn(server::serve(Listener::Plain(listener), extender.clone(), token));
    Ok(Served {
        address,
        published,
        extender,
    })
}

pub(crate) async fn await_snapshot(published: &Published, job_uid: &str) -> anyhow::Result<()> {
    eventually(
        "the snapshot holds three offers and the expected check",
        LIMIT,
        || async {
            let snapshot = published.load_full()?;
            let check = snapshot.jobs.get(job_uid)?.special.contains_key(&(0, 1));
            (check && snapshot.offers.values().filter(|offer| offer.available).count() == 3).then_some(())
        },
    )
    .await
}

/// A kube-scheduler process; ended on drop.
pub(crate) struct Scheduler(Child);

impl Scheduler {
    /// `change` may change the extender's part of the configuration.
    pub(crate) fn start(
        plane: &ControlPlane,
        folder: &Path,
        extender: SocketAddr,
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<Self> {
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, serde_json::to_vec(&plane.kubeconfig(ADMIN_TOKEN)?)?)?;
        let configuration = folder.join("configuration.yaml");
        let mut documented = documented(&kubeconfig, extender)?;
        change(&mut documented["extenders"][0]);
        std::fs::write(&configuration, serde_json::to_vec(&documented)?)?;
        let log = || {
            if std::env::var_os("CONTROL_PLANE_LOG").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            }
        };
        let child = Command::new(assets()?.join("kube-scheduler"))
            .arg(format!("--config={}", configuration.display()))
            .arg("--secure-port=0")
            .stdout(log())
            .stderr(log())
            .spawn()
            .context("start kube-scheduler")?;
        Ok(Self(child))
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The README's configuration; only addresses and leader election differ.
fn documented(kubeconfig: &Path, extender: SocketAddr) -> anyhow::Result<Value> {
    let mut configuration = documented_yaml(0)?;
    configuration["leaderElection"] = json!({"leaderElect": false});
    configuration["clientConnection"]["kubeconfig"] = json!(kubeconfig);
    configuration["extenders"][0]["urlPrefix"] = json!(format!("http://{extender}"));
    Ok(configuration)
}

/// A YAML block of the README, counted from 0.
pub(crate) fn documented_yaml(number: usize) -> anyhow::Result<Value> {
    let blocks = include_str!("../../README.md").split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split_once("```"));
    let (yaml, _) = blocks.nth(number).context("no such YAML in the README")?;
    Ok(serde_yaml::from_str(yaml)?)
}

/// An address where nobody listens.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Providers with one node of `gpus` GPUs each, and a job whose first shard `cheap` has computed. Gives the job's UID.
pub(crate) async fn make_market(client: &Client, gpus: u32) -> anyhow::Result<String> {
    create(
        &Api::<Namespace>::all(client.clone()),
        json!({"metadata": {"name": TEAM}}),
    )
    .await?;
    for (provider, price) in PROVIDERS {
        make_provider(client, provider, price, gpus).await?;
    }
    let jobs = Api::<InferenceJob>::namespaced(client.clone(), TEAM);
    let job = create(&jobs, job()).await?;
    let attempts = json!([
        {"number": 0, "kind": "Work", "state": "Completed", "provider": "cheap", "upperBoundMicro": 1},
        {"number": 1, "kind": "Check", "state": "Expected", "upperBoundMicro": 1},
    ]);
    let shard = json!({"index": 0, "state": "Verifying", "inputDigest": "sha256:00", "inputBytes": 2, "requests": 1,
        "attempts": attempts});
    set_status(&jobs, "embed", json!({"dataClass": "Public", "shards": [shard]})).await?;
    job.uid().context("a job without a UID")
}

async fn make_provider(client: &Client, name: &str, price: u64, gpus: u32) -> anyhow::Result<()> {
    let node = names::virtual_node(name, "h1");
    let nodes = Api::<Node>::all(client.clone());
    create(&nodes, json!({"metadata": {"name": node}})).await?;
    let room = json!({names::GPU_RESOURCE: gpus.to_string(), "cpu": "64", "memory": "256Gi", "pods": "100"});
    set_status(&nodes, &node, json!({"capacity": room, "allocatable": room})).await?;

    let providers = Api::<GpuProvider>::all(client.clone());
    let spec = json!({"class": "Decentralized", "region": "eu", "payoutAddress": format!("0x{}", "1".repeat(40))});
    create(&providers, json!({"metadata": {"name": name}, "spec": spec})).await?;
    let ready = json!({"type": "Ready", "status": "True", "reason": "Fresh", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let host = json!({"name": "h1", "node": node, "product": "NVIDIA-L4", "gpus": gpus, "memoryMebibytes": 24576});
    let status = json!({"conditions": [ready], "unitPriceMicro": price, "gpus": gpus, "hosts": [host]});
    set_status(&providers, name, status).await
}

fn job() -> Value {
    json!({"metadata": {"name": "embed"}, "spec": {
        "engine": {"image": "engine:1"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
        "price": {"maxPerGpuHour": "1.20", "budget": "5.00"}, "placement": {"policy": "Cost"},
    }})
}

/// The pod of an attempt of shard 0 as the operator makes it, pinned to the nodes of `candidates`.
pub(crate) fn pod(job_uid: &str, attempt: u16, kind: &str, candidates: &[(&str, u64)]) -> Value {
    let term = |(provider, _): &(&str, u64)| {
        let node = names::virtual_node(provider, "h1");
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]})
    };
    let terms: Vec<Value> = candidates.iter().map(term).collect();
    let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
    let owner = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "name": "embed", "uid": job_uid,
        "controller": true});
    let container = json!({"name": "remote", "image": "spillway.invalid/remote",
        "resources": {"limits": {names::GPU_RESOURCE: "1"}}});
    let attempt_label = attempt.to_string();
    json!({
        "metadata": {
            "name": names::attempt_pod("embed", 0, attempt),
            "labels": {names::LABEL_SHARD: "0", names::LABEL_ATTEMPT: attempt_label, names::LABEL_KIND: kind},
            "ownerReferences": [owner],
        },
        "spec": {
            "schedulerName": names::SCHEDULER_NAME,
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": affinity},
            "containers": [container],
        },
    })
}

pub(crate) async fn bound_node(client: &Client, pod: &Value) -> anyhow::Result<String> {
    let (pods, name) = make_pod(client, pod).await?;
    bound(&pods, &name).await
}

pub(crate) async fn bound(pods: &Api<Pod>, name: &str) -> anyhow::Result<String> {
    eventually("the pod is bound", LIMIT, || async {
        pods.get(name).await.ok()?.spec?.node_name
    })
    .await
}

/// The message of the condition that says why the pod is not scheduled.
pub(crate) async fn refusal(client: &Client, pod: &Value) -> anyhow::Result<String> {
    let (pods, name) = make_pod(client, pod).await?;
    refused(&pods, &name).await
}

pub(crate) async fn refused(pods: &Api<Pod>, name: &str) -> anyhow::Result<String> {
    eventually("the pod is refused", LIMIT, || async {
        let mut conditions = pods.get(name).await.ok()?.status?.conditions?.into_iter();
        conditions
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?
            .message
    })
    .await
}

pub(crate) async fn make_pod(client: &Client, pod: &Value) -> anyhow::Result<(Api<Pod>, String)> {
    let pods = Api::<Pod>::namespaced(client.clone(), TEAM);
    let made = create(&pods, pod.clone()).await?;
    Ok((pods, made.name_any()))
}

async fn create<K>(api: &Api<K>, mut object: Value) -> anyhow::Result<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    Ok(api
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?)
}

async fn set_status<K>(api: &Api<K>, name: &str, status: Value) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status})))
        .await?;
    Ok(())
}
