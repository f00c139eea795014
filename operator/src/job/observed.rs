//! What the planner sees of one job: plain values, gathered by `observe`.
//!
//! A map without an entry says "not there"; [`Knowledge`] says whether that could be asked at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use spillway_core::knowledge::Knowledge;
use spillway_core::market::Offer;
use spillway_core::money::MicroUsd;
use spillway_core::shard::{PublishedReport, ShardManifest};
use spillway_crds::{DataClass, InferenceJob, SpendPolicy, Time, WorkAssignmentStatus, names};

use super::market::Market;
use crate::accrual::Proof;
use crate::verification::{Compared, Examined};

/// One attempt of a job: shard index and attempt number.
pub type AttemptKey = (u32, u16);

#[derive(Clone, Debug)]
pub struct Observed {
    pub job: InferenceJob,
    pub policies: Vec<SpendPolicy>,
    /// Least strict data class that this hub accepts.
    pub default_data_class: DataClass,
    /// What other jobs reserved or spent today (UTC), per SpendPolicy.
    pub spent_today: BTreeMap<String, SpentToday>,
    pub offers: Arc<Market>,
    /// GPUs that are promised to attempts of other jobs, by position in `offers`; shorter means none.
    pub promised: Vec<u32>,
    pub providers: BTreeMap<String, ProviderFact>,
    /// Attempt pods by name.
    pub pods: BTreeMap<String, PodFact>,
    pub assignments: BTreeMap<AttemptKey, AssignmentFact>,
    pub splitter: RunnerPods,
    pub publisher: RunnerPods,
    /// `Known(None)`: the splitter has not written it yet.
    pub manifest: Knowledge<Option<Result<ShardManifest, String>>>,
    pub published: Knowledge<Option<Result<PublishedReport, String>>>,
    /// Answers to the questions that `plan::questions` asks; a missing one is not known yet.
    pub examined: BTreeMap<AttemptKey, Examined>,
    /// By shard and the two attempts compared, in the order asked.
    pub compared: BTreeMap<(u32, u16, u16), Compared>,
    pub settlements: Vec<SettlementFact>,
}

/// Under one SpendPolicy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpentToday {
    pub policy: MicroUsd,
    /// Of it, in the job's namespace.
    pub namespace: MicroUsd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFact {
    pub payout_address: String,
    pub offer_revision: u64,
    /// Declared silent by the operator (a fact with its own grace), not merely unheard by this read.
    pub silent: bool,
}

/// The few fields of an attempt pod that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFact {
    pub uid: String,
    pub resource_version: String,
    /// The job is its controller and its spec is the one we would write.
    pub ours: bool,
    pub node: Option<String>,
    pub deleting: bool,
    /// `status.phase`, compared with what the mirror would write.
    pub phase: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AssignmentFact {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub provider: String,
    pub status: WorkAssignmentStatus,
    pub not_after: Time,
    pub deleting: bool,
}

/// A splitter or publisher: its pod, and whether its Secret is still there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunnerPods {
    pub pod: Option<RunnerPod>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerPod {
    pub uid: String,
    pub phase: String,
    /// Termination message of a failed container.
    pub message: Option<String>,
    pub finished_at: Option<Time>,
    pub ours: bool,
    pub deleting: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementFact {
    pub sequence: u64,
    pub is_final: bool,
    /// Attempts of this job that it pays, with the proofs of their leaves.
    pub pays: BTreeMap<AttemptKey, Proof>,
}

impl Observed {
    pub fn name(&self) -> &str {
        self.job.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.job.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.job.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn is_deleting(&self) -> bool {
        self.job.metadata.deletion_timestamp.is_some()
    }

    pub fn attempt_pod(&self, (shard, attempt): AttemptKey) -> Option<(String, &PodFact)> {
        let name = names::attempt_pod(self.name(), shard, attempt);
        self.pods.get(&name).map(|pod| (name, pod))
    }

    pub fn offer(&self, node: &str) -> Option<&Offer> {
        self.offers.get(node)
    }
}
