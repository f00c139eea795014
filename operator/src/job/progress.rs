//! What this process did to a job that the watch has not shown yet, and how long the job rests before it is looked at
//! again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::ObjectMeta;
use spillway_crds::InferenceJob;

/// A status is written at most a twentieth of the time: many changes of a large job go into one write, a small job
/// hardly waits.
const REST_PER_WRITE: u32 = 20;
const SHORTEST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(3);

/// By job UID.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<String, JobProgress>>);

#[derive(Clone, Copy, Debug, Default)]
struct JobProgress {
    written: u64,
    rests_until: Option<Instant>,
}

/// A job's resourceVersion as a number; 0 when it has none. Since Kubernetes 1.35 versions of one kind may be compared
/// (KEP-5504).
pub(super) fn version_of(job: &ObjectMeta) -> u64 {
    let version = job.resource_version.as_ref();
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

impl Progress {
    fn jobs(&self) -> MutexGuard<'_, HashMap<String, JobProgress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the version that a write of ours gave to the job.
    pub(super) fn wrote(&self, uid: &str, written: &ObjectMeta) {
        let mut jobs = self.jobs();
        let progress = jobs.entry(uid.to_owned()).or_default();
        progress.written = progress.written.max(version_of(written));
    }

    /// Version of our last write of the job.
    pub(super) fn written(&self, uid: &str) -> Option<u64> {
        self.jobs().get(uid).map(|progress| progress.written)
    }

    /// Whether this copy of a job is older than what we wrote.
    pub(super) fn is_behind(&self, job: &InferenceJob) -> bool {
        let written = self.written(&job.uid().unwrap_or_default());
        written.is_some_and(|written| version_of(&job.metadata) < written)
    }

    /// After a pass that spent `writing` on the job's status.
    pub(super) fn rest(&self, uid: &str, writing: Duration) {
        let rest = (writing * REST_PER_WRITE).clamp(SHORTEST_REST, LONGEST_REST);
        self.jobs().entry(uid.to_owned()).or_default().rests_until = Some(Instant::now() + rest);
    }

    /// How long the job still rests.
    pub(super) fn rests_for(&self, uid: &str) -> Option<Duration> {
        let until = self.jobs().get(uid)?.rests_until?;
        Some(until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    /// Forgets jobs that are gone.
    pub(super) fn retain(&self, live: &HashSet<String>) {
        self.jobs().retain(|uid, _| live.contains(uid));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(version: &str) -> InferenceJob {
        let job = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob",
            "metadata": {"name": "embed", "uid": "u", "resourceVersion": version},
            "spec": {"engine": {"image": "e"}, "input": {"inline": "{}"}, "output": {"uri": "s3://o/"},
                "price": {"maxPerGpuHour": "1", "budget": "1"}}});
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_copy_older_than_our_write_is_behind() {
        let progress = Progress::default();
        assert!(!progress.is_behind(&job("7")));
        progress.wrote("u", &job("99").metadata);
        progress.wrote("u", &job("100").metadata);
        progress.wrote("u", &job("99").metadata);
        assert!(progress.is_behind(&job("99")), "compared as numbers");
        assert!(!progress.is_behind(&job("100")) && !progress.is_behind(&job("101")));
        progress.retain(&HashSet::new());
        assert!(!progress.is_behind(&job("1")));
    }

    #[test]
    fn a_job_rests_longer_the_more_its_status_costs() {
        let progress = Progress::default();
        assert_eq!(progress.rests_for("u"), None);
        let rest_after = |writing| {
            progress.rest("u", writing);
            progress.rests_for("u").unwrap()
        };
        assert!(rest_after(Duration::ZERO) <= SHORTEST_REST);
        let second = rest_after(Duration::from_millis(50));
        assert!(second > SHORTEST_REST && second <= Duration::from_secs(1), "{second:?}");
        assert!(rest_after(Duration::from_mins(1)) <= LONGEST_REST);
    }
}
