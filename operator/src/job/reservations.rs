//! What this process has set aside for jobs and the watch caches may not show yet.
//!
//! Jobs are planned at the same time, each over what the others had spent when it looked. Before a status that sets
//! more aside is written, its sum is claimed here, under one lock and beside the claims of all others: what does not fit
//! any more is planned again. A claim stands until the cache shows the job as it was written, or a later one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;
use kube::ResourceExt;
use spillway_core::money::MicroUsd;
use spillway_crds::InferenceJob;

use super::observed::SpentToday;
use super::plan::{DayLimits, spent_on};

#[derive(Debug, Default)]
pub(super) struct Reservations {
    claims: Mutex<HashMap<String, Claim>>,
}

#[derive(Clone, Debug)]
struct Claim {
    policy: String,
    namespace: String,
    amount: MicroUsd,
    /// Of the job once it was written; a claim without one is on its way.
    version: Option<u64>,
}

/// One job's share of a day, in the cache's or in the claim's words.
struct Share {
    policy: String,
    namespace: String,
    amount: MicroUsd,
}

impl Reservations {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Claim>> {
        // A panic elsewhere does not make a sum wrong.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What other jobs spent or set aside on `date`, per SpendPolicy.
    pub(super) fn spent_by_others<'a>(
        &self,
        job: &InferenceJob,
        jobs: impl IntoIterator<Item = &'a InferenceJob>,
        date: Date,
    ) -> BTreeMap<String, SpentToday> {
        sums(&self.lock(), job, jobs, date)
    }

    /// Sets the day's sum of a planned job aside; `false` when it does not fit any more beside the others.
    pub(super) fn claim<'a>(
        &self,
        planned: &InferenceJob,
        jobs: impl IntoIterator<Item = &'a InferenceJob>,
        limits: DayLimits,
        date: Date,
    ) -> bool {
        let Some(share) = share(planned, date) else { return true };
        let mut claims = self.lock();
        let others = sums(&claims, planned, jobs, date);
        let others = others.get(&share.policy).copied().unwrap_or_default();
        let fits = |others: MicroUsd, limit: MicroUsd| others.saturating_add(share.amount) <= limit;
        let in_namespace = limits.per_namespace_per_day;
        if !fits(others.policy, limits.per_day) || in_namespace.is_some_and(|limit| !fits(others.namespace, limit)) {
            return false;
        }
        let claim = Claim {
            policy: share.policy,
            namespace: share.namespace,
            amount: share.amount,
            version: None,
        };
        claims.insert(uid(planned), claim);
        true
    }

    /// The claimed status is written: the claim ends when the cache shows it.
    pub(super) fn written(&self, job: &InferenceJob) {
        if let Some(claim) = self.lock().get_mut(&uid(job)) {
            claim.version = version(job);
        }
    }

    /// Nothing of this job is on its way: a claim that was not written is void, one that the cache shows is over.
    pub(super) fn release(&self, job: &InferenceJob) {
        let over = |claim: &Claim| claim.version.is_none() || is_shown(claim, job);
        let mut claims = self.lock();
        if claims.get(&uid(job)).is_some_and(over) {
            claims.remove(&uid(job));
        }
    }

    /// The job is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

fn sums<'a>(
    claims: &HashMap<String, Claim>,
    job: &InferenceJob,
    jobs: impl IntoIterator<Item = &'a InferenceJob>,
    date: Date,
) -> BTreeMap<String, SpentToday> {
    let mut sums = BTreeMap::<String, SpentToday>::new();
    let own = uid(job);
    let others = jobs.into_iter().filter(|other| uid(other) != own);
    for share in others.filter_map(|other| newest(claims.get(&uid(other)), other, date)) {
        let sum = sums.entry(share.policy).or_default();
        sum.policy = sum.policy.saturating_add(share.amount);
        if Some(share.namespace) == job.namespace() {
            sum.namespace = sum.namespace.saturating_add(share.amount);
        }
    }
    sums
}

/// The claim, unless the cache shows the job as it was claimed, or later. The larger while the claim is on its way.
fn newest(claim: Option<&Claim>, job: &InferenceJob, date: Date) -> Option<Share> {
    let shown = share(job, date);
    let Some(claim) = claim.filter(|claim| !is_shown(claim, job)) else {
        return shown;
    };
    let shown = shown.map_or(MicroUsd::ZERO, |share| share.amount);
    Some(Share {
        policy: claim.policy.clone(),
        namespace: claim.namespace.clone(),
        amount: claim.amount.max(shown),
    })
}

/// Versions of one kind of object grow (KEP-5504); one that is no number leaves the claim standing.
fn is_shown(claim: &Claim, job: &InferenceJob) -> bool {
    matches!((claim.version, version(job)), (Some(written), Some(shown)) if shown >= written)
}

fn share(job: &InferenceJob, date: Date) -> Option<Share> {
    let status = job.status.as_ref()?;
    Some(Share {
        policy: status.payer.as_ref()?.spend_policy.clone(),
        namespace: job.namespace().unwrap_or_default(),
        amount: spent_on(status, date),
    })
}

fn uid(job: &InferenceJob) -> String {
    job.uid().unwrap_or_default()
}

fn version(job: &InferenceJob) -> Option<u64> {
    job.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date() -> Date {
        jiff::civil::date(2026, 1, 1)
    }

    /// A job with one running attempt of this bound; nothing is set aside for a check, since a check runs too.
    fn job(uid: &str, namespace: &str, version: u64, bound: u64) -> InferenceJob {
        let attempt = |number: u16, kind: &str, bound: u64| serde_json::json!({"number": number, "kind": kind, "state": "Running", "upperBoundMicro": bound});
        serde_json::from_value(serde_json::json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob",
            "metadata": {"name": uid, "namespace": namespace, "uid": uid, "resourceVersion": version.to_string()},
            "spec": {"engine": {"image": "engine"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
                "price": {"maxPerGpuHour": "1", "budget": "1"}},
            "status": {"payer": {"spendPolicy": "policy", "address": "0x"}, "shards": [{
                "index": 0, "state": "Running", "inputDigest": "sha256:00", "inputBytes": 1, "requests": 1,
                "attempts": [attempt(0, "Work", bound), attempt(1, "Check", 0)],
            }]},
        }))
        .unwrap()
    }

    fn limits(per_day: u64, per_namespace: Option<u64>) -> DayLimits {
        DayLimits {
            per_day: MicroUsd(per_day),
            per_namespace_per_day: per_namespace.map(MicroUsd),
        }
    }

    #[test]
    fn two_jobs_planned_at_the_same_instant_do_not_overrun_a_day() {
        let reservations = Reservations::default();
        let cached = [job("a", "team", 1, 0), job("b", "team", 1, 0)];
        // Both were planned over a cache that shows nothing.
        assert!(reservations.claim(&job("a", "team", 1, 60), &cached, limits(100, None), date()));
        assert!(!reservations.claim(&job("b", "team", 1, 60), &cached, limits(100, None), date()));
        assert!(reservations.claim(&job("b", "team", 1, 40), &cached, limits(100, None), date()));
        let spent = reservations.spent_by_others(&cached[1], &cached, date());
        assert_eq!(spent["policy"].policy, MicroUsd(60));
    }

    #[test]
    fn a_claim_stands_until_the_cache_shows_it() {
        let reservations = Reservations::default();
        let seen_by_b = |shown: InferenceJob| {
            let cached = [shown, job("b", "team", 1, 0)];
            let spent = reservations.spent_by_others(&cached[1], &cached, date());
            spent["policy"].policy.0
        };
        let cached = [job("a", "team", 1, 0)];
        assert!(reservations.claim(&job("a", "team", 1, 60), &cached, limits(100, None), date()));
        assert_eq!(seen_by_b(job("a", "team", 1, 0)), 60);
        reservations.written(&job("a", "team", 7, 60));
        assert_eq!(seen_by_b(job("a", "team", 6, 0)), 60);
        assert_eq!(seen_by_b(job("a", "team", 7, 60)), 60);
        // What was written later is shown as it is.
        assert_eq!(seen_by_b(job("a", "team", 8, 10)), 10);
        reservations.release(&job("a", "team", 6, 0));
        assert_eq!(seen_by_b(job("a", "team", 6, 0)), 60, "an old picture ends no claim");
        reservations.release(&job("a", "team", 7, 60));
        assert_eq!(seen_by_b(job("a", "team", 1, 0)), 0);
    }

    #[test]
    fn a_claim_whose_write_failed_is_void_once_nothing_is_on_its_way() {
        let reservations = Reservations::default();
        let cached = [job("a", "team", 1, 0), job("b", "team", 1, 0)];
        assert!(reservations.claim(&job("a", "team", 1, 60), &cached, limits(100, None), date()));
        reservations.release(&cached[0]);
        assert!(reservations.claim(&job("b", "team", 1, 100), &cached, limits(100, None), date()));
        reservations.forget("b");
        assert!(reservations.claim(&job("a", "team", 1, 100), &cached, limits(100, None), date()));
    }

    #[test]
    fn a_namespace_is_counted_by_itself() {
        let reservations = Reservations::default();
        let cached = [job("a", "team", 1, 50), job("b", "other", 1, 0)];
        let planned = job("b", "other", 1, 20);
        assert!(reservations.claim(&planned, &cached, limits(100, Some(20)), date()));
        assert!(!reservations.claim(&planned, &cached, limits(100, Some(19)), date()));
        let spent = reservations.spent_by_others(&planned, &cached, date());
        assert_eq!(
            (spent["policy"].policy, spent["policy"].namespace),
            (MicroUsd(50), MicroUsd(0))
        );
    }
}
