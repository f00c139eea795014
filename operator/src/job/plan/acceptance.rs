//! Acceptance: the spec is understood, and a SpendPolicy pays.

use jiff::{SignedDuration, Timestamp};
use spillway_core::money::MicroUsd;
use spillway_crds::market::{ValidatedJob, validate};
use spillway_crds::{Payer, SpendPolicy, job_condition};

use super::draft::Draft;

/// The job's terms, typed, and who pays.
#[derive(Debug)]
pub(super) struct Terms {
    pub job: ValidatedJob,
    /// Most that all jobs of the policy may reserve and spend in a day (UTC).
    pub per_day: MicroUsd,
    pub spend_policy: String,
    /// Set when the policy no longer pays for this namespace: nothing new starts, what runs may finish.
    pub suspended: Option<String>,
}

struct Refusal {
    reason: &'static str,
    message: String,
}

/// Sets condition Accepted; returns the terms when it holds.
pub(super) fn accept(draft: &mut Draft<'_>) -> Option<Terms> {
    let found = validate(&draft.observed.job.spec)
        .map_err(|error| Refusal {
            reason: "InvalidSpec",
            message: error.to_string(),
        })
        .and_then(|job| terms(draft, job));
    match found {
        Ok(terms) => {
            let message = format!("SpendPolicy {} pays", terms.spend_policy);
            draft.status.observed_generation = draft.observed.job.metadata.generation;
            draft.set_condition(job_condition::ACCEPTED, true, "Accepted", &message);
            Some(terms)
        }
        Err(refusal) => {
            draft.set_condition(job_condition::ACCEPTED, false, refusal.reason, &refusal.message);
            None
        }
    }
}

fn terms(draft: &mut Draft<'_>, job: ValidatedJob) -> Result<Terms, Refusal> {
    if let Some(payer) = draft.status.payer.clone() {
        return agreed_terms(draft, job, &payer);
    }
    let namespace = draft.observed.namespace();
    let policy = paying_policy(&draft.observed.policies, namespace).ok_or_else(|| Refusal {
        reason: "NoSpendPolicy",
        message: format!(
            "no SpendPolicy names namespace {namespace}: ask the hub's admin to add it to spec.namespaces of one"
        ),
    })?;
    let (per_job, per_day) = limits(policy)?;
    if job.budget > per_job {
        let message = format!(
            "spec.price.budget {} is above the {per_job} that SpendPolicy {} allows per job: lower the budget",
            job.budget,
            name(policy)
        );
        return Err(Refusal {
            reason: "OverJobLimit",
            message,
        });
    }
    let spend_policy = name(policy).to_owned();
    draft.status.payer = Some(Payer {
        spend_policy: spend_policy.clone(),
        address: policy.spec.payer.clone(),
    });
    Ok(Terms {
        job,
        per_day,
        spend_policy,
        suspended: None,
    })
}

/// The payer was fixed at acceptance; a policy that changed since only stops new attempts.
fn agreed_terms(draft: &Draft<'_>, job: ValidatedJob, payer: &Payer) -> Result<Terms, Refusal> {
    let namespace = draft.observed.namespace();
    let policy = draft
        .observed
        .policies
        .iter()
        .find(|policy| name(policy) == payer.spend_policy);
    let pays = policy.filter(|policy| pays_for(policy, namespace) && same_address(&policy.spec.payer, &payer.address));
    let suspended = pays.is_none().then(|| {
        format!(
            "SpendPolicy {} with payer {} no longer pays for namespace {namespace}",
            payer.spend_policy, payer.address
        )
    });
    let per_day = pays
        .map(limits)
        .transpose()?
        .map_or(MicroUsd::ZERO, |(_, per_day)| per_day);
    Ok(Terms {
        job,
        per_day,
        spend_policy: payer.spend_policy.clone(),
        suspended,
    })
}

fn same_address(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn name(policy: &SpendPolicy) -> &str {
    policy.metadata.name.as_deref().unwrap_or_default()
}

fn pays_for(policy: &SpendPolicy, namespace: &str) -> bool {
    policy.spec.namespaces.iter().any(|candidate| candidate == namespace)
}

/// The first by name, so that every look gives the same answer.
fn paying_policy<'a>(policies: &'a [SpendPolicy], namespace: &str) -> Option<&'a SpendPolicy> {
    policies
        .iter()
        .filter(|policy| pays_for(policy, namespace))
        .min_by_key(|policy| name(policy))
}

fn limits(policy: &SpendPolicy) -> Result<(MicroUsd, MicroUsd), Refusal> {
    let amount = |field: &str, text: &str| {
        text.parse::<MicroUsd>().map_err(|error| Refusal {
            reason: "InvalidSpendPolicy",
            message: format!("SpendPolicy {}: spec.limits.{field}: {error}", name(policy)),
        })
    };
    Ok((
        amount("perJob", &policy.spec.limits.per_job)?,
        amount("perDay", &policy.spec.limits.per_day)?,
    ))
}

/// The sentence that ends the job, once its deadline is over.
pub(super) fn deadline_passed(draft: &mut Draft<'_>, terms: &Terms) -> Option<String> {
    let deadline = after_creation(draft, terms.job.deadline)?;
    if draft.now < deadline {
        draft.wake_at(deadline);
        return None;
    }
    Some(format!(
        "not complete within spec.execution.deadline {}",
        draft.observed.job.spec.execution.deadline
    ))
}

/// Creation time plus a duration; none for an object without a creation time.
pub(super) fn after_creation(draft: &Draft<'_>, wait: std::time::Duration) -> Option<Timestamp> {
    let created = draft.observed.job.metadata.creation_timestamp.as_ref()?.0;
    created.checked_add(SignedDuration::try_from(wait).ok()?).ok()
}
