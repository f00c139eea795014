//! A job's spec as typed values. The API server checked shapes; this checks what the schema cannot say.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use spillway_core::duration;
use spillway_core::market::{Policy, ProviderClass, Requirement, Weights};
use spillway_core::money::MicroUsd;
use spillway_core::shard::ShardCount;

use crate::{AttemptKind, Execution, InferenceJobSpec, LatencyBound, ShardStatus};

/// Most shards of a job.
const MAX_SHARDS: u32 = 256;
/// Highest secret tier that is offered; a higher one is refused, never lowered.
const MAX_SECRET_TIER: u8 = 1;
/// The one location that latency is measured to.
const LATENCY_TO: &str = "hub";

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
    /// How long own capacity is waited for before other classes may be used.
    pub burst_after: Option<Duration>,
    pub service: Option<ServiceTerms>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceTerms {
    pub completion: Duration,
    /// Part of the price credited on a breach, in ten-thousandths.
    pub credit: u32,
}

impl ValidatedJob {
    /// Requirement of an attempt: a Check, Arbitrate or Repair attempt must go to an owner who has not run the shard.
    pub fn requirement_for(&self, kind: AttemptKind, shard: &ShardStatus, attempt: u16) -> Requirement {
        let mut requirement = self.requirement.clone();
        if kind != AttemptKind::Work {
            requirement.excluded_providers = shard.other_owners(attempt);
        }
        requirement
    }

    /// Requirement at a job's age: with `placement.burst`, Private owners only until `burst.after` has passed.
    pub fn narrowed_by_burst(&self, requirement: Requirement, age: Duration) -> Requirement {
        let waits = self.burst_after.is_some_and(|after| age < after);
        let private_allowed = requirement.classes.is_empty() || requirement.classes.contains(&ProviderClass::Private);
        if waits && private_allowed {
            return Requirement {
                classes: vec![ProviderClass::Private],
                ..requirement
            };
        }
        requirement
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

/// Turns a spec into typed values.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn validate(spec: &InferenceJobSpec) -> Result<ValidatedJob, SpecError> {
    check_secret_tier(spec.data.secret_tier)?;
    let execution = &spec.execution;
    Ok(ValidatedJob {
        requirement: requirement(spec)?,
        weights: Weights::of(Policy::from(spec.placement.policy)),
        budget: budget(spec)?,
        deadline: positive("spec.execution.deadline", &execution.deadline)?,
        shard_timeout: positive("spec.execution.shardTimeout", &execution.shard_timeout)?,
        parallelism: at_least_one("spec.execution.parallelism", execution.parallelism)?,
        retries: execution.retries,
        shards: shards(execution)?,
        max_check_share: ten_thousandths("spec.verification.maxShare", &spec.verification.max_share)?,
        burst_after: burst_after(spec)?,
        service: service(spec)?,
    })
}

/// The hard needs of a job's Work attempts.
///
/// # Errors
/// The first field that cannot be honoured.
pub fn requirement(spec: &InferenceJobSpec) -> Result<Requirement, SpecError> {
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
        max_latency_p95: placement.max_latency.as_ref().map(latency_bound).transpose()?,
        max_price: parsed("spec.price.maxPerGpuHour", &spec.price.max_per_gpu_hour)?,
        data_class: spec.data.class.into(),
        excluded_providers: BTreeSet::new(),
    };
    check_classes(&requirement)?;
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
fn check_classes(requirement: &Requirement) -> Result<(), SpecError> {
    let data = requirement.data_class;
    let open = requirement.classes.iter().any(|class| data.allows(*class));
    if requirement.classes.is_empty() || open {
        return Ok(());
    }
    let message = format!("none of these classes may hold {data:?} data: add Private, or lower spec.data.class");
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
    if bound.to != LATENCY_TO {
        let message = format!("latency to `{}` is not measured: use \"{LATENCY_TO}\"", bound.to);
        return Err(SpecError {
            field: "spec.placement.maxLatency.to",
            message,
        });
    }
    let p95 = positive("spec.placement.maxLatency.p95", &bound.p95)?;
    Ok(u64::try_from(p95.as_micros()).unwrap_or(u64::MAX))
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

fn burst_after(spec: &InferenceJobSpec) -> Result<Option<Duration>, SpecError> {
    let burst = spec.placement.burst.as_ref();
    burst
        .map(|burst| time("spec.placement.burst.after", &burst.after))
        .transpose()
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
