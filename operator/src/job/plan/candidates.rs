//! What was known of the offers when an attempt was planned, for whoever asks later why a node was pinned and another not.

use std::collections::BTreeMap;

use serde::Serialize;
use spillway_core::market::{Candidate, Ranking};
use spillway_crds::{AttemptKind, Time};

/// The object under [`crate::keys::candidates`]: one for all attempts that a pass planned over the same ranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidatesRecord {
    pub kind: AttemptKind,
    pub planned_at: Time,
    /// Offers looked at.
    pub offers: u32,
    /// Offers that did not fit, per reason.
    pub excluded: BTreeMap<String, u32>,
    /// Everyone who fits, best first.
    pub candidates: Vec<CandidateTerms>,
    /// The attempts that were pinned to some of them; the first one names the record.
    pub attempts: Vec<PinnedAttempt>,
}

/// Where an attempt may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedAttempt {
    pub shard: u32,
    pub attempt: u16,
    /// Places in the record's candidates, in rank order: those with GPUs left when the attempt was planned.
    pub pinned: Vec<usize>,
}

/// One offer that fits, and what its score is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateTerms {
    pub node: String,
    pub provider: String,
    pub offer_revision: u64,
    /// Micro-USD per GPU-hour.
    pub unit_price_micro: u64,
    /// Microseconds; absent while nobody has measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p95_micros: Option<u64>,
    /// Lower bound in [0, 1]; absent without a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reputation: Option<f64>,
    /// Each in [0, 1], before the job's weights.
    pub price_term: f64,
    pub latency_term: f64,
    pub reputation_term: f64,
    /// Weighted sum of the terms, in [0, 1].
    pub score: f64,
}

impl CandidatesRecord {
    pub(super) fn new(ranking: &Ranking, kind: AttemptKind, planned_at: Time, attempts: Vec<PinnedAttempt>) -> Self {
        Self {
            kind,
            planned_at,
            offers: ranking.offers,
            excluded: ranking.excluded_by_reason(),
            candidates: ranking.candidates.iter().map(CandidateTerms::from).collect(),
            attempts,
        }
    }

    /// What `status.shards[].attempts[].candidatesRecord` says of each attempt in it.
    pub fn name(&self) -> String {
        self.attempts
            .first()
            .map(PinnedAttempt::record_name)
            .unwrap_or_default()
    }
}

impl PinnedAttempt {
    pub(super) fn new(shard: u32, attempt: u16, pinned: &[usize]) -> Self {
        Self {
            shard,
            attempt,
            pinned: pinned.to_vec(),
        }
    }

    /// Name of the record whose first attempt this is.
    pub(super) fn record_name(&self) -> String {
        format!("{}-{}", self.shard, self.attempt)
    }
}

impl From<&Candidate> for CandidateTerms {
    fn from(candidate: &Candidate) -> Self {
        Self {
            node: candidate.node.clone(),
            provider: candidate.provider.clone(),
            offer_revision: candidate.revision,
            unit_price_micro: candidate.price.0,
            latency_p95_micros: candidate.latency.known().map(|latency| latency.p95),
            reputation: candidate.reputation.known().map(|reputation| reputation.lower_bound()),
            price_term: candidate.terms.price,
            latency_term: candidate.terms.latency,
            reputation_term: candidate.terms.reputation,
            score: candidate.score,
        }
    }
}
