//! Overflow: which provider class a new attempt may use now.
//!
//! Own capacity first; then, class by class, what `placement.burst` opens. Nothing is remembered: each new attempt
//! decides anew, so work comes back as soon as own GPUs are free.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spillway_core::market::{Offer, ProviderClass, Requirement, exclude};
use spillway_crds::market::BurstTerms;
use spillway_crds::{AttemptStatus, ShardStatus, job_condition};

use super::acceptance::Terms;
use super::attempts::idle;
use super::draft::Draft;

/// The classes of a job with `placement.burst`, for the attempts of one planning pass.
pub(super) struct Burst<'a> {
    terms: &'a BurstTerms,
    /// Own capacity first; without classes in which no offer will ever fit, because nobody needs to wait for those.
    classes: Vec<ProviderClass>,
    /// Shards of the job that want an attempt and have none.
    waiting: usize,
}

impl<'a> Burst<'a> {
    /// `None` for a job without burst.
    pub(super) fn new(draft: &Draft<'_>, terms: &'a Terms, waiting: usize) -> Option<Self> {
        let burst = terms.job.burst.as_ref()?;
        let may_fit = |class: &ProviderClass| {
            let requirement = terms.job.narrowed_to(terms.job.requirement.clone(), *class);
            draft
                .observed
                .offers
                .iter()
                .any(|offer| may_ever_fit(&requirement, offer))
        };
        let mut classes: Vec<ProviderClass> = burst.classes.iter().copied().filter(may_fit).collect();
        if classes.is_empty() {
            classes.clone_from(&burst.classes);
        }
        Some(Self {
            terms: burst,
            classes,
            waiting,
        })
    }

    /// Classes that a shard may use now, in order; at least the first.
    pub(super) fn open(&self, waited: Duration) -> &[ProviderClass] {
        let queue_is_long = self
            .terms
            .queue_length
            .is_some_and(|most| self.waiting > as_count(most));
        let further = if queue_is_long {
            self.classes.len()
        } else {
            self.terms.after.map_or(0, |after| times(waited, after))
        };
        &self.classes[..self.classes.len().min(further.saturating_add(1))]
    }

    /// The class that opens next by time alone, and how long a shard must have waited for it.
    pub(super) fn next(&self, waited: Duration) -> Option<(ProviderClass, Duration)> {
        let open = self.open(waited).len();
        let class = self.classes.get(open)?;
        let after = self.terms.after?;
        Some((*class, after.saturating_mul(u32::try_from(open).unwrap_or(u32::MAX))))
    }

    /// An attempt was made: one shard less waits.
    pub(super) fn served(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }
}

fn as_count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How often `part` fits into `whole`.
fn times(whole: Duration, part: Duration) -> usize {
    let times = whole.as_millis().checked_div(part.as_millis());
    times.map_or(usize::MAX, |times| usize::try_from(times).unwrap_or(usize::MAX))
}

/// Whether the offer fits now, or may once time has passed.
fn may_ever_fit(requirement: &Requirement, offer: &Offer) -> bool {
    exclude(requirement, &idle(offer)).is_none_or(|exclusion| exclusion.passes_with_time())
}

/// How long a shard has been waiting for a GPU: since its last attempt that ran, or since the job was split.
pub(super) fn waited(draft: &Draft<'_>, shard: &ShardStatus) -> Duration {
    Duration::try_from(draft.now.duration_since(waiting_since(draft, shard))).unwrap_or_default()
}

fn waiting_since(draft: &Draft<'_>, shard: &ShardStatus) -> Timestamp {
    let ran = |attempt: &&AttemptStatus| attempt.assigned_at.is_some();
    let ended = shard
        .attempts
        .iter()
        .filter(ran)
        .filter_map(|attempt| attempt.finished_at.as_ref());
    let split = draft
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == job_condition::SPLIT);
    let created = draft.observed.job.metadata.creation_timestamp.as_ref();
    let since = ended
        .max_by_key(|time| time.0)
        .or(split.map(|condition| &condition.last_transition_time))
        .or(created);
    since.map_or(draft.now, |time| time.0)
}

/// The requirement in each class that a shard may use now; the requirement itself for a job without burst.
pub(super) fn alternatives(
    draft: &Draft<'_>,
    terms: &Terms,
    shard: &ShardStatus,
    waiting: usize,
    requirement: &Requirement,
) -> Vec<Requirement> {
    let Some(burst) = Burst::new(draft, terms, waiting) else {
        return vec![requirement.clone()];
    };
    let open = burst.open(waited(draft, shard)).iter();
    open.map(|class| terms.job.narrowed_to(requirement.clone(), *class))
        .collect()
}

/// Looks again when the next class opens for a shard that waits, and says when that is.
pub(super) fn await_next(draft: &mut Draft<'_>, burst: &Burst<'_>, shard: &ShardStatus) -> Option<String> {
    let (class, wait) = burst.next(waited(draft, shard))?;
    let wait = SignedDuration::try_from(wait).ok()?;
    let opens = waiting_since(draft, shard).checked_add(wait).ok()?;
    draft.wake_at(opens);
    Some(format!("class {class:?} opens at {opens}"))
}
