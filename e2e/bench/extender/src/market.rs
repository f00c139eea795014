//! 5,000 nodes of 100 providers, one job, and what kube-scheduler asks about its pods.

use anyhow::Context;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use spillway_core::market::explores;
use spillway_crds::{GpuProvider, InferenceJob, names};

const PROVIDERS: usize = 100;
const HOSTS: usize = 50;
const PRODUCTS: [(&str, u64); 4] = [
    ("NVIDIA-L4", 24_576),
    ("NVIDIA-A100-SXM4-80GB", 81_920),
    ("NVIDIA-H100-80GB-HBM3", 81_559),
    ("NVIDIA-T4", 15_360),
];
const CAP_MICRO: u64 = 1_500_000;
const LATENCY_MICROS: u64 = 120_000;
const LEAST_MEBIBYTES: u64 = 24 << 10;

#[derive(Debug)]
pub(crate) struct Market {
    job_uid: String,
    /// One that does not explore: the Go extender knows nothing of that.
    attempt: u16,
    offers: Vec<Value>,
}

/// Bodies of both requests for a pod, and the nodes that fit.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) filter: Vec<u8>,
    pub(crate) prioritize: Vec<u8>,
    pub(crate) fitting: Vec<String>,
}

impl Market {
    pub(crate) async fn make(client: &Client) -> anyhow::Result<Self> {
        let providers: Api<GpuProvider> = Api::all(client.clone());
        let mut offers = Vec::new();
        for number in 0..PROVIDERS {
            let (spec, status) = provider(number);
            let name = provider_name(number);
            let object = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider",
                "metadata": {"name": name}, "spec": spec});
            providers
                .create(&PostParams::default(), &serde_json::from_value(object)?)
                .await?;
            providers
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({"status": status})))
                .await?;
            offers.extend(go_offers(&name, &spec, &status));
        }
        let job_uid = make_job(client).await?;
        let attempt = (0..64).find(|attempt| !explores(&job_uid, 0, *attempt));
        Ok(Self {
            attempt: attempt.context("every attempt explores")?,
            job_uid,
            offers,
        })
    }

    /// For the Go extender.
    pub(crate) fn snapshot(&self) -> Value {
        json!({"Offers": self.offers, "Job": {
            "UID": self.job_uid, "Namespace": "default", "Gpus": 1, "Models": [], "Regions": [],
            "MemoryMebibytes": LEAST_MEBIBYTES, "PriceMicro": CAP_MICRO, "LatencyMicros": LATENCY_MICROS,
        }})
    }

    /// Requests about a pod with so many nodes. Few names are all fitting, as an attempt is pinned; all 5,000 are not.
    pub(crate) fn request(&self, names: usize) -> Request {
        let fits = |offer: &&Value| {
            let below = |field: &str, most| offer[field].as_u64().is_some_and(|value| value <= most);
            below("PriceMicro", CAP_MICRO)
                && below("LatencyP95Micros", LATENCY_MICROS)
                && !below("MemoryMebibytes", LEAST_MEBIBYTES - 1)
        };
        let node = |offer: &Value| offer["Node"].as_str().unwrap_or_default().to_owned();
        let fitting: Vec<String> = self.offers.iter().filter(fits).map(node).collect();
        if names < self.offers.len() {
            let step = fitting.len() / names;
            let few: Vec<String> = fitting.into_iter().step_by(step).take(names).collect();
            return self.bodies(&few, &few);
        }
        self.bodies(&self.offers.iter().map(node).collect::<Vec<_>>(), &fitting)
    }

    fn bodies(&self, all: &[String], fitting: &[String]) -> Request {
        let body = |names: &[String]| {
            let arguments = json!({"Pod": self.pod(), "Nodes": null, "NodeNames": names});
            arguments.to_string().into_bytes()
        };
        Request {
            filter: body(all),
            prioritize: body(fitting),
            fitting: fitting.to_vec(),
        }
    }

    /// A pod as kube-scheduler sends it, pinned to 16 candidates.
    fn pod(&self) -> Value {
        let term = |offer: &Value| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [offer["Node"]]}]});
        let terms: Vec<Value> = self.offers.iter().take(16).map(term).collect();
        let owner = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "name": "embed",
            "uid": self.job_uid, "controller": true, "blockOwnerDeletion": true});
        let container = json!({"name": "remote", "image": "spillway.invalid/remote", "imagePullPolicy": "IfNotPresent",
            "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"});
        let tolerations = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
            .map(|key| json!({"key": key, "operator": "Exists", "effect": "NoExecute"}));
        json!({
            "metadata": {
                "name": "embed-0-0", "namespace": "default", "uid": "3b0c7d4e-1f55-4a3e-9d4b-0d5a5f3d2b11",
                "resourceVersion": "123456", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {names::LABEL_SHARD: "0", names::LABEL_ATTEMPT: self.attempt.to_string(), names::LABEL_KIND: "work",
                    names::LABEL_JOB_NAME: "embed", names::LABEL_JOB_UID: self.job_uid},
                "ownerReferences": [owner],
            },
            "spec": {
                "containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "dnsPolicy": "ClusterFirst", "automountServiceAccountToken": false, "securityContext": {},
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                    {"nodeSelectorTerms": terms}}},
                "schedulerName": names::SCHEDULER_NAME, "tolerations": tolerations, "priority": 0,
                "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
            },
            "status": {"phase": "Pending", "qosClass": "BestEffort"},
        })
    }
}

fn provider_name(number: usize) -> String {
    format!("owner-{number:03}")
}

/// Prices, distances, products and records that differ; two thirds of the hosts fit the job.
fn provider(number: usize) -> (Value, Value) {
    let name = provider_name(number);
    let number = number as u64;
    let region = ["eu-west", "eu-north", "us-east", "us-west"][(number % 4) as usize];
    let spec = json!({"class": "Decentralized", "region": region, "payoutAddress": format!("0x{number:040x}")});
    let host = |host: usize| {
        let (product, memory) = PRODUCTS[host % PRODUCTS.len()];
        let host_name = format!("gpu-worker-{host:02}");
        json!({"name": host_name, "node": names::virtual_node(&name, &host_name), "product": product, "gpus": 8,
            "memoryMebibytes": memory, "computeCapability": "8.9"})
    };
    let ready = json!({"type": "Ready", "status": "True", "reason": "Offering", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let p95 = 5_000 + number * 1_171 % 125_000;
    let latency = json!({"to": "hub", "medianMicros": p95 / 2, "p95Micros": p95, "jitterMicros": 300, "samples": 64,
        "measuredAt": "2026-01-01T00:00:00Z"});
    let status = json!({
        "conditions": [ready], "unitPriceMicro": 400_000 + number * 7_919 % 1_200_000, "offerRevision": 1, "gpus": 400,
        "hosts": (0..HOSTS).map(host).collect::<Vec<_>>(), "latencies": [latency],
        "reputation": {"accepted": number * 3, "rejected": number % 7},
    });
    (spec, status)
}

fn go_offers(name: &str, spec: &Value, status: &Value) -> Vec<Value> {
    let count = |field: &str| status["reputation"][field].as_u64().unwrap_or_default();
    let reputation = spillway_core::reputation::Reputation::of(count("accepted"), count("rejected"));
    let reputation = reputation
        .known()
        .map_or(spillway_core::market::UNKNOWN_REPUTATION_TERM, |reputation| {
            reputation.lower_bound()
        });
    let offer = |host: &Value| {
        json!({"Node": host["node"], "Provider": name, "Class": spec["class"], "Region": spec["region"],
            "Product": host["product"], "MemoryMebibytes": host["memoryMebibytes"], "GpusTotal": host["gpus"],
            "GpusFree": host["gpus"], "PriceMicro": status["unitPriceMicro"],
            "LatencyP95Micros": status["latencies"][0]["p95Micros"], "Reputation": reputation, "Available": true})
    };
    status["hosts"].as_array().into_iter().flatten().map(offer).collect()
}

async fn make_job(client: &Client) -> anyhow::Result<String> {
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), "default");
    let job = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "metadata": {"name": "embed"}, "spec": {
        "engine": {"image": "engine:1"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
        "resources": {"gpus": 1, "minMemory": "24Gi"},
        "placement": {"policy": "Balanced", "maxLatency": {"to": "hub", "p95": "120ms"}},
        "price": {"maxPerGpuHour": "1.50", "budget": "5.00"},
    }});
    let made = jobs
        .create(&PostParams::default(), &serde_json::from_value(job)?)
        .await?;
    // What the operator writes when it accepts a job: without it the extender waits.
    let accepted = Patch::Merge(json!({"status": {"dataClass": "Public"}}));
    jobs.patch_status("embed", &PatchParams::default(), &accepted).await?;
    made.uid().context("a job without a UID")
}
