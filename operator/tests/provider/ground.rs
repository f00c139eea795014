//! A hub whose provider controller runs with the rights of the chart, and agents that the tests play.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use spillway_crds::{GpuProvider, ProviderInventory, WorkAssignment, names};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_operator::provider::Probing;
use spillway_probe::Reach;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const SIGNER: &str = "0x2222222222222222222222222222222222222222";

pub(crate) struct Hub {
    pub(crate) plane: ControlPlane,
    pub(crate) admin: Client,
    _operator: JoinSet<anyhow::Result<()>>,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        // RUST_LOG=warn says why something was not applied.
        spillway_process::init_telemetry();
        let plane = ControlPlane::start().await.unwrap();
        let operator = plane.chart_client("spillway-operator").await.unwrap();
        plane.apply_chart_objects("spillway-agent-tokens").await.unwrap();
        let mut tasks = JoinSet::new();
        let probing = Probing {
            named: vec![
                format!("next-door={}", plane.url().trim_start_matches("https://"))
                    .parse()
                    .unwrap(),
            ],
            reach: Reach::Anywhere,
        };
        tasks.spawn(spillway_operator::provider::run(
            operator,
            probing,
            CancellationToken::new(),
        ));
        let admin = plane.client().await.unwrap();
        Self {
            plane,
            admin,
            _operator: tasks,
        }
    }

    pub(crate) fn providers(&self) -> Api<GpuProvider> {
        Api::all(self.admin.clone())
    }

    pub(crate) fn of<K>(&self, provider: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), &names::provider_namespace(provider))
    }

    /// Registers a provider and waits for the Secret that its join token is bound to, as `join-token` does.
    pub(crate) async fn register(&self, provider: &str) -> Secret {
        let object = json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider", "metadata": {"name": provider},
            "spec": {
                "class": "Decentralized", "region": "eu",
                "payoutAddress": "0x1111111111111111111111111111111111111111",
            },
        });
        let object = serde_json::from_value(object).unwrap();
        self.providers().create(&PostParams::default(), &object).await.unwrap();
        self.join_secret(provider).await
    }

    pub(crate) async fn join_secret(&self, provider: &str) -> Secret {
        let secrets: Api<Secret> = self.of(provider);
        eventually("the join Secret and all after it", LIMIT, || async {
            let inventory: Api<ProviderInventory> = self.of(provider);
            inventory.get_opt(names::INVENTORY_NAME).await.ok()??;
            secrets.get_opt(names::JOIN_SECRET).await.ok()?
        })
        .await
        .unwrap()
    }

    pub(crate) async fn join_client(&self, provider: &str) -> Client {
        let token = mint(&self.admin, provider, names::JOIN_SERVICE_ACCOUNT, names::JOIN_SECRET);
        self.plane.client_with_token(&token.await.unwrap()).await.unwrap()
    }

    /// An agent that uses its join token, and nothing else yet.
    pub(crate) async fn agent(&self, provider: &str) -> Agent {
        let join = self.join_client(provider).await;
        let token = mint(&join, provider, names::AGENT_SERVICE_ACCOUNT, names::AGENT_SECRET)
            .await
            .unwrap();
        let client = self.plane.client_with_token(&token).await.unwrap();
        Agent {
            provider: provider.to_owned(),
            client,
            heart: JoinSet::new(),
        }
    }

    /// A provider with one host of two GPUs whose heart beats.
    pub(crate) async fn joined(&self, provider: &str) -> Agent {
        self.register(provider).await;
        let mut agent = self.agent(provider).await;
        agent.claim(SIGNER).await;
        agent.beat();
        self.condition(provider, "Ready", "Offering").await;
        agent
    }

    /// Waits until the condition has that reason.
    pub(crate) async fn condition(&self, provider: &str, kind: &str, reason: &str) -> GpuProvider {
        eventually(&format!("{provider} {kind}: {reason}"), LIMIT, || async {
            let found = self.providers().get(provider).await.ok()?;
            let conditions = &found.status.as_ref()?.conditions;
            let holds = conditions.iter().any(|one| one.type_ == kind && one.reason == reason);
            holds.then_some(found)
        })
        .await
        .unwrap()
    }

    pub(crate) async fn assign(&self, provider: &str) -> WorkAssignment {
        let digest = format!("sha256:{}", "a".repeat(64));
        let address = "0x00000000000000000000000000000000000000aa";
        let assignment = json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "WorkAssignment",
            "metadata": {"name": "assignment"},
            "spec": {
                "job": {"namespace": "team", "name": "embed", "uid": "99999999-8888-7777-6666-555555555555"},
                "shard": 0, "attempt": 0, "kind": "Work", "host": "gpu0",
                "engine": {"image": "engine"}, "gpus": 1, "cpu": "1", "memory": "1Gi",
                "input": {"digest": digest, "bytes": 1, "requests": 1},
                "order": {
                    "chainId": 31337, "contract": address, "payer": address, "provider": address,
                    "unitPriceMicro": 1, "upperBoundMicro": 1, "expiry": 1, "signature": "0x",
                },
                "sealed": {"encapsulatedKey": "", "ciphertext": ""},
                "egress": [], "notAfter": "2030-01-01T00:00:00Z",
            },
        });
        let assignment = serde_json::from_value(assignment).unwrap();
        self.of(provider)
            .create(&PostParams::default(), &assignment)
            .await
            .unwrap()
    }
}

/// A token of `account` in the provider's namespace, bound to `secret`.
pub(crate) async fn mint(client: &Client, provider: &str, account: &str, secret: &str) -> kube::Result<String> {
    mint_for(client, provider, account, Some(secret), 3600).await
}

/// A token of `account` that lives `seconds`, bound to a Secret or to nothing.
pub(crate) async fn mint_for(
    client: &Client,
    provider: &str,
    account: &str,
    secret: Option<&str>,
    seconds: i64,
) -> kube::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &names::provider_namespace(provider));
    let bound = secret.map(|secret| BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some(secret.to_owned()),
        uid: None,
    });
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            bound_object_ref: bound,
            expiration_seconds: Some(seconds),
            audiences: None,
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await?;
    Ok(answer.status.unwrap().token.unwrap())
}

pub(crate) struct Agent {
    provider: String,
    pub(crate) client: Client,
    heart: JoinSet<()>,
}

impl Agent {
    /// Says in the inventory what it has, with `signer` as its key for receipts.
    pub(crate) async fn claim(&self, signer: &str) {
        let host = json!({
            "name": "gpu0", "product": "NVIDIA-L4", "gpus": 2, "memoryMebibytes": 24576,
            "computeCapability": "8.9", "cpuMillis": 8000, "mainMemoryMebibytes": 65536,
        });
        let spec = json!({
            "agentVersion": "0.1.0", "receiptSigner": signer, "sealingKey": "key",
            "pricePerGpuHour": "0.90", "hosts": [host],
        });
        let inventories: Api<ProviderInventory> =
            Api::namespaced(self.client.clone(), &names::provider_namespace(&self.provider));
        let patch = Patch::Merge(json!({"spec": spec}));
        inventories
            .patch(names::INVENTORY_NAME, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Renews the heartbeat Lease until dropped, or until the hub refuses.
    pub(crate) fn beat(&mut self) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &names::provider_namespace(&self.provider));
        self.heart.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                let spec: Value = json!({"holderIdentity": "agent", "renewTime": MicroTime(Timestamp::now())});
                let patch = Patch::Merge(json!({"spec": spec}));
                if leases
                    .patch(names::HEARTBEAT_LEASE, &PatchParams::default(), &patch)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }

    /// Claims one distance to the hub.
    pub(crate) async fn claim_distance(&self, milliseconds: u64) {
        let micros = milliseconds * 1_000;
        let claim = json!({
            "to": "hub", "medianMicros": micros, "p95Micros": micros, "jitterMicros": 0, "samples": 64,
            "measuredAt": Timestamp::now().to_string(),
        });
        let inventories: Api<ProviderInventory> =
            Api::namespaced(self.client.clone(), &names::provider_namespace(&self.provider));
        let patch = Patch::Merge(json!({"spec": {"latencies": [claim]}}));
        inventories
            .patch(names::INVENTORY_NAME, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Answers pings as an agent that is so far away, until dropped.
    pub(crate) fn answer_pings(&mut self, distance: Duration) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &names::provider_namespace(&self.provider));
        self.heart.spawn(async move {
            let only = watcher::Config::default().fields(&format!("metadata.name={}", names::PING_LEASE));
            let mut seen = std::pin::pin!(watcher::watcher(leases.clone(), only).touched_objects());
            while let Some(Ok(lease)) = seen.next().await {
                let annotation = |name: &str| lease.annotations().get(name).cloned();
                let Some(ping) = annotation(names::PING_ANNOTATION) else {
                    continue;
                };
                if annotation(names::PONG_ANNOTATION).as_ref() == Some(&ping) {
                    continue;
                }
                tokio::time::sleep(distance).await;
                let patch = Patch::Merge(json!({"metadata": {"annotations": {names::PONG_ANNOTATION: ping}}}));
                if leases
                    .patch(names::PING_LEASE, &PatchParams::default(), &patch)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
}
