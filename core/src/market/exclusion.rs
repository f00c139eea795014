//! Why an offer does not fit: a chain of small checks over hard needs, the first that fails is the reason.

use std::fmt;

use crate::knowledge::Knowledge;
use crate::market::explain::{decimal, milliseconds};
use crate::market::{ComputeCapability, DataClass, Isolation, Offer, ProviderClass, Requirement};
use crate::memory::Bytes;
use crate::money::UnitPrice;

/// A hard need that an offer misses. Needs that time cannot cure come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exclusion {
    DataClass { data: DataClass, provider: ProviderClass },
    Class { provider: ProviderClass },
    Isolation { least: Isolation },
    Unqualified,
    Region,
    Jurisdiction,
    JurisdictionUnknown,
    Model,
    SharedGpu,
    Memory { least: Bytes },
    ComputeCapability { least: ComputeCapability },
    ComputeCapabilityUnknown,
    HostTooSmall { gpus: u32 },
    OwnerExcluded,
    Price { cap: UnitPrice },
    Reputation { least: u32 },
    ReputationUnknown,
    StakeHeadroom,
    Latency { bound_micros: u64 },
    LatencyUnknown,
    Unavailable,
    NoFreeGpus,
}

impl Exclusion {
    /// CamelCase word for conditions, metrics and `status.placement.excluded`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::DataClass { .. } => "DataClass",
            Self::Class { .. } => "Class",
            Self::Isolation { .. } => "Isolation",
            Self::Unqualified => "Unqualified",
            Self::Region => "Region",
            Self::Jurisdiction => "Jurisdiction",
            Self::JurisdictionUnknown => "JurisdictionUnknown",
            Self::Model => "Model",
            Self::SharedGpu => "SharedGpu",
            Self::Memory { .. } => "Memory",
            Self::ComputeCapability { .. } => "ComputeCapability",
            Self::ComputeCapabilityUnknown => "ComputeCapabilityUnknown",
            Self::HostTooSmall { .. } => "HostTooSmall",
            Self::OwnerExcluded => "OwnerExcluded",
            Self::Price { .. } => "Price",
            Self::Reputation { .. } => "Reputation",
            Self::ReputationUnknown => "ReputationUnknown",
            Self::StakeHeadroom => "StakeHeadroom",
            Self::Latency { .. } => "Latency",
            Self::LatencyUnknown => "LatencyUnknown",
            Self::Unavailable => "Unavailable",
            Self::NoFreeGpus => "NoFreeGpus",
        }
    }

    /// Whether waiting may cure it, without a change of the offer or of the job.
    pub const fn passes_with_time(&self) -> bool {
        matches!(
            self,
            Self::StakeHeadroom | Self::LatencyUnknown | Self::Latency { .. } | Self::Unavailable | Self::NoFreeGpus
        )
    }
}

impl fmt::Display for Exclusion {
    /// Plain words that read both after a count ("3 of unknown latency") and after a node's name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataClass { data, provider } => write!(formatter, "of class {provider:?}, closed to {data:?} data"),
            Self::Class { provider } => write!(formatter, "of class {provider:?}, which the job does not list"),
            Self::Isolation { least } => write!(formatter, "below isolation tier {least:?}"),
            Self::Unqualified => formatter.write_str("of an owner who is not qualified"),
            Self::Region => formatter.write_str("outside the asked regions"),
            Self::Jurisdiction => formatter.write_str("outside the asked jurisdictions"),
            Self::JurisdictionUnknown => formatter.write_str("of unknown jurisdiction"),
            Self::Model => formatter.write_str("of another GPU model"),
            Self::SharedGpu => formatter.write_str("with time-shared GPUs, which must be asked for by model"),
            Self::Memory { least } => write!(formatter, "below {least} of GPU memory"),
            Self::ComputeCapability { least } => write!(formatter, "below compute capability {least}"),
            Self::ComputeCapabilityUnknown => formatter.write_str("of unknown compute capability"),
            Self::HostTooSmall { gpus } => write!(formatter, "with fewer than {gpus} GPUs on the host"),
            Self::OwnerExcluded => formatter.write_str("of an owner who already ran this shard"),
            Self::Price { cap } => write!(formatter, "over the price cap of {} per GPU-hour", decimal(*cap)),
            Self::Reputation { least } => {
                write!(formatter, "below a reputation of {}", share(*least))
            }
            Self::ReputationUnknown => formatter.write_str("of unknown reputation"),
            Self::StakeHeadroom => formatter.write_str("whose owner's stake covers no further attempt"),
            Self::Latency { bound_micros } => {
                write!(formatter, "over the latency bound of {}", milliseconds(*bound_micros))
            }
            Self::LatencyUnknown => formatter.write_str("of unknown latency"),
            Self::Unavailable => formatter.write_str("not available now"),
            Self::NoFreeGpus => formatter.write_str("without enough free GPUs"),
        }
    }
}

const TEN_THOUSANDTHS: f64 = 10_000.0;

/// A share in ten-thousandths as a decimal: `0.5`, `0.975`.
pub(super) fn share(ten_thousandths: u32) -> String {
    let full = format!("{}.{:04}", ten_thousandths / 10_000, ten_thousandths % 10_000);
    full.trim_end_matches('0').trim_end_matches('.').to_owned()
}

type Check = fn(&Requirement, &Offer) -> Option<Exclusion>;

const CHECKS: [Check; 17] = [
    data_class,
    class,
    isolation,
    qualification,
    region,
    jurisdiction,
    model,
    shared_gpu,
    memory,
    compute_capability,
    host_size,
    owner,
    price,
    reputation,
    stake,
    latency,
    capacity,
];

/// Every hard need that the offer misses, in the order of [`exclude`]; empty when it fits.
pub fn exclusions<'a>(requirement: &'a Requirement, offer: &'a Offer) -> impl Iterator<Item = Exclusion> + 'a {
    CHECKS.iter().filter_map(move |check| check(requirement, offer))
}

/// The first hard need that the offer misses; `None` when it fits.
pub fn exclude(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    CHECKS.iter().find_map(|check| check(requirement, offer))
}

fn data_class(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    let (data, provider) = (requirement.data_class, offer.class);
    (!data.allows(provider)).then_some(Exclusion::DataClass { data, provider })
}

fn class(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    (!any_or_listed(&requirement.classes, &offer.class)).then_some(Exclusion::Class { provider: offer.class })
}

fn isolation(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    let least = requirement.isolation;
    (offer.isolation < least).then_some(Exclusion::Isolation { least })
}

/// Passed while nobody has said otherwise.
fn qualification(_: &Requirement, offer: &Offer) -> Option<Exclusion> {
    (offer.qualified == Knowledge::Known(false)).then_some(Exclusion::Unqualified)
}

fn region(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    (!any_or_listed(&requirement.regions, &offer.region)).then_some(Exclusion::Region)
}

fn jurisdiction(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    match &offer.jurisdiction {
        _ if requirement.jurisdictions.is_empty() => None,
        None => Some(Exclusion::JurisdictionUnknown),
        Some(named) => (!requirement.jurisdictions.contains(named)).then_some(Exclusion::Jurisdiction),
    }
}

fn model(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    (!any_or_listed(&requirement.models, &offer.product)).then_some(Exclusion::Model)
}

/// A time-shared GPU is sold as a whole one: nobody gets it who did not ask for it by name.
fn shared_gpu(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    (requirement.models.is_empty() && offer.product.ends_with("-SHARED")).then_some(Exclusion::SharedGpu)
}

fn memory(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    requirement
        .min_memory
        .filter(|least| offer.gpu_memory < *least)
        .map(|least| Exclusion::Memory { least })
}

fn compute_capability(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    let least = requirement.min_compute_capability?;
    match offer.compute_capability {
        Knowledge::Unknown => Some(Exclusion::ComputeCapabilityUnknown),
        Knowledge::Known(actual) => (actual < least).then_some(Exclusion::ComputeCapability { least }),
    }
}

fn host_size(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    (offer.gpus_total < requirement.gpus).then_some(Exclusion::HostTooSmall { gpus: requirement.gpus })
}

fn owner(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    requirement
        .excluded_providers
        .contains(&offer.provider)
        .then_some(Exclusion::OwnerExcluded)
}

fn price(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    let cap = requirement.max_price;
    (offer.price > cap).then_some(Exclusion::Price { cap })
}

fn reputation(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    let least = requirement.min_reputation?;
    match offer.reputation {
        Knowledge::Unknown => Some(Exclusion::ReputationUnknown),
        Knowledge::Known(actual) => {
            (actual.lower_bound() * TEN_THOUSANDTHS < f64::from(least)).then_some(Exclusion::Reputation { least })
        }
    }
}

/// No limit while nobody has said what the stake still covers.
fn stake(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    let headroom = offer.stake_headroom.known()?;
    (requirement.upper_bound(offer) > headroom).then_some(Exclusion::StakeHeadroom)
}

fn latency(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    let bound_micros = requirement.max_latency_p95?;
    match offer.latencies.to(&requirement.latency_to) {
        Knowledge::Unknown => Some(Exclusion::LatencyUnknown),
        Knowledge::Known(actual) => (actual.p95 > bound_micros).then_some(Exclusion::Latency { bound_micros }),
    }
}

fn capacity(requirement: &Requirement, offer: &Offer) -> Option<Exclusion> {
    if !offer.available {
        return Some(Exclusion::Unavailable);
    }
    (offer.gpus_free < requirement.gpus).then_some(Exclusion::NoFreeGpus)
}

fn any_or_listed<T: PartialEq>(listed: &[T], actual: &T) -> bool {
    listed.is_empty() || listed.contains(actual)
}
