//! What the extender knows at one instant: small, immutable, read without a lock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;
use spillway_core::market::{Offer, Requirement, Weights};
use spillway_crds::market::{SpecError, validate};
use spillway_crds::{AttemptKind, AttemptState, InferenceJob, ShardStatus};

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By virtual node.
    pub offers: HashMap<String, Arc<Offer>>,
    /// By job UID.
    pub jobs: HashMap<String, Arc<JobView>>,
}

/// Projection of an InferenceJob.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    pub uid: String,
    pub namespace: String,
    /// Needs of a Work attempt and weights of the policy, or why the spec cannot be honoured.
    pub needs: Result<Needs, SpecError>,
    /// Owners that must not run an expected attempt of a kind other than Work, by shard and attempt number.
    pub excluded_owners: HashMap<(u32, u16), BTreeSet<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    pub requirement: Requirement,
    pub weights: Weights,
}

impl JobView {
    pub fn of(job: &InferenceJob) -> Self {
        let shards = job.status.iter().flat_map(|status| &status.shards);
        Self {
            uid: job.uid().unwrap_or_default(),
            namespace: job.namespace().unwrap_or_default(),
            needs: validate(&job.spec).map(|valid| Needs {
                requirement: valid.requirement,
                weights: valid.weights,
            }),
            excluded_owners: shards.flat_map(excluded_owners).collect(),
        }
    }
}

fn excluded_owners(shard: &ShardStatus) -> impl Iterator<Item = ((u32, u16), BTreeSet<String>)> {
    let unbound = |state| state == AttemptState::Expected;
    let attempts = shard
        .attempts
        .iter()
        .filter(move |attempt| attempt.kind != AttemptKind::Work && unbound(attempt.state));
    attempts.map(|attempt| ((shard.index, attempt.number), shard.other_owners(attempt.number)))
}
