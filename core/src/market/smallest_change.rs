//! The smallest change of a job that would make an offer fit.
//!
//! An offer fits once every need that it misses is loosened as far as it asks, and no further. So the smallest change is
//! the smallest of these sets, one per offer: no other combination has to be tried. Smaller means, in this order:
//! 1. fewer needs that protect data (`data.class`, `data.isolation`, `jurisdictions`);
//! 2. fewer fields;
//! 3. less given up: the sum over the fields of |to − from| / from, with 1/4 for a further model or region, 1/2 for a
//!    further class or jurisdiction, 1 for each step down of data class or isolation; a bound that is dropped because the fact is
//!    unknown counts more than any number;
//! 4. the cheaper offer, then the fields' own order, so that every look gives the same answer.

use std::cmp::Ordering;
use std::fmt;

use crate::market::{Cap, DataClass, Exclusion, Offer, Relaxation, Requirement, exclusions};
use crate::money::UnitPrice;

/// What an offer must meet, and what bears on how it may be loosened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    pub requirement: &'a Requirement,
    /// The field that the price cap comes from.
    pub cap: Cap,
    /// The loosest data class that the hub lets a job have.
    pub least_data_class: DataClass,
}

impl Need<'_> {
    /// Whether both are of one value in memory, which is quicker to tell than whether they are equal.
    fn is_same(self, other: Need<'_>) -> bool {
        std::ptr::eq(self.requirement, other.requirement) && self.cap == other.cap
    }
}

impl<'a> From<&'a Requirement> for Need<'a> {
    fn from(requirement: &'a Requirement) -> Self {
        Self {
            requirement,
            cap: Cap::Job,
            least_data_class: DataClass::Public,
        }
    }
}

/// Which GPUs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Those that are free now.
    Free,
    /// All of them: what would fit once everybody else is done.
    Idle,
}

/// Fields to change together, and how many offers fit once they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallestChange {
    /// In a fixed order, each field once; never empty.
    pub relaxations: Vec<Relaxation>,
    /// At least 1.
    pub fitting: u32,
}

impl SmallestChange {
    /// What must be met once the job was changed.
    pub fn applied_to(&self, need: Need<'_>) -> Requirement {
        let mut changed = need.requirement.clone();
        for relaxation in &self.relaxations {
            relaxation.apply(&mut changed, need.cap);
        }
        changed
    }
}

impl fmt::Display for SmallestChange {
    /// `raise spec.price.maxPerGpuHour from 1.20 to 1.35: 3 offers fit then`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, relaxation) in self.relaxations.iter().enumerate() {
            let joint = match position {
                0 => "",
                _ if position + 1 == self.relaxations.len() => " and ",
                _ => ", ",
            };
            write!(formatter, "{joint}{relaxation}")?;
        }
        let offers = if self.fitting == 1 { "offer fits" } else { "offers fit" };
        write!(formatter, ": {} {offers} then", self.fitting)
    }
}

/// The smallest change that makes at least one of `offers` fit; `None` when one fits already, or when no change of the
/// job helps. Independent of the order in which offers are given.
///
/// `need` says what an offer must meet: the same for all, or with a burst by its class. Time O(offers).
pub fn smallest_change<'a>(
    need: impl Fn(&Offer) -> Need<'a>,
    offers: &[Offer],
    capacity: Capacity,
) -> Option<SmallestChange> {
    let sets = offers
        .iter()
        .filter_map(|offer| Loosened::for_offer(need(offer), offer, capacity));
    let smallest = sets.min_by(Loosened::compare)?;
    if smallest.relaxations.is_empty() {
        return None;
    }
    let mut change = SmallestChange {
        relaxations: smallest.relaxations,
        fitting: 0,
    };
    // A few requirements are shared by thousands of offers: each is changed once.
    let mut changed: Vec<(Need<'a>, Requirement)> = Vec::new();
    for offer in offers {
        let need = need(offer);
        let known = changed.iter().position(|(other, _)| other.is_same(need));
        let position = known.unwrap_or(changed.len());
        if known.is_none() {
            changed.push((need, change.applied_to(need)));
        }
        change.fitting += u32::from(capacity.fits(&changed[position].1, offer));
    }
    Some(change)
}

impl Capacity {
    pub fn fits(self, requirement: &Requirement, offer: &Offer) -> bool {
        self.misses(requirement, offer).next().is_none()
    }

    /// The hard needs that an offer misses.
    fn misses<'a>(self, requirement: &'a Requirement, offer: &'a Offer) -> impl Iterator<Item = Exclusion> + 'a {
        let counts = move |missed: &Exclusion| self == Self::Free || *missed != Exclusion::NoFreeGpus;
        exclusions(requirement, offer).filter(counts)
    }

    pub(super) const fn gpus(self, offer: &Offer) -> u32 {
        match self {
            Self::Free => offer.gpus_free,
            Self::Idle => offer.gpus_total,
        }
    }
}

/// All that one offer asks for.
struct Loosened {
    protecting: usize,
    size: u64,
    price: UnitPrice,
    relaxations: Vec<Relaxation>,
}

impl Loosened {
    fn for_offer(need: Need<'_>, offer: &Offer, capacity: Capacity) -> Option<Self> {
        let missed = capacity.misses(need.requirement, offer);
        let cures = missed.map(|missed| Relaxation::cure(missed, need, offer, capacity));
        let mut relaxations = cures.collect::<Option<Vec<Relaxation>>>()?;
        relaxations.sort();
        relaxations.dedup();
        let protecting = relaxations.iter().filter(|change| change.protects_data()).count();
        let size = relaxations
            .iter()
            .fold(0_u64, |sum, change| sum.saturating_add(change.size()));
        Some(Self {
            protecting,
            size,
            price: offer.price,
            relaxations,
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let numbers = |one: &Self| (one.protecting, one.relaxations.len(), one.size, one.price);
        numbers(self)
            .cmp(&numbers(other))
            .then_with(|| self.relaxations.cmp(&other.relaxations))
    }
}
