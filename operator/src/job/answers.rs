//! Answers that cost a request and do not change: whose a pod is, what a result is worth, whether two agree.
//!
//! Memory only: after a restart they are asked again. What could not be asked is never kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use spillway_crds::AttemptStatus;

use super::observed::{AttemptKey, PodFact};
use crate::verification::{Compared, Examined};

#[derive(Debug, Default)]
pub(super) struct Answers {
    jobs: Mutex<HashMap<String, JobAnswers>>,
    pods: Mutex<HashMap<String, bool>>,
    strangers: Mutex<HashMap<(String, String), PodFact>>,
    failures: Mutex<HashMap<String, u32>>,
}

#[derive(Debug, Default)]
struct JobAnswers {
    examined: HashMap<AttemptKey, Examined>,
    compared: HashMap<(u32, u16, u16), Compared>,
}

/// A panic elsewhere does not make a map of facts wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    pub(super) fn examined(&self, job: &str, key: AttemptKey) -> Option<Examined> {
        lock(&self.jobs).get(job)?.examined.get(&key).cloned()
    }

    pub(super) fn remember_examined(&self, job: &str, key: AttemptKey, answer: &Examined) {
        if *answer != Examined::Unknown {
            lock(&self.jobs)
                .entry(job.to_owned())
                .or_default()
                .examined
                .insert(key, answer.clone());
        }
    }

    pub(super) fn compared(&self, job: &str, key: (u32, u16, u16)) -> Option<Compared> {
        lock(&self.jobs).get(job)?.compared.get(&key).cloned()
    }

    pub(super) fn remember_compared(&self, job: &str, key: (u32, u16, u16), answer: &Compared) {
        if *answer != Compared::Unknown {
            lock(&self.jobs)
                .entry(job.to_owned())
                .or_default()
                .compared
                .insert(key, answer.clone());
        }
    }

    pub(super) fn is_our_pod(&self, uid: &str) -> Option<bool> {
        lock(&self.pods).get(uid).copied()
    }

    pub(super) fn remember_pod(&self, uid: &str, ours: bool) {
        lock(&self.pods).insert(uid.to_owned(), ours);
    }

    /// A pod under an attempt's name that our watch does not show: it lacks our labels.
    pub(super) fn stranger(&self, namespace: &str, name: &str) -> Option<PodFact> {
        lock(&self.strangers)
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    pub(super) fn remember_stranger(&self, namespace: &str, name: &str, pod: PodFact) {
        lock(&self.strangers).insert((namespace.to_owned(), name.to_owned()), pod);
    }

    /// Failures in a row of one job, this one included.
    pub(super) fn failed_again(&self, job: &str) -> u32 {
        let mut failures = lock(&self.failures);
        let count = failures.entry(job.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    pub(super) fn succeeded(&self, job: &str) {
        lock(&self.failures).remove(job);
    }

    /// Once an attempt's pod UID is in the status, the status itself answers.
    pub(super) fn forget_pods<'a>(&self, attempts: impl Iterator<Item = &'a AttemptStatus>) {
        let mut pods = lock(&self.pods);
        for uid in attempts.filter_map(|attempt| attempt.pod_uid.as_ref()) {
            pods.remove(uid);
        }
    }

    pub(super) fn forget_job(&self, namespace: &str, name: &str, uid: &str) {
        lock(&self.jobs).remove(uid);
        lock(&self.failures).remove(uid);
        let prefix = format!("{name}-");
        let is_other = |(space, pod): &(String, String)| space != namespace || !pod.starts_with(&prefix);
        lock(&self.strangers).retain(|pod, _| is_other(pod));
    }
}
