//! The accrual loop: observe, plan, apply, every few seconds, on the leader alone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use spillway_core::batch::{DocumentError, Leaf, SealError, Sealed, seal};
use spillway_crds::money::ConversionError;
use spillway_crds::{InferenceJob, Settlement, SettlementSpec, names};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::plan::{BatchLimits, Observed, OpenSettlement, Payable, Plan, accrue};
use super::sealed::{SealedAttempts, payables};
use crate::dispatch::ChainPlace;
use crate::keys;
use crate::store::{HubStore, StoreError};
use crate::verification::{RecordError, stored_receipt};

const PERIOD: Duration = Duration::from_secs(5);
/// A job's status may have hundreds of KiB.
const JOBS_PER_PAGE: u32 = 50;

#[derive(Debug, thiserror::Error)]
pub enum AccrualError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("leaves document {0} is not the one that was sealed")]
    Altered(String),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("settlement {0}: spec.headerHash is not a hash")]
    HeaderHash(u64),
    #[error("settlement {0} was there and is not: nothing is sealed until it is restored")]
    Missing(u64),
    #[error("sealing failed")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Spec(#[from] ConversionError),
}

/// What the loop needs; `sealed` is shared with the job controller.
#[derive(Debug)]
pub struct Accrual {
    store: HubStore,
    place: ChainPlace,
    limits: BatchLimits,
    sealed: Arc<SealedAttempts>,
    jobs: Api<InferenceJob>,
    settlements: Api<Settlement>,
    /// Highest sequence seen; later ones are found by name.
    highest: Mutex<Option<u64>>,
}

/// Runs until cancelled; a failed pass is logged and tried again.
///
/// # Errors
/// None today: every failure of a pass passes.
pub async fn run(accrual: Accrual, cancelled: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            _ = ticks.tick() => {},
        }
        match accrual.pass(Timestamp::now()).await {
            Ok(plan) => tracing::debug!(%plan, "accrual"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "accrual pass failed"),
        }
    }
}

impl Accrual {
    /// `namespace` is where Settlements live.
    pub fn new(
        client: Client,
        namespace: &str,
        store: HubStore,
        place: ChainPlace,
        limits: BatchLimits,
        sealed: Arc<SealedAttempts>,
    ) -> Self {
        let settlements = Api::namespaced(client.clone(), namespace);
        Self {
            store,
            place,
            limits,
            sealed,
            jobs: Api::all(client),
            settlements,
            highest: Mutex::new(None),
        }
    }

    /// One pass; returns what it did.
    ///
    /// # Errors
    /// Whatever could not be read or written; the next pass starts anew.
    pub async fn pass(&self, now: Timestamp) -> Result<Plan, AccrualError> {
        let observed = self.observe().await?;
        let plan = accrue(&observed, &self.limits, now);
        self.apply(&plan).await?;
        Ok(plan)
    }

    /// Settlements first, jobs second: see the module's page.
    async fn observe(&self) -> Result<Observed, AccrualError> {
        let newest = match self.newest().await? {
            Some(settlement) => Some(self.open(&settlement).await?),
            None => None,
        };
        Ok(Observed {
            newest,
            payable: self.payable().await?,
        })
    }

    async fn newest(&self) -> Result<Option<Settlement>, AccrualError> {
        let mut highest = self.highest.lock().await;
        if highest.is_none() {
            *highest = self.highest_listed().await?;
        }
        let mut newest = match *highest {
            Some(sequence) => Some(self.existing(sequence).await?),
            None => None,
        };
        loop {
            let next = highest.unwrap_or(0) + 1;
            let Some(found) = self.settlements.get_opt(&names::settlement(next)).await? else {
                return Ok(newest);
            };
            *highest = Some(next);
            newest = Some(found);
        }
    }

    async fn existing(&self, sequence: u64) -> Result<Settlement, AccrualError> {
        let found = self.settlements.get_opt(&names::settlement(sequence)).await?;
        found.ok_or(AccrualError::Missing(sequence))
    }

    async fn highest_listed(&self) -> Result<Option<u64>, AccrualError> {
        let listed = self.settlements.list_metadata(&ListParams::default()).await?;
        let sequence = |name: &str| name.strip_prefix("settlement-").and_then(|number| number.parse().ok());
        Ok(listed
            .items
            .iter()
            .filter_map(|item| item.metadata.name.as_deref().and_then(sequence))
            .max())
    }

    async fn open(&self, settlement: &Settlement) -> Result<OpenSettlement, AccrualError> {
        let SettlementSpec {
            sequence,
            ref header_hash,
            ..
        } = settlement.spec;
        let recorded = settlement.status.as_ref().is_some_and(|status| status.recorded);
        let leaves = if recorded {
            Default::default()
        } else {
            self.sealed.of(&self.store, settlement).await?.into_keys().collect()
        };
        let header_hash = header_hash.parse().map_err(|_| AccrualError::HeaderHash(sequence))?;
        Ok(OpenSettlement {
            sequence,
            header_hash,
            recorded,
            leaves,
        })
    }

    /// Pages of one snapshot, read from etcd, not from a watch cache.
    async fn payable(&self) -> Result<Vec<Payable>, AccrualError> {
        let mut page = ListParams::default().limit(JOBS_PER_PAGE);
        let mut found = Vec::new();
        loop {
            let listed = self.jobs.list(&page).await?;
            found.extend(listed.items.iter().flat_map(payables));
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    async fn apply(&self, plan: &Plan) -> Result<(), AccrualError> {
        match plan {
            Plan::Idle | Plan::Gather { .. } => Ok(()),
            Plan::AwaitMarks { .. } => {
                tracing::info!(%plan, "accrual");
                Ok(())
            }
            Plan::MarkRecorded { sequence } => self.mark_recorded(*sequence).await,
            Plan::Seal {
                sequence,
                previous,
                batch,
            } => {
                let leaves = self.leaves(batch).await?;
                if leaves.is_empty() {
                    return Ok(());
                }
                let sealed = seal(self.place.chain_id, self.place.contract, *sequence, *previous, leaves)?;
                self.create(sealed).await
            }
        }
    }

    /// A receipt that is missing or says something else holds back its own attempt only.
    async fn leaves(&self, batch: &[Payable]) -> Result<Vec<Leaf>, AccrualError> {
        let mut leaves = Vec::with_capacity(batch.len());
        for payable in batch {
            let (shard, attempt) = (payable.id.shard, payable.id.attempt);
            match self.leaf(payable).await {
                Ok(leaf) => leaves.push(leaf),
                Err(RecordError::Store(error @ StoreError::Unavailable { .. })) => return Err(error.into()),
                Err(error) => tracing::error!(
                    job = payable.job_uid,
                    shard,
                    attempt,
                    error = &error as &dyn std::error::Error,
                    "an accepted attempt cannot be paid"
                ),
            }
        }
        Ok(leaves)
    }

    /// What was stored at acceptance must say what the status says now.
    async fn leaf(&self, payable: &Payable) -> Result<Leaf, RecordError> {
        let (shard, attempt) = (payable.id.shard, payable.id.attempt);
        let stored = stored_receipt(&self.store, &payable.job_uid, shard, attempt)
            .await?
            .leaf(&self.place)?;
        if stored == payable.leaf {
            Ok(stored)
        } else {
            Err(RecordError::Differs("leaf"))
        }
    }

    /// Document first; the name of the Settlement is the fence.
    async fn create(&self, sealed: Sealed) -> Result<(), AccrualError> {
        let data_key = keys::settlement(&sealed.header.dataHash.to_string());
        let spec = SettlementSpec::from_sealed(self.place.chain_id, self.place.contract, &sealed, data_key)?;
        self.store.put(&spec.data_key, sealed.document).await?;
        let sequence = spec.sequence;
        let settlement = Settlement::new(&names::settlement(sequence), spec);
        match self.settlements.create(&PostParams::default(), &settlement).await {
            Ok(_) => {
                tracing::info!(sequence, leaves = sealed.header.count, "settlement sealed");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                tracing::info!(sequence, "another sealer was first");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn mark_recorded(&self, sequence: u64) -> Result<(), AccrualError> {
        let patch = Patch::Merge(json!({ "status": { "recorded": true } }));
        let parameters = PatchParams {
            field_manager: Some(names::OPERATOR_FIELD_MANAGER.into()),
            ..Default::default()
        };
        self.settlements
            .patch_status(&names::settlement(sequence), &parameters, &patch)
            .await?;
        tracing::info!(sequence, "settlement recorded in its jobs");
        Ok(())
    }
}
