//! API objects as values of `spillway_core::market`: offers of a provider, requirement and limits of a job.
//!
//! In: objects as the API server gave them. Out: typed values, or a [`SpecError`] that names the field and the fix.

mod explanation;
mod job;
mod offers;
#[cfg(test)]
mod tests;

pub use job::{ServiceTerms, SpecError, ValidatedJob, budget, requirement, validate};
pub use offers::{gpus_held, gpus_in_use, offers_of};

use spillway_core::market::{self as core_market, Policy};

use crate::{DataClass, PlacementPolicy, ProviderClass};

impl From<ProviderClass> for core_market::ProviderClass {
    fn from(class: ProviderClass) -> Self {
        match class {
            ProviderClass::Private => Self::Private,
            ProviderClass::Cloud => Self::Cloud,
            ProviderClass::Decentralized => Self::Decentralized,
        }
    }
}

impl From<DataClass> for core_market::DataClass {
    fn from(class: DataClass) -> Self {
        match class {
            DataClass::Public => Self::Public,
            DataClass::Internal => Self::Internal,
            DataClass::Restricted => Self::Restricted,
        }
    }
}

impl From<PlacementPolicy> for Policy {
    fn from(policy: PlacementPolicy) -> Self {
        match policy {
            PlacementPolicy::Cost => Self::Cost,
            PlacementPolicy::Latency => Self::Latency,
            PlacementPolicy::Balanced => Self::Balanced,
        }
    }
}
