//! Attempts that jobs would begin now, and what is kept for the others while one of them is placed.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use spillway_core::market::{Requirement, Waiting, Weights, ranked_positions, shares};
use spillway_crds::market::validate_under;
use spillway_crds::{DataClass, InferenceJob, InferenceJobStatus, job_condition};

use super::market::Market;
use super::plan::{Room, shards_to_begin};

/// Kinds of needs that are looked at, those with most attempts first: more would cost more than they save.
const MOST_KINDS: usize = 32;

/// How the attempts of a job choose. Jobs with equal needs are one party.
#[derive(Debug)]
pub(super) struct Needs {
    key: String,
    requirement: Requirement,
    weights: Weights,
    /// Whether the job may leave its first class.
    bursts: bool,
}

impl Needs {
    /// Of the first class that a bursting job uses; `None` for a job that cannot be honoured.
    pub(super) fn of(job: &InferenceJob, default_data_class: DataClass) -> Option<Self> {
        let status = job.status.as_ref();
        let least = status.and_then(|status| status.data_class);
        let valid = validate_under(&job.spec, least.unwrap_or(default_data_class)).ok()?;
        let first = valid.burst.as_ref().and_then(|burst| burst.classes.first().copied());
        let requirement = match first {
            Some(class) => valid.narrowed_to(valid.requirement.clone(), class),
            None => valid.requirement.clone(),
        };
        Some(Self {
            key: format!("{requirement:?} {:?}", valid.weights),
            requirement,
            weights: valid.weights,
            bursts: first.is_some(),
        })
    }

    /// Whether what others would take is kept for them. Not from a job that bursts: nobody kept it anything in the classes
    /// that it moves on to.
    pub(super) fn yields(&self) -> bool {
        !self.bursts
    }
}

/// Work attempts that a job would begin if it had its turn. A new job might begin all that it asks for.
pub(super) fn wanted(job: &InferenceJob, status: Option<&InferenceJobStatus>) -> usize {
    if job.metadata.deletion_timestamp.is_some() || status.is_some_and(is_held_up) {
        return 0;
    }
    let parallelism = usize::try_from(job.spec.execution.parallelism).unwrap_or(usize::MAX);
    match status.map(|status| status.shards.as_slice()) {
        None | Some([]) => asked_for(&job.spec.execution.shards).min(parallelism),
        Some(shards) => {
            let (idle, running) = shards_to_begin(shards);
            idle.min(parallelism.saturating_sub(running))
        }
    }
}

/// `auto` is not known before the input was read.
fn asked_for(shards: &IntOrString) -> usize {
    match shards {
        IntOrString::Int(count) => usize::try_from(*count).unwrap_or_default(),
        IntOrString::String(_) => 1,
    }
}

/// By something else than other jobs.
fn is_held_up(status: &InferenceJobStatus) -> bool {
    let stops = [
        (job_condition::ACCEPTED, "False"),
        (job_condition::PLACEABLE, "False"),
        (job_condition::COMPLETE, "True"),
        (job_condition::FAILURE_TARGET, "True"),
        (job_condition::FAILED, "True"),
    ];
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| stops.contains(&(condition.type_.as_str(), condition.status.as_str())))
}

/// One kind of needs, and all attempts that wait with it.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub needs: Arc<Needs>,
    pub attempts: usize,
}

/// Jobs with equal needs together, at most [`MOST_KINDS`] parties, the largest first.
pub(super) fn parties(wants: impl Iterator<Item = Party>) -> Vec<Party> {
    let mut by_key: HashMap<String, Party> = HashMap::new();
    for want in wants.filter(|want| want.attempts > 0) {
        by_key
            .entry(want.needs.key.clone())
            .and_modify(|party| party.attempts += want.attempts)
            .or_insert(want);
    }
    let mut parties: Vec<Party> = by_key.into_values().collect();
    parties.sort_by(|one, other| (other.attempts, &one.needs.key).cmp(&(one.attempts, &other.needs.key)));
    parties.truncate(MOST_KINDS);
    parties
}

/// Rankings by needs, each with the layout of the market that it was made of.
#[derive(Debug, Default)]
pub(super) struct Rankings(HashMap<String, (u64, Arc<[usize]>)>);

impl Rankings {
    /// Adds to `promised` (GPUs by position) what the others would take while `own` and they advance in proportion.
    pub(super) fn keep_for_others(&mut self, own: &Party, others: &[Party], market: &Market, promised: &mut [u32]) {
        let everyone: Vec<(&Party, Arc<[usize]>)> = std::iter::once(own)
            .chain(others)
            .map(|party| (party, self.of(&party.needs, market)))
            .collect();
        let waiting: Vec<Waiting<'_>> = everyone
            .iter()
            .map(|(party, ranking)| Waiting {
                attempts: party.attempts,
                gpus: party.needs.requirement.gpus,
                ranking,
            })
            .collect();
        let room = Room::of(market, promised).into_gpus();
        let taken = shares(&waiting, room);
        for (party, positions) in everyone.iter().zip(taken).skip(1) {
            for position in positions {
                if let Some(promised) = promised.get_mut(position) {
                    *promised += party.0.needs.requirement.gpus;
                }
            }
        }
        self.0
            .retain(|key, _| everyone.iter().any(|(party, _)| party.needs.key == *key));
    }

    fn of(&mut self, needs: &Needs, market: &Market) -> Arc<[usize]> {
        let make = || ranked_positions(&needs.requirement, &needs.weights, market).into();
        if let Some((layout, ranking)) = self.0.get(&needs.key)
            && *layout == market.layout()
            && *layout != 0
        {
            return ranking.clone();
        }
        let ranking: Arc<[usize]> = make();
        self.0.insert(needs.key.clone(), (market.layout(), ranking.clone()));
        ranking
    }
}

#[cfg(test)]
mod tests;
