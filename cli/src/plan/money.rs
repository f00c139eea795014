//! Who pays for a namespace, under which limits, and what is taken of them today.

use anyhow::Context;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kube::api::Api;
use kube::{Client, ResourceExt};
use serde::Serialize;
use spillway_core::knowledge::Knowledge;
use spillway_core::money::MicroUsd;
use spillway_crds::{AttemptStatus, InferenceJob, SpendPolicy};

use crate::market::{is_forbidden, list_all};

/// Unknown where SpendPolicies may not be listed; `Known(None)`: nobody pays for the namespace.
pub(super) type Wallet = Knowledge<Option<Allowance>>;

/// What a SpendPolicy allows; micro-USD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Allowance {
    pub(super) spend_policy: String,
    pub(super) per_job_micro: u64,
    pub(super) per_day_micro: u64,
    pub(super) per_namespace_per_day_micro: Option<u64>,
    /// Reserved or spent today (UTC) by all jobs of the policy; null where some of them may not be listed.
    pub(super) today_micro: Option<u64>,
    /// By the jobs of this namespace alone.
    pub(super) namespace_today_micro: Option<u64>,
}

/// # Errors
/// When the hub cannot be asked, or a limit is no amount.
pub(super) async fn wallet(client: &Client, namespace: &str, now: Timestamp) -> anyhow::Result<Wallet> {
    let policies = match list_all(&Api::<SpendPolicy>::all(client.clone())).await {
        Ok(policies) => policies,
        Err(error) if is_forbidden(&error) => return Ok(Knowledge::Unknown),
        Err(error) => return Err(error).context("list SpendPolicies"),
    };
    let Some(policy) = paying(&policies, namespace) else {
        return Ok(Knowledge::Known(None));
    };
    let today = TimeZone::UTC.to_datetime(now).date();
    let limits = &policy.spec.limits;
    let per_namespace = limits.per_namespace_per_day.as_deref();
    let per_namespace = per_namespace.map(|text| limit(policy, "perNamespacePerDay", text));
    let own = [namespace.to_owned()];
    Ok(Knowledge::Known(Some(Allowance {
        spend_policy: policy.name_any(),
        per_job_micro: limit(policy, "perJob", &limits.per_job)?,
        per_day_micro: limit(policy, "perDay", &limits.per_day)?,
        per_namespace_per_day_micro: per_namespace.transpose()?,
        today_micro: taken_today(client, policy, &policy.spec.namespaces, today).await?,
        namespace_today_micro: taken_today(client, policy, &own, today).await?,
    })))
}

/// The first by name, as the operator chooses.
fn paying<'a>(policies: &'a [SpendPolicy], namespace: &str) -> Option<&'a SpendPolicy> {
    let pays = |policy: &&SpendPolicy| policy.spec.namespaces.iter().any(|named| named == namespace);
    policies.iter().filter(pays).min_by_key(|policy| policy.name_any())
}

fn limit(policy: &SpendPolicy, field: &str, text: &str) -> anyhow::Result<u64> {
    let amount: MicroUsd = text
        .parse()
        .with_context(|| format!("SpendPolicy {}: spec.limits.{field}", policy.name_any()))?;
    Ok(amount.0)
}

async fn taken_today(
    client: &Client,
    policy: &SpendPolicy,
    namespaces: &[String],
    today: Date,
) -> anyhow::Result<Option<u64>> {
    let mut sum = MicroUsd::ZERO;
    for namespace in namespaces {
        let jobs = match list_all(&Api::<InferenceJob>::namespaced(client.clone(), namespace)).await {
            Ok(jobs) => jobs,
            Err(error) if is_forbidden(&error) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("list InferenceJobs in {namespace}")),
        };
        let payer = |job: &&InferenceJob| {
            let payer = job.status.as_ref().and_then(|status| status.payer.as_ref());
            payer.is_some_and(|payer| payer.spend_policy == policy.name_any())
        };
        sum = jobs
            .iter()
            .filter(payer)
            .fold(sum, |sum, job| sum.saturating_add(taken_by(job, today)));
    }
    Ok(Some(sum.0))
}

/// Reserved now, and owed for attempts that finished on `today`.
fn taken_by(job: &InferenceJob, today: Date) -> MicroUsd {
    let Some(status) = &job.status else {
        return MicroUsd::ZERO;
    };
    let finished = |attempt: &&AttemptStatus| {
        let finished = attempt.finished_at.as_ref();
        finished.is_some_and(|time| TimeZone::UTC.to_datetime(time.0).date() == today)
    };
    let attempts = status.shards.iter().flat_map(|shard| &shard.attempts);
    let owed: MicroUsd = attempts
        .filter(finished)
        .filter_map(|attempt| attempt.amount_micro)
        .map(MicroUsd)
        .sum();
    owed.saturating_add(MicroUsd(status.cost.reserved_micro))
}
