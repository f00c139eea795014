//! A job's spec as typed values. The API server checked shapes; this checks what the schema cannot say.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use spillway_core::duration;
use spillway_core::latency::HUB;
use spillway_core::market::{Policy, ProviderClass, Requirement, Weights};
use spillway_core::money::{MicroUsd, UnitPrice};
use spillway_core::shard::ShardCount;

use crate::{AttemptKind, Burst, DataClass, Execution, InferenceJobSpec, LatencyBound, Placement, ShardStatus};

/// Most shards of a job.
const MAX_SHARDS: u32 = 256;
/// Highest secret tier that is offered; a higher one is refused, never lowered.
const MAX_SECRET_TIER: u8 = 1;

/// A field of the spec that cannot be honoured, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SpecError {
    /// Path, such as `spec.price.maxPerGpuHour`.
    pub field: &'static str,
    pub message: String,
}

/// Everything that placement, dispatch and accounting need of a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedJob {
    /// Of a Work attempt; [`ValidatedJob::requirement_for`] adds excluded owners.
    pub requirement: Requirement,
    pub weights: Weights,
    pub budget: MicroUsd,
    /// Longest time of the whole job, from its creation.
    pub deadline: Duration,
    /// Longest time of one attempt.
    pub shard_timeout: Duration,
    /// Work attempts that run at the same time, at least 1.
    pub parallelism: u32,
    /// Work attempts per shard after the first.
    pub retries: u32,
    pub shards: ShardCount,
    /// Largest part of the cost that checks may take, in ten-thousandths.
    pub max_check_share: u32,
    /// The order of provider classes, when own capacity goes first.
    pub burst: Option<BurstTerms>,
    pub service: Option<ServiceTerms>,
}

/// `placement.burst`: one class after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BurstTerms {
    /// How long a shard waits for a class before the next one may be used; `None`: for ever.
    pub after: Option<Duration>,
    /// More waiting shards than this open the next class earlier.
    pub queue_length: Option<u32>,
    /// Cap per GPU-hour beyond the first class.
    pub max_price: UnitPrice,
    /// Classes that the job allows and its data may reach, own capacity first; never empty.
    pub classes: Vec<ProviderClass>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceTerms {
    pub completion: Duration,
    /// Part of the price credited on a breach, in ten-thousandths.
    pub credit: u32,
}

impl ValidatedJob {
    /// Requirement of an attempt: a Check, Arbitrate or Repair attempt must go to an owner who has not run the shard;
    /// one that was planned for a class stays there.
    pub fn requirement_for(&self, kind: AttemptKind, shard: &ShardStatus, attempt: u16) -> Requirement {
        let mut requirement = self.requirement.clone();
        if kind != AttemptKind::Work {
            requirement.excluded_providers = shard.other_owners(attempt);
        }
        let planned = shard.attempts.iter().find(|planned| planned.number == attempt);
        match planned.and_then(|planned| planned.class) {
            Some(class) => self.narrowed_to(requirement, class.into()),
            None => requirement,
        }
    }

    /// The requirement within one class of the burst; beyond the first one with the burst's own cap.
    pub fn narrowed_to(&self, requirement: Requirement, class: ProviderClass) -> Requirement {
        let beyond = |burst: &&BurstTerms| burst.classes.first() != Some(&class);
        let cap = self.burst.as_ref().filter(beyond).map(|burst| burst.max_price);
        Requirement {
            classes: vec![class],
            max_price: cap.unwrap_or(self.requirement.max_price),
            ..requirement
        }
    }
}

impl ShardStatus {
    /// Owners who hold, or completed, an attempt of this shard other than `attempt`. One that failed, was lost or was
    /// cancelled left no result, so its owner is as good a judge as any.
    pub fn other_owners(&self, attempt: u16) -> BTreeSet<String> {
        use crate::AttemptState::{Assigned, Completed, Expected, Running};
        let others = self.attempts.iter().filter(|other| other.number != attempt);
        let runs = others.filter(|other| matches!(other.state, Expected | Assigned | Running | Completed));
        runs.filter_map(|other| other.provider.clone()).collect()
    }
}

impl InferenceJobSpec {
    /// See [`validate`].
    ///
    /// # Errors
    /// The first field that cannot be honoured.
    pub fn validated(&self) -> Result<ValidatedJob, SpecError> {
        validate(self)
    }
}

/// Turns a spec into typed values, on a hub without a stricter default than Public.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn validate(spec: &InferenceJobSpec) -> Result<ValidatedJob, SpecError> {
    validate_under(spec, DataClass::Public)
}

/// Turns a spec into typed values on a hub whose data class is at least `least`: its default, or what a job's status
/// holds since acceptance.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn validate_under(spec: &InferenceJobSpec, least: DataClass) -> Result<ValidatedJob, SpecError> {
    check_secret_tier(spec.data.secret_tier)?;
    let execution = &spec.execution;
    let requirement = requirement(spec, least)?;
    Ok(ValidatedJob {
        burst: burst(&spec.placement, &requirement)?,
        requirement,
        weights: weights(&spec.placement)?,
        budget: budget(spec)?,
        deadline: positive("spec.execution.deadline", &execution.deadline)?,
        shard_timeout: positive("spec.execution.shardTimeout", &execution.shard_timeout)?,
        parallelism: at_least_one("spec.execution.parallelism", execution.parallelism)?,
        retries: execution.retries,
        shards: shards(execution)?,
        max_check_share: ten_thousandths("spec.verification.maxShare", &spec.verification.max_share)?,
        service: service(spec)?,
    })
}

/// The data class that holds: the hub's, or the job's own when that is stricter.
///
/// # Errors
/// When the job asks for a looser one: nothing is lowered, and nothing is changed silently.
pub fn effective_data_class(spec: &InferenceJobSpec, least: DataClass) -> Result<DataClass, SpecError> {
    match spec.data.class {
        None => Ok(least),
        Some(class) if class >= least => Ok(class),
        Some(class) => {
            let message = format!(
                "{class:?} is looser than {least:?}, which this hub sets for every job: leave it out, or write {least:?} or a stricter class"
            );
            Err(SpecError {
                field: "spec.data.class",
                message,
            })
        }
    }
}

/// The hard needs of a job's Work attempts on a hub whose data class is at least `least`.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn requirement(spec: &InferenceJobSpec, least: DataClass) -> Result<Requirement, SpecError> {
    let (resources, placement) = (&spec.resources, &spec.placement);
    let requirement = Requirement {
        gpus: at_least_one("spec.resources.gpus", resources.gpus)?,
        models: resources.models.clone(),
        min_memory: optional("spec.resources.minMemory", resources.min_memory.as_deref())?,
        min_compute_capability: optional(
            "spec.resources.minComputeCapability",
            resources.min_compute_capability.as_deref(),
        )?,
        classes: placement.classes.iter().map(|class| (*class).into()).collect(),
        regions: placement.regions.clone(),
        jurisdictions: placement.jurisdictions.clone(),
        latency_to: latency_to(placement.max_latency.as_ref()),
        max_latency_p95: placement.max_latency.as_ref().map(latency_bound).transpose()?,
        max_price: parsed("spec.price.maxPerGpuHour", &spec.price.max_per_gpu_hour)?,
        data_class: effective_data_class(spec, least)?.into(),
        isolation: spec.data.isolation.into(),
        min_reputation: min_reputation(placement)?,
        work_time: positive("spec.execution.shardTimeout", &spec.execution.shard_timeout)?,
        excluded_providers: BTreeSet::new(),
    };
    check_classes(&requirement, least)?;
    Ok(requirement)
}

/// The most that the whole job may cost.
///
/// # Errors
/// When `spec.price.budget` is no amount.
pub fn budget(spec: &InferenceJobSpec) -> Result<MicroUsd, SpecError> {
    parsed("spec.price.budget", &spec.price.budget)
}

/// A job whose classes are all closed to its data could never be placed.
fn check_classes(requirement: &Requirement, least: DataClass) -> Result<(), SpecError> {
    let data = requirement.data_class;
    let open = requirement.classes.iter().any(|class| data.allows(*class));
    if requirement.classes.is_empty() || open {
        return Ok(());
    }
    let message = if data == least.into() {
        format!("none of these classes may hold {data:?} data, which this hub sets for every job: add Private")
    } else {
        format!("none of these classes may hold {data:?} data: add Private, or lower spec.data.class")
    };
    Err(SpecError {
        field: "spec.placement.classes",
        message,
    })
}

fn check_secret_tier(tier: u8) -> Result<(), SpecError> {
    if tier <= MAX_SECRET_TIER {
        return Ok(());
    }
    let message = format!("tier {tier} is not offered by this hub: use 0 or {MAX_SECRET_TIER}");
    Err(SpecError {
        field: "spec.data.secretTier",
        message,
    })
}

fn latency_bound(bound: &LatencyBound) -> Result<u64, SpecError> {
    let p95 = positive("spec.placement.maxLatency.p95", &bound.p95)?;
    Ok(u64::try_from(p95.as_micros()).unwrap_or(u64::MAX))
}

/// The location that latency counts to, named or not.
fn latency_to(bound: Option<&LatencyBound>) -> String {
    bound.map_or_else(|| HUB.to_owned(), |bound| bound.to.clone())
}

fn shards(execution: &Execution) -> Result<ShardCount, SpecError> {
    let count = match &execution.shards {
        IntOrString::String(text) if text == "auto" => return Ok(ShardCount::Auto),
        IntOrString::Int(count) => u32::try_from(*count).ok(),
        IntOrString::String(_) => None,
    };
    let count = count.filter(|count| (1..=MAX_SHARDS).contains(count));
    let message = || format!("write \"auto\" or a number from 1 to {MAX_SHARDS}");
    count.map(ShardCount::Count).ok_or_else(|| SpecError {
        field: "spec.execution.shards",
        message: message(),
    })
}

fn min_reputation(placement: &Placement) -> Result<Option<u32>, SpecError> {
    let text = placement.min_reputation.as_deref();
    text.map(|text| ten_thousandths("spec.placement.minReputation", text))
        .transpose()
}

fn weights(placement: &Placement) -> Result<Weights, SpecError> {
    let Some(given) = placement.weights else {
        return Ok(Weights::of(Policy::from(placement.policy)));
    };
    Weights::relative(given.price, given.latency, given.reputation).ok_or_else(|| SpecError {
        field: "spec.placement.weights",
        message: "at least one of price, latency and reputation must be above 0".to_owned(),
    })
}

fn burst(placement: &Placement, requirement: &Requirement) -> Result<Option<BurstTerms>, SpecError> {
    let Some(burst) = &placement.burst else { return Ok(None) };
    let Burst {
        after,
        queue_length,
        max_per_gpu_hour,
    } = burst;
    if after.is_none() && queue_length.is_none() {
        return Err(SpecError {
            field: "spec.placement.burst",
            message: "give after, queueLength or both, such as {after: 5m}".to_owned(),
        });
    }
    let after = after.as_deref().map(|text| time("spec.placement.burst.after", text));
    let cap = optional("spec.placement.burst.maxPerGpuHour", max_per_gpu_hour.as_deref())?;
    let allowed = |class: &ProviderClass| {
        requirement.data_class.allows(*class) && (requirement.classes.is_empty() || requirement.classes.contains(class))
    };
    Ok(Some(BurstTerms {
        after: after.transpose()?,
        queue_length: *queue_length,
        max_price: cap.unwrap_or(requirement.max_price),
        classes: ProviderClass::OWN_FIRST.into_iter().filter(allowed).collect(),
    }))
}

fn service(spec: &InferenceJobSpec) -> Result<Option<ServiceTerms>, SpecError> {
    let Some(level) = &spec.sla else { return Ok(None) };
    Ok(Some(ServiceTerms {
        completion: positive("spec.sla.completion", &level.completion)?,
        credit: ten_thousandths("spec.sla.credit", &level.credit)?,
    }))
}

fn parsed<T>(field: &'static str, text: &str) -> Result<T, SpecError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| SpecError {
        field,
        message: error.to_string(),
    })
}

fn optional<T>(field: &'static str, text: Option<&str>) -> Result<Option<T>, SpecError>
where
    T: FromStr,
    T::Err: Display,
{
    text.map(|text| parsed(field, text)).transpose()
}

fn time(field: &'static str, text: &str) -> Result<Duration, SpecError> {
    duration::parse(text).map_err(|error| SpecError {
        field,
        message: error.to_string(),
    })
}

fn positive(field: &'static str, text: &str) -> Result<Duration, SpecError> {
    let length = time(field, text)?;
    let message = "must be longer than nothing, such as \"15m\"".to_owned();
    if length.is_zero() {
        Err(SpecError { field, message })
    } else {
        Ok(length)
    }
}

fn at_least_one(field: &'static str, count: u32) -> Result<u32, SpecError> {
    if count > 0 {
        Ok(count)
    } else {
        Err(SpecError {
            field,
            message: "must be at least 1".to_owned(),
        })
    }
}

/// A share from "0" to "1" with at most four decimals.
fn ten_thousandths(field: &'static str, text: &str) -> Result<u32, SpecError> {
    let message = || format!("`{text}` is not a share: write a decimal string from \"0\" to \"1\", such as \"0.2\"");
    let micro = text
        .parse::<MicroUsd>()
        .ok()
        .map(|share| share.0)
        .filter(|micro| *micro <= 1_000_000);
    let share = micro
        .filter(|micro| micro % 100 == 0)
        .and_then(|micro| u32::try_from(micro / 100).ok());
    share.ok_or_else(|| SpecError {
        field,
        message: message(),
    })
}
