//! A real kube-scheduler with the documented configuration, a real API server, this extender: pods go where the market
//! says, and a pod that fits nowhere is told why.

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
use spillway_scheduler_plugin::server::{self, Extender};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
const TEAM: &str = "team-a";
/// Provider and micro-USD per GPU-hour. The job's cap is 1.20.
const PROVIDERS: [(&str, u64); 3] = [("cheap", 800_000), ("fair", 1_000_000), ("dear", 1_300_000)];

#[tokio::test(flavor = "multi_thread")]
async fn pods_go_where_the_market_says() -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let folder = tempfile::tempdir()?;
    let (address, published) = serve_extender(&client).await?;
    let _scheduler = Scheduler::start(&plane, folder.path(), address)?;
    let job_uid = make_market(&client).await?;
    await_snapshot(&published, &job_uid).await?;

    // Two GPUs per host. The check leaves `cheap`, who ran the shard; Work attempts fill `cheap`, then `fair`.
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 1, "check")).await?,
        "spillway-fair-h1"
    );
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 2, "work")).await?,
        "spillway-cheap-h1"
    );
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 3, "work")).await?,
        "spillway-cheap-h1"
    );
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 4, "work")).await?,
        "spillway-fair-h1"
    );
    let refusal = refusal(&client, &pod(&job_uid, 5, "work")).await?;
    assert!(refusal.contains("over the price cap of 1.20 per GPU-hour"), "{refusal}");
    assert!(refusal.contains("Insufficient nvidia.com/gpu"), "{refusal}");
    Ok(())
}

async fn serve_extender(client: &Client) -> anyhow::Result<(SocketAddr, Published)> {
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
    tokio::spawn(server::serve(listener, extender, token));
    Ok((address, published))
}

async fn await_snapshot(published: &Published, job_uid: &str) -> anyhow::Result<()> {
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
struct Scheduler(Child);

impl Scheduler {
    fn start(plane: &ControlPlane, folder: &Path, extender: SocketAddr) -> anyhow::Result<Self> {
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, serde_json::to_vec(&plane.kubeconfig(ADMIN_TOKEN)?)?)?;
        let configuration = folder.join("configuration.yaml");
        std::fs::write(&configuration, serde_json::to_vec(&documented(&kubeconfig, extender)?)?)?;
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
    let (_, rest) = include_str!("../README.md")
        .split_once("```yaml\n")
        .context("no YAML in the README")?;
    let (yaml, _) = rest.split_once("```").context("endless YAML in the README")?;
    let mut configuration: Value = serde_yaml::from_str(yaml)?;
    configuration["leaderElection"] = json!({"leaderElect": false});
    configuration["clientConnection"]["kubeconfig"] = json!(kubeconfig);
    configuration["extenders"][0]["urlPrefix"] = json!(format!("http://{extender}"));
    Ok(configuration)
}

/// Providers with one node of two GPUs each, and a job whose first shard `cheap` has computed. Gives the job's UID.
async fn make_market(client: &Client) -> anyhow::Result<String> {
    create(
        &Api::<Namespace>::all(client.clone()),
        json!({"metadata": {"name": TEAM}}),
    )
    .await?;
    for (provider, price) in PROVIDERS {
        make_provider(client, provider, price).await?;
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

async fn make_provider(client: &Client, name: &str, price: u64) -> anyhow::Result<()> {
    let node = names::virtual_node(name, "h1");
    let nodes = Api::<Node>::all(client.clone());
    create(&nodes, json!({"metadata": {"name": node}})).await?;
    let room = json!({names::GPU_RESOURCE: "2", "cpu": "64", "memory": "256Gi", "pods": "100"});
    set_status(&nodes, &node, json!({"capacity": room, "allocatable": room})).await?;

    let providers = Api::<GpuProvider>::all(client.clone());
    let spec = json!({"class": "Decentralized", "region": "eu", "payoutAddress": format!("0x{}", "1".repeat(40))});
    create(&providers, json!({"metadata": {"name": name}, "spec": spec})).await?;
    let ready = json!({"type": "Ready", "status": "True", "reason": "Fresh", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let host = json!({"name": "h1", "node": node, "product": "NVIDIA-L4", "gpus": 2, "memoryMebibytes": 24576});
    let status = json!({"conditions": [ready], "unitPriceMicro": price, "gpus": 2, "hosts": [host]});
    set_status(&providers, name, status).await
}

fn job() -> Value {
    json!({"metadata": {"name": "embed"}, "spec": {
        "engine": {"image": "engine:1"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
        "price": {"maxPerGpuHour": "1.20", "budget": "5.00"}, "placement": {"policy": "Cost"},
    }})
}

/// The pod of an attempt of shard 0 as the operator makes it, pinned to all three nodes.
fn pod(job_uid: &str, attempt: u16, kind: &str) -> Value {
    let term = |(provider, _): &(&str, u64)| {
        let node = names::virtual_node(provider, "h1");
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]})
    };
    let terms: Vec<Value> = PROVIDERS.iter().map(term).collect();
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

async fn bound_node(client: &Client, pod: &Value) -> anyhow::Result<String> {
    let (pods, name) = make_pod(client, pod).await?;
    eventually("the pod is bound", LIMIT, || async {
        pods.get(&name).await.ok()?.spec?.node_name
    })
    .await
}

/// The message of the condition that says why the pod is not scheduled.
async fn refusal(client: &Client, pod: &Value) -> anyhow::Result<String> {
    let (pods, name) = make_pod(client, pod).await?;
    eventually("the pod is refused", LIMIT, || async {
        let mut conditions = pods.get(&name).await.ok()?.status?.conditions?.into_iter();
        conditions
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?
            .message
    })
    .await
}

async fn make_pod(client: &Client, pod: &Value) -> anyhow::Result<(Api<Pod>, String)> {
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
