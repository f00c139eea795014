//! The accrual loop: observe, plan, apply, when something changed and every few seconds, on the leader alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use spillway_core::batch::{DocumentError, Leaf, SealError};
use spillway_core::order::job_id;
use spillway_crds::money::ConversionError;
use spillway_crds::{InferenceJob, Settlement, SettlementMode, SettlementSpec, names};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::books::{Books, Known};
use super::holds::{Holds, conditions};
use super::picture::{Picture, allowances, root_allowances};
use super::plan::{BatchLimits, Decision, Observed, OpenSettlement, Payable, Plan, accrue};
use super::retention::Retention;
use super::sealed::{AttemptId, SealedAttempts, payables};
use crate::dispatch::{ChainPlace, KeyError};
use crate::store::{HubStore, StoreError};

/// A pass at least this often: a batch that only gets older, and retention, change nothing that is watched.
const PERIOD: Duration = Duration::from_secs(5);
/// A pass at most this often.
const PAUSE: Duration = Duration::from_millis(500);
const NAMES_PER_PAGE: u32 = 1_000;
/// Requests to the API server or the store that are under way at once.
pub(super) const AT_ONCE: usize = 16;
/// An attempt whose receipt is missing or says something else is looked at again after this long.
const SET_ASIDE: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);

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
    #[error(
        "settlement {sequence} was sealed in mode {sealed:?}, the operator runs in {settings:?}: a contract has one mode for ever"
    )]
    Mode {
        sequence: u64,
        sealed: SettlementMode,
        settings: SettlementMode,
    },
    #[error("sealing failed")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Spec(#[from] ConversionError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What the loop needs; `sealed` is shared with the job controller.
#[derive(Debug)]
pub struct Accrual {
    pub(super) namespace: String,
    pub(super) store: HubStore,
    pub(super) place: ChainPlace,
    pub(super) mode: SettlementMode,
    limits: BatchLimits,
    sealed: Arc<SealedAttempts>,
    jobs: Api<InferenceJob>,
    pub(super) settlements: Api<Settlement>,
    pub(super) picture: Picture,
    holds: Holds,
    retention: Retention,
    /// Highest sequence seen; later ones are found by name.
    highest: Mutex<Option<u64>>,
    pub(super) set_aside: Mutex<BTreeMap<AttemptId, Timestamp>>,
    pub(super) totals: Mutex<Option<Known>>,
}

/// Runs until cancelled; a failed pass is logged and tried again.
///
/// # Errors
/// None today: every failure of a pass passes.
pub async fn run(accrual: Accrual, cancelled: CancellationToken) -> anyhow::Result<()> {
    let passes = async {
        accrual.picture.ready().await;
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = accrual.picture.changed.notified() => tokio::time::sleep(PAUSE).await,
                _ = ticks.tick() => {},
            }
            match accrual.pass(Timestamp::now()).await {
                Ok(plan) => tracing::debug!(%plan, "accrual"),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "accrual pass failed"),
            }
        }
    };
    tokio::select! {
        () = cancelled.cancelled() => {},
        () = accrual.watch() => {},
        () = passes => {},
    }
    Ok(())
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
            jobs: Api::all(client.clone()),
            retention: Retention::new(settlements.clone(), store.clone()),
            holds: Holds::new(client),
            namespace: namespace.to_owned(),
            store,
            place,
            mode: SettlementMode::Ledger,
            limits,
            sealed,
            settlements,
            picture: Picture::new(),
            highest: Mutex::new(None),
            set_aside: Mutex::default(),
            totals: Mutex::default(),
        }
    }

    /// The contract's mode; ledger mode unless told.
    #[must_use]
    pub fn in_mode(mut self, mode: SettlementMode) -> Self {
        self.mode = mode;
        if mode == SettlementMode::Root {
            self.limits.gas = None;
        }
        self
    }

    /// Leaves documents are kept for this long after finality.
    #[must_use]
    pub fn keeping_leaves_for(mut self, kept: jiff::SignedDuration) -> Self {
        self.retention.kept = kept;
        self
    }

    /// Follows jobs, Settlements and SpendPolicies; a pass waits for its first whole picture.
    pub async fn watch(&self) {
        let client = self.jobs.clone().into_client();
        self.picture.follow(&client, &self.namespace).await;
    }

    /// One pass; returns what it did.
    ///
    /// # Errors
    /// Whatever could not be read or written; the next pass starts anew.
    pub async fn pass(&self, now: Timestamp) -> Result<Plan, AccrualError> {
        self.picture.ready().await;
        let settlement = self.newest().await?;
        let newest = match &settlement {
            Some(settlement) => Some(self.open(settlement).await?),
            None => None,
        };
        let books = self.books(settlement.as_ref()).await?;
        if let Some(newest) = &newest
            && !self.picture.knows_settlement(newest.sequence)
        {
            // What is in flight is not all known yet.
            return Ok(Plan::AwaitMarks {
                sequence: newest.sequence,
                unmarked: newest.leaves.len(),
            });
        }
        let set_aside = self.set_aside(now).await;
        self.picture.forget_old_debits(now);
        let policies = self.picture.policies();
        let allowances = match &books {
            Books::Ledger => self
                .picture
                .settlements
                .look(|settlements| allowances(&policies, settlements.values(), &self.place, now)),
            Books::Root(totals) => root_allowances(&policies, totals, &self.place, now),
        };
        let Decision { plan, held } = self.picture.jobs.look(|jobs| {
            let payable = jobs.values().flat_map(|job| &job.payables);
            let observed = Observed {
                newest: newest.clone(),
                payable: payable.filter(|payable| !set_aside.contains(&payable.id)).collect(),
                allowances,
            };
            accrue(&observed, &self.limits, now)
        });
        // Neither words nor old documents keep anybody from being paid.
        if let Err(error) = self.holds.tell(conditions(&policies, &held, now), now).await {
            tracing::warn!(%error, "who is waited for could not be written");
        }
        let plan = self.apply(plan, newest.as_ref(), &books, now).await?;
        if let Err(error) = self.retention.pass(now).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old leaves documents could not be deleted"
            );
        }
        Ok(plan)
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
        let sequence = |name: &str| name.strip_prefix("settlement-").and_then(|number| number.parse().ok());
        let mut highest = None;
        let mut page = ListParams::default().limit(NAMES_PER_PAGE);
        loop {
            let listed = self.settlements.list_metadata(&page).await?;
            let names = listed.items.iter().filter_map(|item| item.metadata.name.as_deref());
            highest = highest.max(names.filter_map(sequence).max());
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(highest),
            }
        }
    }

    async fn open(&self, settlement: &Settlement) -> Result<OpenSettlement, AccrualError> {
        let SettlementSpec {
            sequence,
            ref header_hash,
            ..
        } = settlement.spec;
        let recorded = settlement.status.as_ref().is_some_and(|status| status.recorded);
        let leaves = if recorded {
            BTreeSet::new()
        } else {
            self.sealed.of(&self.store, settlement).await?.keys().copied().collect()
        };
        let header_hash = header_hash.parse().map_err(|_| AccrualError::HeaderHash(sequence))?;
        Ok(OpenSettlement {
            sequence,
            header_hash,
            recorded,
            leaves,
        })
    }

    /// Attempts that could not be paid a short while ago for a reason of their own.
    async fn set_aside(&self, now: Timestamp) -> BTreeSet<AttemptId> {
        let mut set_aside = self.set_aside.lock().await;
        set_aside.retain(|_, since| now.duration_since(*since) < SET_ASIDE);
        set_aside.keys().copied().collect()
    }

    /// What was planned from watches is read again from the API server before anything is written.
    async fn apply(
        &self,
        plan: Plan,
        newest: Option<&OpenSettlement>,
        books: &Books,
        now: Timestamp,
    ) -> Result<Plan, AccrualError> {
        match plan {
            Plan::MarkRecorded { sequence } => {
                let leaves = newest.map(|newest| &newest.leaves);
                let unmarked = match leaves {
                    Some(leaves) => self.unmarked_now(leaves).await?,
                    None => 0,
                };
                if unmarked > 0 {
                    return Ok(Plan::AwaitMarks { sequence, unmarked });
                }
                self.mark_recorded(sequence).await?;
                Ok(plan)
            }
            Plan::Seal {
                sequence,
                previous,
                batch,
            } => {
                let batch = self.still_payable(batch).await?;
                if !self.seal((sequence, previous), &batch, books, now).await? {
                    return Ok(Plan::Idle);
                }
                Ok(Plan::Seal {
                    sequence,
                    previous,
                    batch,
                })
            }
            Plan::Idle | Plan::Gather { .. } => Ok(plan),
            Plan::AwaitMarks { .. } => {
                tracing::info!(%plan, "accrual");
                Ok(plan)
            }
        }
    }

    /// Attempts of a Settlement that their jobs do not carry yet, as the API server has them now.
    async fn unmarked_now(&self, leaves: &BTreeSet<AttemptId>) -> Result<usize, AccrualError> {
        let wanted: BTreeSet<B256> = leaves.iter().map(|leaf| leaf.job).collect();
        let places = self.picture.places(&wanted);
        let unseen: BTreeSet<B256> = wanted.into_iter().filter(|id| !places.contains_key(id)).collect();
        if !unseen.is_empty() && self.any_exists(&unseen).await? {
            // The watch lags behind.
            return Ok(leaves.iter().filter(|leaf| unseen.contains(&leaf.job)).count());
        }
        let jobs = self.read(places.into_values().collect()).await?;
        let found = jobs.iter().flat_map(payables);
        Ok(found.filter(|payable| leaves.contains(&payable.id)).count())
    }

    /// Whether a job with one of these ids exists; asked only when the watch knows none.
    async fn any_exists(&self, ids: &BTreeSet<B256>) -> Result<bool, AccrualError> {
        let mut page = ListParams::default().limit(NAMES_PER_PAGE);
        loop {
            let listed = self.jobs.list_metadata(&page).await?;
            let mut uids = listed.items.iter().filter_map(ResourceExt::uid);
            if uids.any(|uid| ids.contains(&job_id(&uid))) {
                return Ok(true);
            }
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(false),
            }
        }
    }

    /// A get without resourceVersion is a quorum read: whatever an earlier Settlement paid is marked in it.
    async fn read(&self, places: BTreeSet<(String, String)>) -> Result<Vec<InferenceJob>, AccrualError> {
        let reads: Vec<_> = places
            .into_iter()
            .map(|(namespace, name)| {
                let jobs: Api<InferenceJob> = Api::namespaced(self.jobs.clone().into_client(), &namespace);
                async move { jobs.get_opt(&name).await }
            })
            .collect();
        let reads = futures::stream::iter(reads).buffer_unordered(AT_ONCE);
        let jobs: Vec<Option<InferenceJob>> = reads.try_collect().await?;
        Ok(jobs.into_iter().flatten().collect())
    }

    async fn still_payable(&self, batch: Vec<Payable>) -> Result<Vec<Payable>, AccrualError> {
        let places = batch
            .iter()
            .map(|one| (one.namespace.clone(), one.name.clone()))
            .collect();
        let jobs = self.read(places).await?;
        let now: BTreeMap<AttemptId, Leaf> = jobs
            .iter()
            .flat_map(payables)
            .map(|payable| (payable.id, payable.leaf))
            .collect();
        Ok(batch
            .into_iter()
            .filter(|planned| now.get(&planned.id) == Some(&planned.leaf))
            .collect())
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
