//! Acceptance: the spec is understood, and a SpendPolicy pays.

use jiff::{SignedDuration, Timestamp};
use spillway_core::money::MicroUsd;
use spillway_crds::market::{SpecError, ValidatedJob, validate_under};
use spillway_crds::{Payer, SpendPolicy, job_condition};

use super::draft::Draft;

/// The job's terms, typed, and who pays.
#[derive(Debug)]
pub(super) struct Terms {
    pub job: ValidatedJob,
    /// Most that the SpendPolicy allows the job now, whatever its budget is.
    pub per_job: MicroUsd,
    pub limits: DayLimits,
    pub spend_policy: String,
    /// Set when the policy no longer pays for this namespace: nothing new starts, what runs may finish.
    pub suspended: Option<String>,
}

/// Most that jobs may reserve and spend in a day (UTC) under a SpendPolicy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayLimits {
    /// All jobs together.
    pub per_day: MicroUsd,
    /// Those of one namespace.
    pub per_namespace_per_day: Option<MicroUsd>,
}

struct Refusal {
    reason: &'static str,
    message: String,
}

impl From<SpecError> for Refusal {
    fn from(error: SpecError) -> Self {
        Self {
            reason: "InvalidSpec",
            message: error.to_string(),
        }
    }
}

/// Sets condition Accepted; returns the terms when it holds.
pub(super) fn accept(draft: &mut Draft<'_>) -> Option<Terms> {
    let found = understood(draft).and_then(|job| terms(draft, job));
    match found {
        Ok(terms) => {
            let message = format!("SpendPolicy {} pays", terms.spend_policy);
            draft.status.data_class = Some(terms.job.requirement.data_class.into());
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

/// The spec, typed. The data class is the one of the job's acceptance: a hub's default that changed since changes nothing.
fn understood(draft: &Draft<'_>) -> Result<ValidatedJob, Refusal> {
    let least = draft.status.data_class.unwrap_or(draft.observed.default_data_class);
    Ok(validate_under(&draft.observed.job.spec, least)?)
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
    let per_job = amount(policy, "perJob", &policy.spec.limits.per_job)?;
    let limits = limits(policy)?;
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
        per_job,
        limits,
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
    let per_job = pays.map(|policy| amount(policy, "perJob", &policy.spec.limits.per_job));
    Ok(Terms {
        job,
        per_job: per_job.transpose()?.unwrap_or_default(),
        limits: pays.map(limits).transpose()?.unwrap_or_default(),
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

/// The limits per day of a policy; `None` when one of them is no amount.
pub fn day_limits(policy: &SpendPolicy) -> Option<DayLimits> {
    limits(policy).ok()
}

fn limits(policy: &SpendPolicy) -> Result<DayLimits, Refusal> {
    let given = &policy.spec.limits;
    let of_namespace = given.per_namespace_per_day.as_deref();
    Ok(DayLimits {
        per_day: amount(policy, "perDay", &given.per_day)?,
        per_namespace_per_day: of_namespace
            .map(|text| amount(policy, "perNamespacePerDay", text))
            .transpose()?,
    })
}

fn amount(policy: &SpendPolicy, field: &str, text: &str) -> Result<MicroUsd, Refusal> {
    text.parse::<MicroUsd>().map_err(|error| Refusal {
        reason: "InvalidSpendPolicy",
        message: format!("SpendPolicy {}: spec.limits.{field}: {error}", name(policy)),
    })
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
