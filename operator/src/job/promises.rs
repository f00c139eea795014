//! GPUs promised to attempts that no assignment stands for yet, over all jobs, so that jobs planned at the same time do
//! not all pin their attempts to the same few nodes.
//!
//! An expected attempt is promised a GPU on its node, or on the first of its candidates that has one left. Nothing is
//! stored: promises follow from the jobs' statuses, as the watch shows them or as they were just planned.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use spillway_crds::{AttemptState, AttemptStatus, DataClass, InferenceJob, InferenceJobStatus, names};

use super::held::{AssignmentName, Held};
use super::market::Market;
use super::plan::Room;
use super::progress::version_of;
use super::wants::{Needs, Party, Rankings, parties, wanted};

/// The promises of all jobs. Held while a job is planned: there is one writer of placements.
#[derive(Debug, Default)]
pub(super) struct Promises(Mutex<Ledger>);

impl Promises {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere does not make the sums wrong: they are taken anew from the jobs.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By UID.
    jobs: BTreeMap<String, JobPromises>,
    rankings: Rankings,
    names: NodeNames,
}

/// One copy of each node's name: a node is a candidate of many attempts.
#[derive(Debug, Default)]
struct NodeNames(HashSet<Arc<str>>);

#[derive(Debug, Default)]
struct JobPromises {
    /// Version of the job that `shown` was read from.
    version: u64,
    shown: Vec<Promise>,
    /// `None` for a job that cannot be honoured.
    needs: Option<Arc<Needs>>,
    wanted: usize,
    planned: Option<Planned>,
}

/// A plan whose status the watch has not shown yet.
#[derive(Debug)]
struct Planned {
    promises: Vec<Promise>,
    wanted: usize,
    /// Version that the API server gave the status; `None` while it is being written.
    written: Option<u64>,
}

/// One attempt that waits for a GPU.
#[derive(Debug)]
struct Promise {
    gpus: u32,
    /// In rank order; the one node of an attempt that is bound.
    nodes: Box<[Arc<str>]>,
    /// Positions of `nodes` in markets of that layout.
    positions: (u64, Box<[u32]>),
    /// What will stand for it once it is handed over.
    assignment: Option<AssignmentName>,
}

impl Ledger {
    /// Promised GPUs by position in `market`, those of `job` not counted. Equal pictures give equal promises.
    pub(super) fn by_others(
        &mut self,
        job: &str,
        jobs: &[Arc<InferenceJob>],
        market: &Market,
        held: &Held,
        default_data_class: DataClass,
    ) -> Vec<u32> {
        if market.is_empty() {
            return Vec::new();
        }
        self.follow(jobs, default_data_class);
        let mut room = Room::of(market, &[]);
        let mut promised = vec![0; market.len()];
        let others = self.jobs.iter_mut().filter(|(uid, _)| *uid != job);
        for promise in others.flat_map(|(_, promises)| promises.now()) {
            if promise.assignment.as_ref().is_some_and(|name| held.has_seen(name)) {
                continue;
            }
            let gpus = promise.gpus;
            let positions = promise.positions_in(market);
            if let Some(count) = room
                .take_first(positions, gpus)
                .and_then(|position| promised.get_mut(position))
            {
                *count += gpus;
            }
        }
        promised
    }

    /// Adds to what is promised what other jobs of the last picture would take while they and `job` are placed in
    /// proportion. Nothing for a job that has no attempt to begin.
    pub(super) fn keep_for_others(&mut self, job: &str, market: &Market, promised: &mut [u32]) {
        let Some(own) = self.jobs.get(job).and_then(JobPromises::party) else {
            return;
        };
        let others = self.jobs.iter().filter(|(uid, _)| *uid != job);
        let others = parties(others.filter_map(|(_, promises)| promises.party()));
        if own.attempts > 0 && own.needs.yields() && !others.is_empty() {
            self.rankings.keep_for_others(&own, &others, market, promised);
        }
    }

    /// Reads jobs that changed, forgets those that are gone.
    fn follow(&mut self, jobs: &[Arc<InferenceJob>], default_data_class: DataClass) {
        let mut before = std::mem::take(&mut self.jobs);
        for job in jobs {
            let Some(uid) = job.uid() else { continue };
            let mut promises = before.remove(&uid).unwrap_or_default();
            promises.follow(job, default_data_class, &mut self.names);
            self.jobs.insert(uid, promises);
        }
        if !before.is_empty() {
            drop(before);
            self.names.forget_unused();
        }
    }

    /// A plan was made; its status is about to be written.
    pub(super) fn plan(&mut self, job: &InferenceJob, status: &InferenceJobStatus) {
        let promises = self.names.promises_of(job, status);
        let entry = self.jobs.entry(job.uid().unwrap_or_default()).or_default();
        entry.planned = Some(Planned {
            promises,
            wanted: wanted(job, Some(status)),
            written: None,
        });
    }

    /// The plan's status was written at a version, or was not.
    pub(super) fn settle(&mut self, uid: &str, written: Option<u64>) {
        let Some(entry) = self.jobs.get_mut(uid) else { return };
        match (&mut entry.planned, written) {
            (Some(planned), Some(version)) => planned.written = Some(version),
            (planned, None) => *planned = None,
            (None, Some(_)) => {}
        }
    }
}

impl JobPromises {
    fn follow(&mut self, job: &InferenceJob, default_data_class: DataClass, names: &mut NodeNames) {
        let version = version_of(&job.metadata);
        if version == 0 || version != self.version {
            let status = job.status.as_ref();
            self.shown = status.map(|status| names.promises_of(job, status)).unwrap_or_default();
            self.needs = Needs::of(job, default_data_class).map(Arc::new);
            self.wanted = wanted(job, status);
            self.version = version;
        }
        let written = self.planned.as_ref().and_then(|planned| planned.written);
        if written.is_some_and(|written| version >= written) {
            self.planned = None;
        }
    }

    fn party(&self) -> Option<Party> {
        Some(Party {
            needs: self.needs.clone()?,
            attempts: self.planned.as_ref().map_or(self.wanted, |planned| planned.wanted),
        })
    }

    fn now(&mut self) -> &mut [Promise] {
        match &mut self.planned {
            Some(planned) => &mut planned.promises,
            None => &mut self.shown,
        }
    }
}

impl Promise {
    fn positions_in(&mut self, market: &Market) -> impl Iterator<Item = usize> {
        if self.positions.0 != market.layout() || market.layout() == 0 {
            let positions = self.nodes.iter().filter_map(|node| market.position(node));
            let positions = positions.filter_map(|position| u32::try_from(position).ok());
            self.positions = (market.layout(), positions.collect());
        }
        let positions = self.positions.1.iter().copied();
        positions.filter_map(|position| usize::try_from(position).ok())
    }
}

impl NodeNames {
    fn promises_of(&mut self, job: &InferenceJob, status: &InferenceJobStatus) -> Vec<Promise> {
        let attempts = status
            .shards
            .iter()
            .flat_map(|shard| shard.attempts.iter().map(|attempt| (shard.index, attempt)));
        let waiting = attempts.filter(|(_, attempt)| attempt.state == AttemptState::Expected);
        let uid = job.uid().unwrap_or_default();
        let promises = waiting.map(|(shard, attempt)| Promise {
            gpus: job.spec.resources.gpus,
            nodes: self.nodes_of(attempt),
            positions: (0, Box::default()),
            assignment: assignment_of(&uid, shard, attempt),
        });
        promises.collect()
    }

    fn nodes_of(&mut self, attempt: &AttemptStatus) -> Box<[Arc<str>]> {
        let nodes = match &attempt.node {
            Some(node) => std::slice::from_ref(node),
            None => &attempt.candidates,
        };
        nodes.iter().map(|node| self.one(node)).collect()
    }

    fn one(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }

    fn forget_unused(&mut self) {
        self.0.retain(|name| Arc::strong_count(name) > 1);
    }
}

fn assignment_of(uid: &str, shard: u32, attempt: &AttemptStatus) -> Option<AssignmentName> {
    let provider = attempt.provider.as_deref()?;
    Some((
        names::provider_namespace(provider),
        names::assignment(uid, shard, attempt.number),
    ))
}

#[cfg(test)]
mod tests;
