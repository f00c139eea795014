//! The binary against a real API server, as a tenant with the chart's roles: what it says, and how it ends.

// clippy's leave for tests covers test functions, not what they call.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use spillway_crds::{GpuProvider, InferenceJob, SpendPolicy, WorkAssignment, names};
use spillway_e2e_control_plane::{ADMIN_TOKEN, ControlPlane};

const TEAM: &str = "team-a";

struct Hub {
    plane: ControlPlane,
    admin: Client,
    folder: tempfile::TempDir,
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn provider(name: &str, digit: char) -> GpuProvider {
    parse(json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider", "metadata": {"name": name},
        "spec": {"class": "Decentralized", "region": "eu", "payoutAddress": format!("0x{}", digit.to_string().repeat(40))},
    }))
}

fn facts(name: &str, price: &str, micro: u64, ready: bool) -> Value {
    let (status, reason) = if ready {
        ("True", "Offering")
    } else {
        ("False", "HeartbeatSilent")
    };
    json!({"status": {
        "gpus": 2, "pricePerGpuHour": price, "unitPriceMicro": micro, "offerRevision": 1,
        "hosts": [{"name": "host", "node": names::virtual_node(name, "host"), "product": "NVIDIA-L4", "gpus": 2, "memoryMebibytes": 23034}],
        "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "said by the test", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }})
}

fn job(name: &str, price: &str) -> Value {
    let line = |id: u32| format!(r#"{{"custom_id":"r{id}","method":"POST","url":"/v1/embeddings","body":{{}}}}"#);
    let lines: Vec<String> = (0..60).map(line).collect();
    json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "metadata": {"name": name, "namespace": TEAM},
        "spec": {
            "engine": {"image": "engine:1"}, "input": {"inline": lines.join("\n")}, "output": {"uri": "s3://out/"},
            "price": {"maxPerGpuHour": price, "budget": "5.00"}, "execution": {"shardTimeout": "10m"},
        },
    })
}

impl Hub {
    async fn start() -> Self {
        let plane = ControlPlane::start().await.unwrap();
        let admin = plane.client().await.unwrap();
        let hub = Self {
            plane,
            admin,
            folder: tempfile::tempdir().unwrap(),
        };
        hub.create_namespace(TEAM).await;
        for (name, digit, price, micro, ready) in [
            ("a", '1', "0.90", 900_000, true),
            ("b", '2', "1.10", 1_100_000, true),
            ("c", '3', "0.50", 500_000, false),
        ] {
            hub.offer(provider(name, digit), facts(name, price, micro, ready)).await;
        }
        hub
    }

    async fn create_namespace(&self, name: &str) {
        let namespace: Namespace = parse(json!({"metadata": {"name": name}}));
        let api: Api<Namespace> = Api::all(self.admin.clone());
        api.create(&PostParams::default(), &namespace).await.unwrap();
    }

    async fn offer(&self, provider: GpuProvider, facts: Value) {
        let api: Api<GpuProvider> = Api::all(self.admin.clone());
        let name = provider.metadata.name.clone().unwrap();
        api.create(&PostParams::default(), &provider).await.unwrap();
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(facts))
            .await
            .unwrap();
    }

    async fn policy(&self, per_job: &str) {
        let policy: SpendPolicy = parse(json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "SpendPolicy", "metadata": {"name": "team-a"},
            "spec": {
                "namespaces": [TEAM], "payer": format!("0x{}", "a".repeat(40)),
                "limits": {"perJob": per_job, "perDay": "100"},
                "orderSigningKey": {"address": format!("0x{}", "b".repeat(40)), "secretRef": "order-key"},
            },
        }));
        let api: Api<SpendPolicy> = Api::all(self.admin.clone());
        api.create(&PostParams::default(), &policy).await.unwrap();
    }

    /// A job of another team holds a GPU of provider a.
    async fn hold_one_gpu(&self) {
        let namespace = names::provider_namespace("a");
        self.create_namespace(&namespace).await;
        let assignment: WorkAssignment = parse(json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "WorkAssignment", "metadata": {"name": "held"},
            "spec": {
                "job": {"namespace": "team-b", "name": "embed", "uid": "uid-1"}, "shard": 0, "attempt": 0, "kind": "Work",
                "host": "host", "engine": {"image": "engine:1"}, "gpus": 1, "cpu": "1", "memory": "1Gi",
                "input": {"digest": "sha256:0", "bytes": 1, "requests": 1},
                "order": {"chainId": 1, "contract": "0x0", "payer": "0x0", "provider": "0x0", "unitPriceMicro": 1, "upperBoundMicro": 1, "expiry": 1, "signature": "0x"},
                "sealed": {"encapsulatedKey": "", "ciphertext": ""}, "egress": [], "notAfter": "2027-01-01T00:00:00Z",
            },
        }));
        let api: Api<WorkAssignment> = Api::namespaced(self.admin.clone(), &namespace);
        api.create(&PostParams::default(), &assignment).await.unwrap();
    }

    async fn tenant(&self) -> String {
        for role in [
            "spillway-edit",
            "spillway-view",
            "spillway-market-view",
            "spillway-capacity-view",
        ] {
            self.plane.apply_chart_objects(role).await.unwrap();
        }
        let account: ServiceAccount = parse(json!({"metadata": {"name": "tenant"}}));
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), TEAM);
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), TEAM);
        for role in ["spillway-edit", "spillway-view"] {
            bindings
                .create(&PostParams::default(), &parse(binding("RoleBinding", role)))
                .await
                .unwrap();
        }
        self.plane.service_account_token(TEAM, "tenant").await.unwrap()
    }

    async fn grant(&self, role: &str) {
        let bindings: Api<ClusterRoleBinding> = Api::all(self.admin.clone());
        bindings
            .create(&PostParams::default(), &parse(binding("ClusterRoleBinding", role)))
            .await
            .unwrap();
    }

    fn file(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path
    }

    fn run(&self, token: &str, arguments: &[&str]) -> Output {
        let kubeconfig = serde_json::to_value(self.plane.kubeconfig(token).unwrap()).unwrap();
        let kubeconfig = self.file("kubeconfig", &kubeconfig);
        Command::new(env!("CARGO_BIN_EXE_kubectl-spillway"))
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .output()
            .unwrap()
    }

    fn plan(&self, token: &str, job: &Value, further: &[&str]) -> (Output, Value) {
        let file = self.file("job.yaml", job);
        let file = Path::to_str(&file).unwrap();
        let output = self.run(token, &[&["plan", "-f", file, "-o", "json"], further].concat());
        let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output, value)
    }
}

fn binding(kind: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": TEAM}],
    })
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn offers_are_the_live_market_as_far_as_rights_go() {
    let hub = Hub::start().await;
    hub.hold_one_gpu().await;
    let tenant = hub.tenant().await;
    let refused = hub.run(&tenant, &["offers"]);
    assert_eq!(code(&refused), 1);
    assert!(text(&refused).contains("spillway-market-view"), "{}", text(&refused));

    hub.grant("spillway-market-view").await;
    let listed = hub.run(&tenant, &["offers", "-o", "json"]);
    assert_eq!(code(&listed), 0, "{}", text(&listed));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let column = |path: &str| -> Vec<Value> {
        let offers = listed["offers"].as_array().unwrap();
        offers
            .iter()
            .map(|offer| offer.pointer(path).unwrap().clone())
            .collect()
    };
    assert_eq!(column("/provider"), ["c", "a", "b"], "cheapest first");
    assert_eq!(
        column("/gpus/free"),
        [Value::Null, Value::Null, Value::Null],
        "not known is not zero"
    );
    assert_eq!(column("/ready"), [false, true, true]);
    assert_eq!(column("/reason"), ["HeartbeatSilent", "Offering", "Offering"]);
    let unknown = hub.run(&tenant, &["offers", "--free"]);
    assert_eq!(code(&unknown), 1);
    assert!(text(&unknown).contains("spillway-capacity-view"), "{}", text(&unknown));

    hub.grant("spillway-capacity-view").await;
    let free = hub.run(&tenant, &["offers", "--free", "--model", "l4", "--max-price", "1.00"]);
    assert_eq!(code(&free), 0, "{}", text(&free));
    let row = String::from_utf8_lossy(&free.stdout)
        .lines()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    assert!(
        row.starts_with('a') && row.contains("1/2") && row.contains("0.90"),
        "{}",
        text(&free)
    );
    let none = hub.run(&tenant, &["offers", "--model", "h100"]);
    assert_eq!(code(&none), 0);
    assert!(text(&none).contains("0 of 3 offers"), "{}", text(&none));
    assert_eq!(code(&hub.run(&tenant, &["offers", "--max-price", "cheap"])), 2);
}

#[tokio::test]
async fn a_plan_says_what_would_happen_and_ends_accordingly() {
    let hub = Hub::start().await;
    let (unpaid, forecast) = hub.plan(ADMIN_TOKEN, &job("hello", "1.20"), &[]);
    assert_eq!(code(&unpaid), 3, "{}", text(&unpaid));
    assert_eq!(forecast["problems"][0]["kind"], "NoSpendPolicy");

    hub.policy("10").await;
    let tenant = hub.tenant().await;
    hub.grant("spillway-market-view").await;
    let (good, forecast) = hub.plan(&tenant, &job("hello", "1.20"), &["--shard-time", "2m"]);
    assert_eq!(code(&good), 0, "{}", text(&good));
    assert_eq!(forecast["input"], json!({"shards": 3, "requests": 60}));
    assert_eq!(forecast["estimate"]["checks"], 3);
    assert_eq!(
        forecast["estimate"]["attemptBoundMicro"], 183_334,
        "1.10 for ten minutes"
    );
    // Two shards at 0.90 and one at 1.10, checked by the other owner, for two minutes each.
    assert_eq!(forecast["estimate"]["expected"]["costMicro"], 200_001);
    assert_eq!(forecast["candidates"].as_array().unwrap().len(), 2);
    assert_eq!(forecast["allowance"]["todayMicro"], 0);
    let jobs: Api<InferenceJob> = Api::namespaced(hub.admin.clone(), TEAM);
    assert!(jobs.get_opt("hello").await.unwrap().is_none(), "nothing was submitted");

    let (dear, forecast) = hub.plan(&tenant, &job("hello", "1.20"), &["--shard-time", "10h"]);
    assert_eq!(code(&dear), 3, "{}", text(&dear));
    assert_eq!(forecast["problems"][0]["kind"], "OverBudget");

    let (unmet, forecast) = hub.plan(&tenant, &job("hello", "0.80"), &[]);
    assert_eq!(code(&unmet), 4, "{}", text(&unmet));
    let raise = json!({"field": "spec.price.maxPerGpuHour", "action": "Raise", "from": "0.80", "to": "0.90"});
    assert_eq!(forecast["placement"]["change"]["fields"], json!([raise]));

    let (alone, forecast) = hub.plan(&tenant, &job("hello", "1.00"), &[]);
    assert_eq!(code(&alone), 4, "{}", text(&alone));
    assert_eq!(forecast["problems"][0]["kind"], "NoSecondOwner");
}

#[tokio::test]
async fn an_invalid_manifest_is_answered_with_field_and_fix() {
    let hub = Hub::start().await;
    let changed = |path: &str, value: Value| {
        let mut job = job("hello", "1.20");
        let (parent, key) = path.rsplit_once('/').unwrap();
        job.pointer_mut(parent).unwrap()[key] = value;
        job
    };
    let cases = [
        (
            changed("/spec/price/maxPerGpuHour", json!("1,20")),
            "spec.price.maxPerGpuHour",
        ),
        (
            changed("/spec/price/maxPerGPUHour", json!("1.20")),
            "spec.price.maxPerGPUHour",
        ),
        (changed("/spec/input/inline", json!("not JSON")), "spec.input.inline"),
        (changed("/spec/data", json!({"secretTier": 2})), "spec.data.secretTier"),
        (changed("/metadata/namespace", json!("nowhere")), "metadata.namespace"),
        (changed("/kind", json!("Job")), "kind"),
    ];
    for (job, field) in cases {
        let (output, answer) = hub.plan(ADMIN_TOKEN, &job, &[]);
        assert_eq!(code(&output), 2, "{field}: {}", text(&output));
        assert_eq!(answer["faults"][0]["field"], field, "{}", text(&output));
        assert_ne!(answer["faults"][0]["message"], "");
    }
    assert_eq!(code(&hub.run(ADMIN_TOKEN, &["plan", "-f", "/nowhere.yaml"])), 1);
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// Status of a job whose one shard waits.
fn pending(placeable: &Value) -> Value {
    json!({"status": {
        "phase": "Pending", "summary": {"total": 1, "pending": 1, "running": 0, "verifying": 0, "accepted": 0, "failed": 0},
        "shards": [{"index": 0, "state": "Pending", "inputDigest": "", "inputBytes": 1, "requests": 60}],
        "usage": {"requests": 0, "failedRequests": 0, "promptTokens": 0, "completionTokens": 0, "gpuMillis": 0},
        "cost": {"reservedMicro": 0, "workMicro": 0, "checksMicro": 0},
        "placement": {"message": "0 of 3 offers fit", "offers": 3, "fitting": 0, "excluded": {"Price": 2, "Unavailable": 1},
            "change": {"message": "raise it", "fitting": 1, "fields": []}},
        "conditions": [condition("Accepted", "True", "Accepted", ""), condition("Split", "True", "Split", ""), placeable],
    }})
}

#[tokio::test]
async fn why_names_the_smallest_change_and_who_holds_the_gpus() {
    let hub = Hub::start().await;
    hub.hold_one_gpu().await;
    let jobs: Api<InferenceJob> = Api::namespaced(hub.admin.clone(), TEAM);
    jobs.create(&PostParams::default(), &parse(job("hello", "0.80")))
        .await
        .unwrap();
    let why = |token: &str, further: &[&str]| hub.run(token, &[&["why", "hello", "-n", TEAM], further].concat());
    assert!(text(&why(ADMIN_TOKEN, &[])).contains("NotSeen"));

    let write = async |placeable: Value| {
        let patch = Patch::Merge(pending(&placeable));
        jobs.patch_status("hello", &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    write(condition(
        "Placeable",
        "False",
        "NoOfferFits",
        "0 of 3 offers fit: 2 over the price cap",
    ))
    .await;
    let tenant = hub.tenant().await;
    let recorded = text(&why(&tenant, &[]));
    assert!(
        recorded.contains("Smallest change: raise it") && recorded.contains("spillway-market-view"),
        "{recorded}"
    );

    hub.grant("spillway-market-view").await;
    let live = text(&why(&tenant, &[]));
    assert!(
        live.contains("raise spec.price.maxPerGpuHour from 0.80 to 0.90: 1 offer fits then"),
        "{live}"
    );
    assert!(live.contains("kubectl delete inferencejob hello -n team-a"), "{live}");
    assert!(live.contains("over the price cap of 0.80 per GPU-hour"), "{live}");

    jobs.delete("hello", &Default::default()).await.unwrap();
    jobs.create(&PostParams::default(), &parse(job("hello", "1.00")))
        .await
        .unwrap();
    write(condition(
        "Placeable",
        "True",
        "Queued",
        "1 offers fit, all of their GPUs are busy",
    ))
    .await;
    let answer = why(ADMIN_TOKEN, &["-o", "json"]);
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer["state"], "Queued");
    assert_eq!(answer["now"]["holders"], json!([{"job": "team-b/embed", "gpus": 1}]));
    assert_eq!(
        (&answer["now"]["fitting"], &answer["now"]["free"]),
        (&json!(1), &json!(1))
    );
    let shard = why(&tenant, &["--shard", "7"]);
    assert_eq!(code(&shard), 1);
    assert!(
        text(&shard).contains("--shard 7: the job has 1 shards"),
        "{}",
        text(&shard)
    );
}
