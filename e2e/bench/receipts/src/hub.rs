//! Jobs with accepted attempts, their stored receipts, a payer's SpendPolicy, and the processes that pay them.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::signer::Signer;
use serde_json::json;
use spillway_core::order::{Kind, Order, job_id};
use spillway_crds::names::SYSTEM_NAMESPACE;
use spillway_crds::{
    AttemptKind, InferenceJob, InferenceJobStatus, SettlementMode, SignedOrder, SpendPolicy, StoredReceipt,
};
use spillway_e2e_control_plane::ControlPlane;
use spillway_operator::accrual::{self, Accrual, BatchLimits, SealedAttempts};
use spillway_operator::dispatch::ChainPlace;
use spillway_operator::store::HubStore;
use spillway_process::Health;
use spillway_settlement::deploy::Mode;
use spillway_settlement::payers::Payers;
use spillway_settlement::poster::{Metrics, Poster};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{chain, marks};

const SHARDS_PER_JOB: u32 = 200;
const TENANT: &str = "team";
const ORDER_KEY: &str = "order-key";

#[derive(Debug)]
struct NoSigner;

#[async_trait::async_trait]
impl Signer for NoSigner {
    async fn signed_url(&self, _: reqwest::Method, _: &Path, _: Duration) -> object_store::Result<url::Url> {
        Err(object_store::Error::NotImplemented {
            operation: "signed_url".into(),
            implementer: "NoSigner".into(),
        })
    }
}

pub struct Ground {
    /// What the hub store holds.
    pub objects: Arc<InMemory>,
    store: HubStore,
    tenant: String,
    pub jobs: u32,
}

impl Ground {
    /// `receipts` accepted attempts, earned by `providers` addresses in turn.
    ///
    /// # Errors
    /// When the API server or the store refuses.
    pub async fn prepare(
        plane: &ControlPlane,
        chain: &chain::Ground,
        receipts: u32,
        providers: u8,
    ) -> anyhow::Result<Self> {
        let client = plane.client().await?;
        // The chart's rights; the namespace comes with them.
        plane.apply_chart_objects("spillway-operator").await?;
        plane.apply_chart_objects("spillway-settlement").await?;
        let tenant = plane.namespace(TENANT).await?;
        policy(&client, chain).await?;
        order_key(&client, chain).await?;
        let objects = Arc::new(InMemory::new());
        let store = HubStore::new(
            objects.clone(),
            Arc::new(NoSigner),
            Path::default(),
            "store:1".to_owned(),
        );
        let jobs = receipts.div_ceil(SHARDS_PER_JOB);
        let maker = Maker {
            jobs: Api::namespaced(client, &tenant),
            store: store.clone(),
            payer: chain.deployed.payer,
            contract: chain.deployed.contract,
            providers: providers.max(1),
        };
        for number in 0..jobs {
            let shards = SHARDS_PER_JOB.min(receipts - number * SHARDS_PER_JOB);
            maker.job(number, shards).await?;
        }
        Ok(Self {
            objects,
            store,
            tenant,
            jobs,
        })
    }

    /// Accrual with the operator's rights, poster and payers' facts with the settlement process's; all end when the set
    /// is dropped.
    ///
    /// # Errors
    /// When a process does not start.
    pub async fn run(
        &self,
        plane: &ControlPlane,
        chain: &chain::Ground,
        batch_leaves: usize,
    ) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
        let (token, mut running) = (CancellationToken::new(), JoinSet::new());
        let operator = plane.chart_client("spillway-operator").await?;
        let settlement = plane.chart_client("spillway-settlement").await?;
        let place = ChainPlace {
            chain_id: chain::CHAIN_ID,
            contract: chain.deployed.contract,
        };
        let limits = BatchLimits {
            leaves: batch_leaves,
            oldest: SignedDuration::from_secs(2),
            ..BatchLimits::default()
        };
        let sealed = Arc::new(SealedAttempts::default());
        let accrual = Accrual::new(
            operator,
            SYSTEM_NAMESPACE,
            self.store.clone(),
            place,
            limits,
            sealed.clone(),
        )
        .in_mode(match chain.mode {
            Mode::Ledger => SettlementMode::Ledger,
            Mode::Root => SettlementMode::Root,
        });
        running.spawn(accrual::run(accrual, token.clone()));

        let metrics = Metrics::new(&prometheus::Registry::new())?;
        let reached = chain.counted()?;
        reached.check().await?;
        let payers = Payers::new(settlement.clone(), reached.clone());
        running.spawn(payers.run(token.clone()));
        let mut poster = Poster::new(
            settlement,
            SYSTEM_NAMESPACE,
            reached,
            chain.poster.clone().into(),
            metrics,
        );
        poster.interval = Duration::from_secs(1);
        running.spawn(poster.run(Health::default(), token));
        running.spawn(marks::run(
            plane.client().await?,
            self.tenant.clone(),
            self.store.clone(),
            sealed,
        ));
        Ok(running)
    }
}

async fn policy(client: &Client, chain: &chain::Ground) -> anyhow::Result<()> {
    let policies: Api<SpendPolicy> = Api::all(client.clone());
    let policy = json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "SpendPolicy", "metadata": {"name": "bench"},
        "spec": {
            "namespaces": [TENANT], "payer": chain.deployed.payer, "limits": {"perJob": "1000", "perDay": "1000000"},
            "orderSigningKey": {"address": chain.order_key.address(), "secretRef": ORDER_KEY},
        },
    });
    policies
        .create(&PostParams::default(), &serde_json::from_value(policy)?)
        .await?;
    Ok(())
}

async fn order_key(client: &Client, chain: &chain::Ground) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": ORDER_KEY},
        "stringData": {"key": chain.order_key.to_bytes().to_string()},
    });
    secrets
        .create(&PostParams::default(), &serde_json::from_value(secret)?)
        .await?;
    Ok(())
}

/// Payout address of the provider with this number, from 0.
pub fn payout(number: u32) -> Address {
    Address::left_padding_from(&(number + 1).to_be_bytes())
}

/// Writes jobs as if their attempts had been accepted.
struct Maker {
    jobs: Api<InferenceJob>,
    store: HubStore,
    payer: Address,
    contract: Address,
    providers: u8,
}

impl Maker {
    async fn job(&self, number: u32, shards: u32) -> anyhow::Result<()> {
        let name = format!("bench-{number:05}");
        let spec = json!({
            "metadata": {"name": name},
            "spec": {
                "engine": {"image": "engine"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
                "price": {"maxPerGpuHour": "2", "budget": "1000"},
            },
        });
        let mut job = self
            .jobs
            .create(&PostParams::default(), &serde_json::from_value(spec)?)
            .await?;
        let uid = job.uid().context("a job without a UID")?;
        let shards: Vec<_> = (0..shards).map(|shard| self.shard(shard)).collect();
        let status: InferenceJobStatus = serde_json::from_value(json!({
            "payer": {"spendPolicy": "bench", "address": self.payer}, "shards": shards,
        }))?;
        for shard in &status.shards {
            self.receipt(&uid, &shard.attempts[0], shard.index).await?;
        }
        job.status = Some(status);
        self.jobs.replace_status(&name, &PostParams::default(), &job).await?;
        Ok(())
    }

    fn provider(&self, shard: u32) -> Address {
        payout(shard % u32::from(self.providers))
    }

    fn shard(&self, shard: u32) -> serde_json::Value {
        let digest = format!("sha256:{}", "0".repeat(64));
        let amount = 10_000 + shard;
        json!({
            "index": shard, "state": "Accepted", "inputDigest": digest, "inputBytes": 1, "requests": 1,
            "acceptedAttempt": 0, "attempts": [{
                "number": 0, "kind": "Work", "state": "Completed", "provider": "bench", "payout": self.provider(shard),
                "unitPriceMicro": 3_600_000, "upperBoundMicro": 60_000, "orderExpiry": 1_900_000_000,
                "finishedAt": Timestamp::now(), "amountMicro": amount,
                "receipt": {
                    "inputDigest": digest, "outputDigest": digest, "outputBytes": 1, "requests": 1, "failedRequests": 0,
                    "started": 1_767_225_600, "finished": 1_767_225_630, "meteredMillis": amount, "promptTokens": 0,
                    "completionTokens": 0, "signature": format!("0x{}", "00".repeat(65)),
                },
                "verdict": {"accepted": true, "method": "ExactDigest", "message": ""},
            }],
        })
    }

    /// What acceptance stores; the order's signature was checked then and is not looked at again.
    async fn receipt(&self, uid: &str, attempt: &spillway_crds::AttemptStatus, shard: u32) -> anyhow::Result<()> {
        let order = Order {
            job: job_id(uid),
            shard,
            attempt: 0,
            kind: Kind::Work.code(),
            payer: self.payer,
            provider: self.provider(shard),
            unitPrice: 3_600_000,
            upperBound: 60_000,
            expiry: 1_900_000_000,
        };
        let stored = StoredReceipt {
            version: StoredReceipt::VERSION,
            job_uid: uid.to_owned(),
            shard,
            attempt: 0,
            kind: AttemptKind::Work,
            provider: "bench".to_owned(),
            order: SignedOrder::new(chain::CHAIN_ID, self.contract, &order, &[0; 65])?,
            receipt: *attempt.receipt.clone().context("an attempt without a receipt")?,
            amount_micro: attempt.amount_micro.unwrap_or_default(),
        };
        let key = StoredReceipt::key(uid, shard, 0);
        self.store.put(&key, serde_json::to_vec(&stored)?).await?;
        Ok(())
    }
}
