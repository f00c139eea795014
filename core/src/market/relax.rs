//! One hard need of a job, loosened by as little as one offer asks for: which field, from what, to what, how much.

use std::fmt;

use crate::knowledge::Knowledge;
use crate::market::exclusion::share;
use crate::market::explain::decimal;
use crate::market::{
    Capacity, ComputeCapability, DataClass, Exclusion, Isolation, Need, Offer, ProviderClass, Requirement,
};
use crate::memory::Bytes;
use crate::money::UnitPrice;

/// Steps of a latency bound within a power of ten, in tenths: a bound that follows every measurement would never rest.
const LATENCY_STEPS: [u64; 10] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80];
/// Below it each whole millisecond is a step.
const FINEST_MILLIS: u64 = 10;

/// All that was asked, in the unit of sizes.
const WHOLE: u64 = 1_000_000;
/// Size of a bound that is dropped.
const DROPPED: u64 = u64::MAX / 4;

/// A change of one field of the spec. Every value is one that may be written into a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relaxation {
    MaxPrice {
        cap: Cap,
        from: UnitPrice,
        to: UnitPrice,
    },
    /// Ten-thousandths.
    MinReputation {
        from: u32,
        to: u32,
    },
    NoReputation,
    /// Microseconds; `to` is a whole number of milliseconds.
    MaxLatency {
        from: u64,
        to: u64,
    },
    NoLatencyBound,
    MinMemory {
        from: Bytes,
        to: Bytes,
    },
    MinComputeCapability {
        from: ComputeCapability,
        to: ComputeCapability,
    },
    NoComputeCapability,
    Gpus {
        from: u32,
        to: u32,
    },
    Model(String),
    Region(String),
    Class(ProviderClass),
    Jurisdiction(String),
    NoJurisdictions,
    Isolation {
        from: Isolation,
        to: Isolation,
    },
    DataClass {
        from: DataClass,
        to: DataClass,
    },
}

/// The field that holds an offer's price cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cap {
    #[default]
    Job,
    /// Beyond own capacity a burst may have a cap of its own.
    Burst,
}

/// What is done to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Raise,
    Lower,
    /// To a list.
    Add,
    Remove,
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Raise => "raise",
            Self::Lower => "lower",
            Self::Add => "add",
            Self::Remove => "remove",
        })
    }
}

impl Relaxation {
    /// What cures `exclusion` for `offer`; `None` when no change of the job does: its owner is excluded, not qualified or
    /// without stake, the provider is away, it has no GPU at all, or the hub wants the data class.
    pub(super) fn cure(exclusion: Exclusion, need: Need<'_>, offer: &Offer, capacity: Capacity) -> Option<Self> {
        let Need {
            requirement,
            cap: field,
            least_data_class,
        } = need;
        Some(match exclusion {
            Exclusion::DataClass { data, provider } => {
                let to = data.loosened_for(provider);
                (to >= least_data_class).then_some(Self::DataClass { from: data, to })?
            }
            Exclusion::Class { provider } => Self::Class(provider),
            Exclusion::Region => Self::Region(offer.region.clone()),
            Exclusion::Jurisdiction => Self::Jurisdiction(offer.jurisdiction.clone()?),
            Exclusion::JurisdictionUnknown => Self::NoJurisdictions,
            Exclusion::Model | Exclusion::SharedGpu => Self::Model(offer.product.clone()),
            Exclusion::Memory { least } => Self::MinMemory {
                from: least,
                to: offer.gpu_memory,
            },
            Exclusion::ComputeCapability { least } => Self::MinComputeCapability {
                from: least,
                to: offer.compute_capability.known()?,
            },
            Exclusion::ComputeCapabilityUnknown => Self::NoComputeCapability,
            // Too small for the host is too many for what is free as well: one change for both.
            Exclusion::HostTooSmall { .. } | Exclusion::NoFreeGpus => {
                let to = capacity.gpus(offer).min(offer.gpus_total);
                return (to > 0).then_some(Self::Gpus {
                    from: requirement.gpus,
                    to,
                });
            }
            Exclusion::Isolation { least } => Self::Isolation {
                from: least,
                to: offer.isolation,
            },
            Exclusion::Reputation { least } => Self::MinReputation {
                from: least,
                to: ten_thousandths(offer.reputation.known()?.lower_bound()).min(least),
            },
            Exclusion::ReputationUnknown => Self::NoReputation,
            Exclusion::Price { cap } => Self::MaxPrice {
                cap: field,
                from: cap,
                to: offer.price,
            },
            Exclusion::Latency { bound_micros } => match offer.latencies.to(&requirement.latency_to) {
                Knowledge::Known(latency) => Self::MaxLatency {
                    from: bound_micros,
                    to: latency_bound(latency.p95),
                },
                Knowledge::Unknown => Self::NoLatencyBound,
            },
            Exclusion::LatencyUnknown => Self::NoLatencyBound,
            Exclusion::OwnerExcluded | Exclusion::Unqualified | Exclusion::StakeHeadroom | Exclusion::Unavailable => {
                return None;
            }
        })
    }

    /// Applies it to what offers under `cap` must meet.
    pub(super) fn apply(&self, requirement: &mut Requirement, cap: Cap) {
        match self {
            Self::MaxPrice { cap: field, to, .. } if *field == cap => requirement.max_price = *to,
            Self::MaxPrice { .. } => {}
            Self::MinReputation { to, .. } => requirement.min_reputation = Some(*to),
            Self::NoReputation => requirement.min_reputation = None,
            Self::Isolation { to, .. } => requirement.isolation = *to,
            Self::MaxLatency { to, .. } => requirement.max_latency_p95 = Some(*to),
            Self::NoLatencyBound => requirement.max_latency_p95 = None,
            Self::MinMemory { to, .. } => requirement.min_memory = Some(*to),
            Self::MinComputeCapability { to, .. } => requirement.min_compute_capability = Some(*to),
            Self::NoComputeCapability => requirement.min_compute_capability = None,
            Self::Gpus { to, .. } => requirement.gpus = *to,
            Self::Model(product) => requirement.models.push(product.clone()),
            Self::Region(region) => requirement.regions.push(region.clone()),
            Self::Class(class) => requirement.classes.push(*class),
            Self::Jurisdiction(jurisdiction) => requirement.jurisdictions.push(jurisdiction.clone()),
            Self::NoJurisdictions => requirement.jurisdictions.clear(),
            Self::DataClass { to, .. } => requirement.data_class = *to,
        }
    }

    /// Path of the field in the manifest.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::MaxPrice { cap: Cap::Job, .. } => "spec.price.maxPerGpuHour",
            Self::MaxPrice { cap: Cap::Burst, .. } => "spec.placement.burst.maxPerGpuHour",
            Self::MinReputation { .. } | Self::NoReputation => "spec.placement.minReputation",
            Self::Isolation { .. } => "spec.data.isolation",
            Self::MaxLatency { .. } => "spec.placement.maxLatency.p95",
            Self::NoLatencyBound => "spec.placement.maxLatency",
            Self::MinMemory { .. } => "spec.resources.minMemory",
            Self::MinComputeCapability { .. } | Self::NoComputeCapability => "spec.resources.minComputeCapability",
            Self::Gpus { .. } => "spec.resources.gpus",
            Self::Model(_) => "spec.resources.models",
            Self::Region(_) => "spec.placement.regions",
            Self::Class(_) => "spec.placement.classes",
            Self::Jurisdiction(_) | Self::NoJurisdictions => "spec.placement.jurisdictions",
            Self::DataClass { .. } => "spec.data.class",
        }
    }

    pub const fn direction(&self) -> Direction {
        match self {
            Self::MaxPrice { .. } | Self::MaxLatency { .. } => Direction::Raise,
            Self::MinMemory { .. }
            | Self::MinComputeCapability { .. }
            | Self::Gpus { .. }
            | Self::MinReputation { .. }
            | Self::Isolation { .. }
            | Self::DataClass { .. } => Direction::Lower,
            Self::Model(_) | Self::Region(_) | Self::Class(_) | Self::Jurisdiction(_) => Direction::Add,
            Self::NoLatencyBound | Self::NoComputeCapability | Self::NoReputation | Self::NoJurisdictions => {
                Direction::Remove
            }
        }
    }

    /// The field's value now, as a manifest writes it; `None` for a list.
    pub fn from(&self) -> Option<String> {
        match self {
            Self::MaxPrice { from, .. } => Some(decimal(*from)),
            Self::MaxLatency { from, .. } => Some(milliseconds(*from)),
            Self::MinMemory { from, .. } => Some(from.to_string()),
            Self::MinComputeCapability { from, .. } => Some(from.to_string()),
            Self::Gpus { from, .. } => Some(from.to_string()),
            Self::MinReputation { from, .. } => Some(share(*from)),
            Self::Isolation { from, .. } => Some(format!("{from:?}")),
            Self::DataClass { from, .. } => Some(format!("{from:?}")),
            _ => None,
        }
    }

    /// The value to write, or to add to a list; `None` when the field is to be removed.
    pub fn to(&self) -> Option<String> {
        match self {
            Self::MaxPrice { to, .. } => Some(decimal(*to)),
            Self::MaxLatency { to, .. } => Some(milliseconds(*to)),
            Self::MinMemory { to, .. } => Some(to.to_string()),
            Self::MinComputeCapability { to, .. } => Some(to.to_string()),
            Self::Gpus { to, .. } => Some(to.to_string()),
            Self::Model(added) | Self::Region(added) | Self::Jurisdiction(added) => Some(added.clone()),
            Self::Class(class) => Some(format!("{class:?}")),
            Self::MinReputation { to, .. } => Some(share(*to)),
            Self::Isolation { to, .. } => Some(format!("{to:?}")),
            Self::DataClass { to, .. } => Some(format!("{to:?}")),
            Self::NoLatencyBound | Self::NoComputeCapability | Self::NoReputation | Self::NoJurisdictions => None,
        }
    }

    /// Whether the need protects data: proposed only where nothing else helps.
    pub(super) const fn protects_data(&self) -> bool {
        matches!(
            self,
            Self::Jurisdiction(_) | Self::NoJurisdictions | Self::Isolation { .. } | Self::DataClass { .. }
        )
    }

    /// How much is given up, in millionths of what was asked; what is no number has a fixed size, and a bound that is
    /// dropped is more than one that is moved, however far.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::MaxPrice { from, to, .. } => millionths(to.0 - from.0, from.0),
            Self::MaxLatency { from, to } => millionths(to - from, *from),
            Self::MinMemory { from, to } => millionths(from.0 - to.0, from.0),
            Self::MinComputeCapability { from, to } => {
                millionths(from.number().saturating_sub(to.number()), from.number())
            }
            Self::Gpus { from, to } => millionths(u64::from(from - to), u64::from(*from)),
            Self::Model(_) | Self::Region(_) => WHOLE / 4,
            Self::Class(_) | Self::Jurisdiction(_) => WHOLE / 2,
            Self::MinReputation { from, to } => millionths(u64::from(from - to), u64::from(*from)),
            Self::Isolation { from, to } => WHOLE * (*from as u64 - *to as u64),
            Self::DataClass { from, to } => WHOLE * (*from as u64 - *to as u64),
            Self::NoLatencyBound | Self::NoComputeCapability | Self::NoReputation | Self::NoJurisdictions => DROPPED,
        }
    }
}

impl fmt::Display for Relaxation {
    /// `raise spec.price.maxPerGpuHour from 1.20 to 1.35`, `add eu-west to spec.placement.regions`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (direction, field) = (self.direction(), self.field());
        match (self.from(), self.to()) {
            (Some(from), Some(to)) => write!(formatter, "{direction} {field} from {from} to {to}"),
            (None, Some(added)) => write!(formatter, "{direction} {added} to {field}"),
            (_, None) => write!(formatter, "{direction} {field}"),
        }
    }
}

impl DataClass {
    /// The strictest class that lets data onto this kind of owner.
    fn loosened_for(self, provider: ProviderClass) -> Self {
        let looser = [Self::Restricted, Self::Internal, Self::Public].into_iter();
        looser
            .filter(|class| *class <= self)
            .find(|class| class.allows(provider))
            .unwrap_or(Self::Public)
    }
}

impl ComputeCapability {
    fn number(self) -> u64 {
        u64::from(self.major) * 100 + u64::from(self.minor)
    }
}

/// Rounded up; never as much as a bound that is dropped.
fn millionths(difference: u64, whole: u64) -> u64 {
    let exact = (u128::from(difference) * u128::from(WHOLE)).div_ceil(u128::from(whole.max(1)));
    u64::try_from(exact).unwrap_or(u64::MAX).min(DROPPED - 1)
}

/// Rounded down: what is proposed is met.
fn ten_thousandths(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 10_000.0) as u32
}

/// The next step at or above a measured round trip, both in microseconds.
fn latency_bound(micros: u64) -> u64 {
    let least = micros.div_ceil(1_000).max(1);
    if least <= FINEST_MILLIS {
        return least * 1_000;
    }
    let powers = std::iter::successors(Some(1_u64), |power| power.checked_mul(10));
    let mut steps = powers.flat_map(|power| LATENCY_STEPS.map(|step| step.saturating_mul(power)));
    steps
        .find(|step| *step >= least)
        .unwrap_or(u64::MAX)
        .saturating_mul(1_000)
}

fn milliseconds(micros: u64) -> String {
    format!("{}ms", micros / 1_000)
}
