//! What a job will cost and how long it will take, before it is submitted.
//!
//! Bounds follow from what is reserved: every attempt at the dearest of the offers that it may be pinned to, over the
//! whole shard timeout. Expectations need to know how long a shard takes; they price each attempt at the offer that it
//! would get. Both count one check per checked shard, and neither counts attempts that fail or results that differ.

use std::time::Duration;

use crate::market::{Offer, Requirement};
use crate::money::MicroUsd;

/// A whole: shares are counted in ten-thousandths.
const WHOLE: u64 = 10_000;

/// What is to be computed, and under which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub shards: u32,
    /// Work attempts at the same time, at least 1.
    pub parallelism: u32,
    /// Largest part of the cost that checks may take, in ten-thousandths.
    pub max_check_share: u32,
    /// Of the whole job.
    pub budget: MicroUsd,
    /// How long one shard takes; `None`: nobody knows.
    pub shard_time: Option<ShardTime>,
}

/// One attempt of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardTime {
    /// While the GPUs are paid.
    pub computing: Duration,
    /// Besides: image pull, start of the engine.
    pub starting: Duration,
}

/// What keeps more shards from running at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Shards,
    Parallelism,
    FreeGpus,
    /// Reservations at the upper bound fill the budget.
    Budget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub shards: u32,
    /// Check attempts: about as many as `shards` × the part that is drawn.
    pub checks: u32,
    /// Work attempts that can run at the same time; 0 when not even one can be reserved.
    pub at_once: u32,
    pub limited_by: Limit,
    /// All GPUs that fit are busy: counted as if they were free, the wait comes on top.
    pub queued: bool,
    /// Owners whose offers fit; a check needs a second one.
    pub owners: u32,
    /// One after another: work at `at_once`, then the checks of the last round.
    pub rounds: u32,
    /// Reserved for one attempt.
    pub attempt_bound: MicroUsd,
    /// Work alone, and checks alone, at the bound.
    pub work_bound: MicroUsd,
    pub checks_bound: MicroUsd,
    pub time_bound: Duration,
    pub expected: Option<Expected>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub work: MicroUsd,
    pub checks: MicroUsd,
    pub time: Duration,
}

impl Estimate {
    pub fn cost_bound(&self) -> MicroUsd {
        self.work_bound.saturating_add(self.checks_bound)
    }

    /// What must be free of the budget for the first shard: its attempt and its check.
    pub fn least_budget(&self) -> MicroUsd {
        self.attempt_bound.saturating_add(self.attempt_bound)
    }
}

impl Expected {
    pub fn cost(&self) -> MicroUsd {
        self.work.saturating_add(self.checks)
    }
}

/// The part of all shards that is checked, in ten-thousandths, when checks may take `max_check_share` of the cost: a
/// check costs about as much as its work, so checks of a part f take f / (1 + f).
pub fn checked_part(max_check_share: u32) -> u32 {
    let share = u64::from(max_check_share);
    if share * 2 >= WHOLE {
        return 10_000;
    }
    u32::try_from(share * WHOLE / (WHOLE - share)).unwrap_or(10_000)
}

/// Estimates a job over the offers that fit, best first; `None` without any. `pinned` is how many offers an attempt may
/// be pinned to; `owner` tells owners apart.
pub fn estimate(
    requirement: &Requirement,
    workload: &Workload,
    fitting: &[&Offer],
    pinned: usize,
    owner: impl Fn(&Offer) -> String,
) -> Option<Estimate> {
    let market = Room::of(requirement, fitting, pinned)?;
    let checks = checks(workload);
    let owners: Vec<String> = fitting.iter().map(|offer| owner(offer)).collect();
    let reach = market.reach(requirement, workload, pinned);
    let checkers = owners.iter().position(|other| Some(other) != owners.first());
    let may_run = market.offers.iter().take(reach).chain(fitting.iter().take(pinned));
    let may_run = may_run.chain(checkers.and_then(|position| fitting.get(position)));
    let bounds = may_run.clone().map(|offer| requirement.upper_bound(offer));
    let attempt_bound = bounds.max().unwrap_or_default();
    let longest_start = may_run.filter_map(|offer| offer.start_time).max().unwrap_or_default();
    let (at_once, limited_by) = at_once(workload, market.slots, attempt_bound);
    let rounds = rounds(workload.shards, checks, at_once.max(1), market.slots);
    let plan = Plan {
        requirement,
        market: &market,
        at_once: at_once.max(1),
        fitting,
        owner: &owner,
        owners: &owners,
    };
    Some(Estimate {
        shards: workload.shards,
        checks,
        at_once,
        limited_by,
        queued: market.queued,
        owners: distinct(&owners),
        rounds,
        attempt_bound,
        work_bound: times(attempt_bound, workload.shards),
        checks_bound: times(attempt_bound, checks),
        time_bound: requirement
            .work_time
            .saturating_add(longest_start)
            .saturating_mul(rounds),
        expected: workload
            .shard_time
            .map(|time| plan.expected(time, workload.shards, checks, rounds)),
    })
}

fn checks(workload: &Workload) -> u32 {
    let part = u64::from(checked_part(workload.max_check_share));
    u32::try_from((u64::from(workload.shards) * part).div_ceil(WHOLE)).unwrap_or(u32::MAX)
}

/// A Work attempt is reserved together with the check of every run that has none yet: n at once take 2 n bounds.
fn at_once(workload: &Workload, slots: u32, bound: MicroUsd) -> (u32, Limit) {
    let affordable = match bound.0.saturating_mul(2) {
        0 => u32::MAX,
        pair => u32::try_from(workload.budget.0 / pair).unwrap_or(u32::MAX),
    };
    let limits = [
        (workload.shards, Limit::Shards),
        (workload.parallelism.max(1), Limit::Parallelism),
        (slots, Limit::FreeGpus),
        (affordable, Limit::Budget),
    ];
    limits
        .into_iter()
        .min_by_key(|(count, _)| *count)
        .unwrap_or((0, Limit::Shards))
}

/// Checks share the GPUs with work but not its parallelism; those of the last round come after it.
fn rounds(shards: u32, checks: u32, at_once: u32, slots: u32) -> u32 {
    let work = shards.div_ceil(at_once);
    if checks == 0 {
        return work;
    }
    work.saturating_add(1)
        .max(shards.saturating_add(checks).div_ceil(slots.max(1)))
}

fn distinct(owners: &[String]) -> u32 {
    let distinct: std::collections::BTreeSet<&String> = owners.iter().collect();
    u32::try_from(distinct.len()).unwrap_or(u32::MAX)
}

fn times(amount: MicroUsd, count: u32) -> MicroUsd {
    MicroUsd(amount.0.saturating_mul(u64::from(count)))
}

/// Offers that an attempt may get now, or, when all are busy, once they are free.
struct Room<'a> {
    offers: Vec<&'a Offer>,
    /// Attempts that fit at the same time.
    slots: u32,
    queued: bool,
}

impl<'a> Room<'a> {
    fn of(requirement: &Requirement, fitting: &[&'a Offer], pinned: usize) -> Option<Self> {
        let gpus = requirement.gpus.max(1);
        let free: Vec<&Offer> = fitting
            .iter()
            .copied()
            .filter(|offer| offer.gpus_free >= gpus)
            .collect();
        let queued = free.is_empty();
        let offers = if queued {
            fitting.iter().copied().take(pinned).collect()
        } else {
            free
        };
        let mut room = Self {
            offers,
            slots: 0,
            queued,
        };
        let slots = room.offers.iter().map(|offer| room.room(requirement, offer));
        room.slots = slots.fold(0, u32::saturating_add).max(1);
        (!room.offers.is_empty()).then_some(room)
    }

    /// Attempts that an offer takes at the same time.
    fn room(&self, requirement: &Requirement, offer: &Offer) -> u32 {
        let gpus = if self.queued { offer.gpus_total } else { offer.gpus_free };
        gpus / requirement.gpus.max(1)
    }

    /// Offers, best first, that attempts come to while as many run as may: at least those that one may be pinned to.
    fn reach(&self, requirement: &Requirement, workload: &Workload, pinned: usize) -> usize {
        let mut wanted = workload.shards.min(workload.parallelism.max(1));
        let needed = self.offers.iter().take_while(|offer| {
            let open = wanted > 0;
            wanted = wanted.saturating_sub(self.room(requirement, offer).max(1));
            open
        });
        needed.count().max(pinned)
    }
}

/// Who computes what, when everything goes as expected.
struct Plan<'a, F> {
    requirement: &'a Requirement,
    market: &'a Room<'a>,
    at_once: u32,
    /// Everyone who fits, busy or not: a check may wait for another owner.
    fitting: &'a [&'a Offer],
    owner: &'a F,
    /// Of each offer that fits.
    owners: &'a [String],
}

impl<F: Fn(&Offer) -> String> Plan<'_, F> {
    fn expected(&self, time: ShardTime, shards: u32, checks: u32, rounds: u32) -> Expected {
        let places = self.places();
        let place = |shard: u32| places.get(shard as usize % places.len().max(1)).copied();
        let price =
            |offer: Option<&Offer>| offer.map_or(MicroUsd::ZERO, |offer| cost(self.requirement, offer, time.computing));
        let work = (0..shards).map(|shard| price(place(shard))).sum();
        let checks = (0..checks)
            .map(|shard| price(place(shard).map(|offer| self.checker_of(offer))))
            .sum();
        let start = places
            .iter()
            .filter_map(|offer| offer.start_time)
            .max()
            .unwrap_or_default();
        let attempt = time.computing.saturating_add(time.starting).saturating_add(start);
        Expected {
            work,
            checks,
            time: attempt.saturating_mul(rounds),
        }
    }

    /// Offers, best first, as often as they have room, for as many attempts as run at the same time.
    fn places(&self) -> Vec<&Offer> {
        let places = self.market.offers.iter().flat_map(|offer| {
            let room = self.market.room(self.requirement, offer).max(1);
            std::iter::repeat_n(*offer, room as usize)
        });
        places.take(self.at_once as usize).collect()
    }

    /// The best offer of another owner; the same one where there is none.
    fn checker_of<'b>(&'b self, worker: &'b Offer) -> &'b Offer {
        let worker_owner = (self.owner)(worker);
        let mut others = self.fitting.iter().zip(self.owners);
        others
            .find(|(_, owner)| **owner != worker_owner)
            .map_or(worker, |(offer, _)| *offer)
    }
}

/// What an attempt costs that computes this long; the start of an elastic host is paid too.
fn cost(requirement: &Requirement, offer: &Offer, time: Duration) -> MicroUsd {
    let paid = time.saturating_add(offer.start_time.unwrap_or_default());
    let millis = u64::try_from(paid.as_millis()).unwrap_or(u64::MAX);
    offer.price.cost(millis.saturating_mul(u64::from(requirement.gpus)))
}
