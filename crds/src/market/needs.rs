//! What an attempt asks of each offer: the same of all, but for the price cap that a burst has beyond own capacity.

use spillway_core::market::{Cap, DataClass, Need, Offer, ProviderClass, Requirement};

use super::ValidatedJob;

/// Hard needs of one attempt, whatever class it may use by now.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    whole: Requirement,
    beyond: Option<Beyond>,
    least_data_class: DataClass,
}

/// A burst with a cap of its own.
#[derive(Clone, Debug, PartialEq)]
struct Beyond {
    own: Option<ProviderClass>,
    requirement: Requirement,
}

impl ValidatedJob {
    /// `requirement` is the attempt's before it is narrowed to a class; `least` the data class that the hub wants of a job
    /// at least.
    pub fn needs(&self, requirement: &Requirement, least: crate::DataClass) -> Needs {
        let burst = self.burst.as_ref();
        let beyond = burst
            .filter(|burst| burst.max_price != requirement.max_price)
            .map(|burst| Beyond {
                own: burst.classes.first().copied(),
                requirement: Requirement {
                    max_price: burst.max_price,
                    ..requirement.clone()
                },
            });
        Needs {
            whole: requirement.clone(),
            beyond,
            least_data_class: least.into(),
        }
    }
}

impl Needs {
    pub fn of(&self, offer: &Offer) -> Need<'_> {
        let (requirement, cap) = match &self.beyond {
            Some(beyond) if beyond.own != Some(offer.class) => (&beyond.requirement, Cap::Burst),
            _ => (&self.whole, Cap::Job),
        };
        Need {
            requirement,
            cap,
            least_data_class: self.least_data_class,
        }
    }
}
