//! What the extender knows at one instant: small, immutable, read without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt;
use spillway_core::market::{Requirement, Weights};
use spillway_crds::market::{SpecError, ValidatedJob, validate_under};
use spillway_crds::{AttemptKind, AttemptState, InferenceJob, ShardStatus};

use crate::offers::Offers;

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub offers: Offers,
    /// By job UID.
    pub jobs: HashMap<String, Arc<JobView>>,
}

/// Projection of an InferenceJob.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    pub uid: String,
    pub namespace: String,
    /// Whether the operator accepted the job: its data class is known since then.
    pub accepted: bool,
    /// Whether each attempt is bound to a class of its own.
    pub bursts: bool,
    /// Needs of a Work attempt and weights of the policy, or why the spec cannot be honoured.
    pub needs: Result<Needs, SpecError>,
    /// Needs of expected attempts that differ from those of a plain Work attempt, by shard and attempt number.
    pub special: HashMap<(u32, u16), Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    pub requirement: Requirement,
    pub weights: Weights,
}

impl JobView {
    pub fn of(job: &InferenceJob) -> Self {
        let status = job.status.as_ref();
        let data_class = status.and_then(|status| status.data_class);
        let valid = validate_under(&job.spec, data_class.unwrap_or_default());
        let shards = status.iter().flat_map(|status| &status.shards);
        Self {
            uid: job.uid().unwrap_or_default(),
            namespace: job.namespace().unwrap_or_default(),
            special: match &valid {
                Ok(valid) => shards.flat_map(|shard| special(valid, shard)).collect(),
                Err(_) => HashMap::new(),
            },
            accepted: data_class.is_some(),
            bursts: valid.as_ref().is_ok_and(|valid| valid.burst.is_some()),
            needs: valid.map(|valid| Needs {
                requirement: valid.requirement,
                weights: valid.weights,
            }),
        }
    }
}

fn special(job: &ValidatedJob, shard: &ShardStatus) -> impl Iterator<Item = ((u32, u16), Requirement)> {
    let differs = |attempt: &&spillway_crds::AttemptStatus| {
        attempt.state == AttemptState::Expected && (attempt.kind != AttemptKind::Work || job.burst.is_some())
    };
    let attempts = shard.attempts.iter().filter(differs);
    attempts.map(|attempt| {
        let requirement = job.requirement_for(attempt.kind, shard, attempt.number);
        ((shard.index, attempt.number), requirement)
    })
}
