//! API objects as values of `spillway_core::market`: offers of a provider, requirement and limits of a job.
//!
//! In: objects as the API server gave them. Out: typed values, or a [`SpecError`] that names the field and the fix.

mod explanation;
mod job;
mod needs;
mod offers;
#[cfg(test)]
mod tests;

pub use job::{
    BurstTerms, ServiceTerms, SpecError, ValidatedJob, budget, effective_data_class, requirement, validate,
    validate_under,
};
pub use needs::Needs;
pub use offers::{gpus_held, gpus_in_use, offers_of};

use spillway_core::market::{self as core_market, Policy};

use crate::{DataClass, Isolation, PlacementPolicy, ProviderClass};

impl From<ProviderClass> for core_market::ProviderClass {
    fn from(class: ProviderClass) -> Self {
        match class {
            ProviderClass::Private => Self::Private,
            ProviderClass::Cloud => Self::Cloud,
            ProviderClass::Decentralized => Self::Decentralized,
        }
    }
}

impl From<core_market::ProviderClass> for ProviderClass {
    fn from(class: core_market::ProviderClass) -> Self {
        match class {
            core_market::ProviderClass::Private => Self::Private,
            core_market::ProviderClass::Cloud => Self::Cloud,
            core_market::ProviderClass::Decentralized => Self::Decentralized,
        }
    }
}

impl From<Isolation> for core_market::Isolation {
    fn from(tier: Isolation) -> Self {
        match tier {
            Isolation::Standard => Self::Standard,
            Isolation::Sandboxed => Self::Sandboxed,
            Isolation::Confidential => Self::Confidential,
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

impl From<core_market::DataClass> for DataClass {
    fn from(class: core_market::DataClass) -> Self {
        match class {
            core_market::DataClass::Public => Self::Public,
            core_market::DataClass::Internal => Self::Internal,
            core_market::DataClass::Restricted => Self::Restricted,
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
