//! Placement: which shards get a new attempt now, pinned to which nodes, reserved at which bound.
//!
//! An attempt is only made when a GPU is free for it, so that pods do not queue behind nodes that stay full.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spillway_core::market::{
    Candidate, Capacity, Offer, ProviderClass, Ranking, Requirement, Weights, rank, smallest_change,
};
use spillway_core::money::MicroUsd;
use spillway_crds::{
    AttemptKind, AttemptState, AttemptStatus, PlacementExplanation, ShardState, ShardStatus, job_condition,
};

use super::acceptance::Terms;
use super::action::Action;
use super::attempts::idle;
use super::budget::{self, Limit};
use super::burst::{self, Burst};
use super::candidates::{CandidatesRecord, PinnedAttempt};
use super::draft::{Draft, has_live, is_accepted};
use super::room::Room;
use super::verification::{Runs, Standing, standing};

/// Nodes that an attempt is pinned to.
const CANDIDATES: usize = 16;
/// Most attempts of one shard, lost and cancelled ones included: the status must stay readable.
const MOST_ATTEMPTS: usize = 64;
/// While all fitting GPUs are busy; other jobs end without a hint to this one.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const LONGEST_BACKOFF_SECONDS: i64 = 60;

/// Plans new attempts and says in condition Placeable what stands in the way.
pub(super) fn place(draft: &mut Draft<'_>, terms: &Terms) {
    if let Some(hopeless) = hopeless_shard(draft, terms) {
        let (position, reason, message) = hopeless;
        draft.status.shards[position].state = ShardState::Failed;
        return draft.fail(reason, &message);
    }
    let needs = needs(draft, terms);
    if needs.is_empty() {
        return placeable_again(draft);
    }
    let mut round = Round::new(draft, terms);
    let mut obstacle = None;
    for need in needs {
        match round.serve(draft, &need) {
            None => {}
            // One owner's GPUs are busy; an attempt that may go elsewhere need not wait for it.
            Some(busy @ Obstacle::Busy { .. }) => obstacle = obstacle.or(Some(busy)),
            Some(other) => {
                obstacle = Some(other);
                break;
            }
        }
    }
    round.finish(draft, obstacle);
}

/// One attempt that a shard is in want of.
struct Need {
    position: usize,
    shard: u32,
    kind: AttemptKind,
}

/// Checks first: what was begun is finished before more is begun.
fn needs(draft: &mut Draft<'_>, terms: &Terms) -> Vec<Need> {
    let mut checks = Vec::new();
    let mut works = Vec::new();
    for position in 0..draft.status.shards.len() {
        let shard = &draft.status.shards[position];
        let Some(kind) = wanted_kind(draft, shard) else {
            continue;
        };
        let need = Need {
            position,
            shard: shard.index,
            kind,
        };
        if let Some(retry_at) = retry_at(shard, kind).filter(|time| *time > draft.now) {
            draft.wake_at(retry_at);
        } else if kind == AttemptKind::Work {
            works.push(need);
        } else {
            checks.push(need);
        }
    }
    let running = draft
        .status
        .shards
        .iter()
        .filter(|shard| has_live(shard, AttemptKind::Work))
        .count();
    let parallelism = usize::try_from(terms.job.parallelism).unwrap_or(usize::MAX);
    works.truncate(parallelism.saturating_sub(running));
    checks.extend(works);
    checks
}

/// Shards that want an attempt and have none, those that wait for a retry or for parallelism included.
pub(super) fn waiting(draft: &Draft<'_>) -> usize {
    let shards = draft.status.shards.iter();
    shards.filter(|shard| wanted_kind(draft, shard).is_some()).count()
}

fn wanted_kind(draft: &Draft<'_>, shard: &ShardStatus) -> Option<AttemptKind> {
    if matches!(shard.state, ShardState::Accepted | ShardState::Failed) {
        return None;
    }
    let kind = match standing(draft.observed, shard) {
        Standing::Empty if draft.is_failing() => return None,
        Standing::Empty => AttemptKind::Work,
        Standing::NeedsCheck => AttemptKind::Check,
        Standing::NeedsArbiter => AttemptKind::Arbitrate,
        Standing::Unknown | Standing::Decided(_) => return None,
    };
    (!has_live(shard, kind)).then_some(kind)
}

/// Shards without a result that no Work attempt runs for, and those that one runs for.
pub(in crate::job) fn shards_to_begin(shards: &[ShardStatus]) -> (usize, usize) {
    let open = |shard: &&ShardStatus| !matches!(shard.state, ShardState::Accepted | ShardState::Failed);
    let (running, idle): (Vec<&ShardStatus>, Vec<_>) = shards
        .iter()
        .filter(open)
        .partition(|shard| has_live(shard, AttemptKind::Work));
    let begins = idle.iter().filter(|shard| Runs::of(shard).work.is_none());
    (begins.count(), running.len())
}

/// Failures in a row are followed by longer and longer waits; a lost attempt is replaced at once.
fn retry_at(shard: &ShardStatus, kind: AttemptKind) -> Option<Timestamp> {
    let ended = || shard.attempts.iter().rev().filter(move |attempt| attempt.kind == kind);
    let row = ended()
        .take_while(|attempt| matches!(attempt.state, AttemptState::Failed | AttemptState::Cancelled))
        .count();
    let last = ended().next().filter(|_| row > 0)?.finished_at.as_ref()?.0;
    let seconds = 1_i64
        .checked_shl(u32::try_from(row).unwrap_or(u32::MAX).saturating_sub(1))
        .unwrap_or(i64::MAX);
    last.checked_add(SignedDuration::from_secs(seconds.clamp(1, LONGEST_BACKOFF_SECONDS)))
        .ok()
}

/// A shard that may not be tried again: position, reason, message.
fn hopeless_shard(draft: &Draft<'_>, terms: &Terms) -> Option<(usize, &'static str, String)> {
    let retries = usize::try_from(terms.job.retries).unwrap_or(usize::MAX);
    draft.status.shards.iter().enumerate().find_map(|(position, shard)| {
        let kind = wanted_kind(draft, shard)?;
        let works = shard
            .attempts
            .iter()
            .filter(|attempt| attempt.kind == AttemptKind::Work);
        let failed: Vec<&AttemptStatus> = works.filter(|attempt| has_failed(attempt)).collect();
        if kind == AttemptKind::Work && failed.len() > retries {
            let last = failed.last().map(|attempt| why_failed(attempt)).unwrap_or_default();
            let message = format!(
                "shard {} failed {} times, the last time: {last}",
                shard.index,
                failed.len()
            );
            return Some((position, "RetriesExhausted", message));
        }
        (shard.attempts.len() >= MOST_ATTEMPTS).then(|| {
            (
                position,
                "TooManyAttempts",
                format!("shard {} took {MOST_ATTEMPTS} attempts", shard.index),
            )
        })
    })
}

fn has_failed(attempt: &AttemptStatus) -> bool {
    attempt.state == AttemptState::Failed || (attempt.verdict.is_some() && !is_accepted(attempt))
}

fn why_failed(attempt: &AttemptStatus) -> String {
    let verdict = attempt
        .verdict
        .as_ref()
        .map(|verdict| (verdict.method.as_str(), verdict.message.as_str()));
    let said = (
        attempt.reason.as_deref().unwrap_or_default(),
        attempt.message.as_deref().unwrap_or_default(),
    );
    let (reason, message) = verdict.unwrap_or(said);
    if message.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason}: {message}")
    }
}

/// The hard needs of an attempt: the job's within the class that it was planned for, and for checks an owner whose result
/// is not the one being checked.
pub(super) fn requirement_of(
    draft: &Draft<'_>,
    terms: &Terms,
    shard: &ShardStatus,
    kind: AttemptKind,
    number: u16,
) -> Requirement {
    let mut requirement = terms.job.requirement_for(kind, shard, number);
    let shared = sharing_a_payout(draft, &requirement.excluded_providers);
    requirement.excluded_providers.extend(shared);
    requirement
}

/// How an attempt ranks offers: some Work attempts explore.
pub(super) fn weights_of(draft: &Draft<'_>, terms: &Terms, shard: u32, kind: AttemptKind, number: u16) -> Weights {
    match kind {
        AttemptKind::Work => terms.job.weights.for_attempt(draft.observed.uid(), shard, number),
        _ => terms.job.weights,
    }
}

/// One owner may have joined under several names: whoever is paid to the same address is the same owner.
fn sharing_a_payout(draft: &Draft<'_>, names: &BTreeSet<String>) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    let providers = &draft.observed.providers;
    let payout = |name: &String| Some(providers.get(name)?.payout_address.to_ascii_lowercase());
    let payouts: BTreeSet<String> = names.iter().filter_map(payout).collect();
    let shares = |name: &&String| payout(name).is_some_and(|payout| payouts.contains(&payout));
    providers.keys().filter(shares).cloned().collect()
}

/// What stands in the way of an attempt.
enum Obstacle {
    NoOfferFits(PlacementExplanation),
    Busy { fitting: usize, opens: Option<String> },
    Limit(Limit),
    Suspended(String),
}

impl Obstacle {
    /// Whether others of the round were placed regardless.
    const fn passes(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    fn report(self, draft: &mut Draft<'_>) {
        let set = |draft: &mut Draft<'_>, holds, reason, message: &str| {
            draft.set_condition(job_condition::PLACEABLE, holds, reason, message);
        };
        match self {
            Self::NoOfferFits(explanation) => {
                draft.wake_in(Duration::from_secs(30));
                set(draft, false, "NoOfferFits", &explanation.message);
                draft.status.placement = Some(explanation);
            }
            Self::Busy { fitting, opens } => {
                draft.wake_in(LOOK_AGAIN);
                let opens = opens.map(|opens| format!("; {opens}")).unwrap_or_default();
                let message = format!("{fitting} offers fit, all of their GPUs are busy{opens}");
                set(draft, true, "Queued", &message);
            }
            Self::Limit(limit) => {
                budget::await_next_day(draft);
                set(draft, false, limit.reason, &limit.message);
            }
            Self::Suspended(message) => set(draft, false, "SpendPolicyChanged", &message),
        }
    }
}

/// Nothing waits: an older complaint is over.
fn placeable_again(draft: &mut Draft<'_>) {
    let complains = draft.status.conditions.iter().any(|condition| {
        condition.type_ == job_condition::PLACEABLE && (condition.status == "False" || condition.reason == "Queued")
    });
    if complains {
        set_placeable(draft);
    }
}

fn set_placeable(draft: &mut Draft<'_>) {
    draft.set_condition(
        job_condition::PLACEABLE,
        true,
        "OffersFit",
        "every shard that needs an attempt has offers that fit",
    );
}

/// One pass over the market. Rankings are shared by attempts that exclude the same owners; GPUs that attempts wait for
/// are counted as taken, those of other jobs included.
struct Round<'a> {
    terms: &'a Terms,
    burst: Option<Burst<'a>>,
    ranked: BTreeMap<RankedBy, Ranked>,
    room: Room,
    /// Pods of the attempts made, to be created after the status.
    pods: Vec<Action>,
    explanation: Option<PlacementExplanation>,
}

/// What a ranking depends on besides the job and the market.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RankedBy {
    /// Owners that failed the shard were left in.
    everyone: bool,
    excluded: BTreeSet<String>,
    /// For records.
    kind: AttemptKind,
    /// Of a burst.
    class: Option<ProviderClass>,
    explores: bool,
}

/// A ranking, and what was taken from it.
struct Ranked {
    ranking: Ranking,
    /// Position in the market of each candidate.
    positions: Vec<usize>,
    /// Candidates before this one have no room left.
    first_with_room: usize,
    pinned: Vec<PinnedAttempt>,
    /// Asked once nobody has room: offers that would fit if they were idle.
    idle: Option<Ranking>,
}

impl<'a> Round<'a> {
    fn new(draft: &Draft<'_>, terms: &'a Terms) -> Self {
        let (offers, promised) = (&draft.observed.offers, &draft.observed.promised);
        let mut room = Room::of(offers, promised);
        let attempts = draft.status.shards.iter().flat_map(|shard| &shard.attempts);
        for attempt in attempts.filter(|attempt| attempt.state == AttemptState::Expected) {
            let nodes = attempt
                .node
                .as_ref()
                .map_or(attempt.candidates.as_slice(), std::slice::from_ref);
            let positions = nodes.iter().filter_map(|node| offers.position(node));
            room.take_first(positions, terms.job.requirement.gpus);
        }
        Self {
            terms,
            burst: Burst::new(draft, terms, waiting(draft)),
            ranked: BTreeMap::new(),
            room,
            pods: Vec::new(),
            explanation: None,
        }
    }

    /// Makes the attempt, or says what stands in the way.
    fn serve(&mut self, draft: &mut Draft<'_>, need: &Need) -> Option<Obstacle> {
        if let Some(message) = &self.terms.suspended {
            return Some(Obstacle::Suspended(message.clone()));
        }
        let (by, pins) = match self.candidates(draft, need) {
            Ok(found) => found,
            Err(obstacle) => return Some(obstacle),
        };
        let ranked = self.ranked.get_mut(&by)?;
        let positions: Vec<usize> = pins
            .iter()
            .filter_map(|pin| ranked.positions.get(*pin).copied())
            .collect();
        let offers: &[Offer] = &draft.observed.offers;
        let pinned = positions.iter().filter_map(|position| offers.get(*position));
        let bounds = pinned.map(|offer| self.terms.job.requirement.upper_bound(offer));
        let bound = bounds.max().unwrap_or_default();
        let shard = &draft.status.shards[need.position];
        if let Some(limit) = budget::passed(draft, self.terms, shard, need.kind, bound) {
            return Some(Obstacle::Limit(limit));
        }
        self.room.take_first(positions, self.terms.job.requirement.gpus);
        if let Some(burst) = &mut self.burst {
            burst.served();
        }
        self.pods.push(expect(draft, need, ranked, &pins, by.class, bound));
        None
    }

    /// The best candidates with room, as places in the ranking that is named.
    /// With a burst: in the first open class that has any.
    fn candidates(&mut self, draft: &mut Draft<'_>, need: &Need) -> Result<(RankedBy, Vec<usize>), Obstacle> {
        let shard = &draft.status.shards[need.position];
        let number = u16::try_from(shard.attempts.len()).unwrap_or(u16::MAX);
        let requirement = requirement_of(draft, self.terms, shard, need.kind, number);
        let classes: Vec<Option<ProviderClass>> = match &self.burst {
            None => vec![None],
            Some(burst) => burst
                .open(burst::waited(draft, shard))
                .iter()
                .copied()
                .map(Some)
                .collect(),
        };
        for avoided in [avoided(draft, need), BTreeSet::new()] {
            for class in &classes {
                if let Some(found) = self.pinned(draft, need, &requirement, *class, &avoided) {
                    return Ok(found);
                }
            }
        }
        Err(self.full(draft, need, &requirement, &classes))
    }

    /// The best offers that fit and have GPUs left, if there are any.
    fn pinned(
        &mut self,
        draft: &Draft<'_>,
        need: &Need,
        requirement: &Requirement,
        class: Option<ProviderClass>,
        avoided: &BTreeSet<String>,
    ) -> Option<(RankedBy, Vec<usize>)> {
        let mut requirement = within(self.terms, requirement, class);
        requirement.excluded_providers.extend(avoided.iter().cloned());
        let weights = self.weights(draft, need);
        let by = RankedBy {
            everyone: avoided.is_empty(),
            excluded: requirement.excluded_providers.clone(),
            kind: need.kind,
            class,
            explores: weights.explore(),
        };
        let ranked = self
            .ranked
            .entry(by.clone())
            .or_insert_with(|| Ranked::new(rank(&requirement, &weights, &draft.observed.offers), draft));
        if avoided.is_empty() && self.explanation.is_none() && !ranked.ranking.candidates.is_empty() {
            self.explanation = Some(PlacementExplanation::of(&ranked.ranking, None));
        }
        let pins = ranked.with_room(&self.room, requirement.gpus);
        (!pins.is_empty()).then_some((by, pins))
    }

    fn weights(&self, draft: &Draft<'_>, need: &Need) -> Weights {
        let number = draft.status.shards[need.position].attempts.len();
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        weights_of(draft, self.terms, need.shard, need.kind, number)
    }

    /// Nobody has room in the open classes: either somebody will have, or nobody fits.
    fn full(
        &mut self,
        draft: &mut Draft<'_>,
        need: &Need,
        requirement: &Requirement,
        classes: &[Option<ProviderClass>],
    ) -> Obstacle {
        let fits = |class: &Option<ProviderClass>| {
            let ranking = self.of_idle(draft, need, requirement, *class);
            ranking.candidates.len()
        };
        let fitting: usize = classes.iter().map(fits).sum();
        let opens = self.burst.as_ref().and_then(|burst| {
            let shard = draft.status.shards[need.position].clone();
            burst::await_next(draft, burst, &shard)
        });
        if fitting > 0 {
            return Obstacle::Busy { fitting, opens };
        }
        let last = classes.last().copied().flatten();
        let terms = self.terms;
        let ranking = self.of_idle(draft, need, requirement, last);
        let mut explanation = remedy(draft, terms, requirement, ranking);
        explanation.message.extend(opens.map(|opens| format!("; {opens}")));
        Obstacle::NoOfferFits(explanation)
    }

    /// Offers of a class that would fit if they were idle; everyone was ranked before.
    fn of_idle(
        &mut self,
        draft: &Draft<'_>,
        need: &Need,
        requirement: &Requirement,
        class: Option<ProviderClass>,
    ) -> &Ranking {
        let weights = self.weights(draft, need);
        let requirement = within(self.terms, requirement, class);
        let by = RankedBy {
            everyone: true,
            excluded: requirement.excluded_providers.clone(),
            kind: need.kind,
            class,
            explores: weights.explore(),
        };
        let ranked = self
            .ranked
            .entry(by)
            .or_insert_with(|| Ranked::new(rank(&requirement, &weights, &draft.observed.offers), draft));
        ranked.idle.get_or_insert_with(|| {
            let idle: Vec<Offer> = draft.observed.offers.iter().map(idle).collect();
            rank(&requirement, &weights, &idle)
        })
    }

    /// Stores why the attempts of this round are pinned where they are, and says what stands in the way of others.
    fn finish(self, draft: &mut Draft<'_>, obstacle: Option<Obstacle>) {
        let time = draft.time();
        for (by, ranked) in self.ranked {
            if !ranked.pinned.is_empty() {
                let record = CandidatesRecord::new(&ranked.ranking, by.kind, time.clone(), ranked.pinned);
                draft.act(Action::StoreCandidates(Box::new(record)));
            }
        }
        draft.actions.extend(self.pods);
        if obstacle.as_ref().is_none_or(Obstacle::passes) {
            set_placeable(draft);
            if let Some(explanation) = self.explanation {
                draft.status.placement = Some(explanation);
            }
        }
        if let Some(obstacle) = obstacle {
            obstacle.report(draft);
        }
    }
}

impl Ranked {
    fn new(ranking: Ranking, draft: &Draft<'_>) -> Self {
        let offers = &draft.observed.offers;
        // A ranking is made of these offers: each candidate has a position.
        let position = |candidate: &Candidate| offers.position(&candidate.node).unwrap_or(usize::MAX);
        Self {
            positions: ranking.candidates.iter().map(position).collect(),
            ranking,
            first_with_room: 0,
            pinned: Vec::new(),
            idle: None,
        }
    }

    /// Places of the best candidates that have room. Room only shrinks within a round.
    fn with_room(&mut self, room: &Room, gpus: u32) -> Vec<usize> {
        let has_room = |position: &usize| room.has(*position, gpus);
        let full = self.positions[self.first_with_room..]
            .iter()
            .take_while(|position| !has_room(position));
        self.first_with_room += full.count();
        let left = self.positions.iter().enumerate().skip(self.first_with_room);
        let open = left.filter(|(_, position)| has_room(position));
        open.map(|(place, _)| place).take(CANDIDATES).collect()
    }
}

fn within(terms: &Terms, requirement: &Requirement, class: Option<ProviderClass>) -> Requirement {
    match class {
        Some(class) => terms.job.narrowed_to(requirement.clone(), class),
        None => requirement.clone(),
    }
}

/// Writes the attempt down; its pod comes after the status.
fn expect(
    draft: &mut Draft<'_>,
    need: &Need,
    ranked: &mut Ranked,
    pins: &[usize],
    class: Option<ProviderClass>,
    bound: MicroUsd,
) -> Action {
    let shard = &draft.status.shards[need.position];
    let number = u16::try_from(shard.attempts.len()).unwrap_or(u16::MAX);
    let candidates = pins.iter().filter_map(|pin| ranked.ranking.candidates.get(*pin));
    let candidates = candidates.map(|candidate| candidate.node.clone()).collect();
    ranked.pinned.push(PinnedAttempt::new(need.shard, number, pins));
    let attempt = AttemptStatus {
        number,
        kind: need.kind,
        class: class.map(Into::into),
        candidates,
        candidates_record: ranked.pinned.first().map(PinnedAttempt::record_name),
        upper_bound_micro: bound.0,
        created_at: Some(draft.time()),
        ..AttemptStatus::default()
    };
    let attempts = &mut draft.status.shards[need.position].attempts;
    // Few shards ever have a second one, and room for four would be most of what a job takes.
    attempts.reserve_exact(1);
    attempts.push(attempt);
    Action::CreatePod {
        shard: need.shard,
        attempt: number,
    }
}

/// Why nothing fits in the open classes, and the change of the job that would help; none while a class that opens later
/// has what is needed.
fn remedy(draft: &Draft<'_>, terms: &Terms, requirement: &Requirement, ranking: &Ranking) -> PlacementExplanation {
    let needs = terms.job.needs(requirement, draft.observed.default_data_class);
    let change = smallest_change(|offer| needs.of(offer), &draft.observed.offers, Capacity::Idle);
    PlacementExplanation::of(ranking, change.as_ref())
}

/// Providers that failed this shard before: others are tried first, but a provider alone may try again.
fn avoided(draft: &Draft<'_>, need: &Need) -> BTreeSet<String> {
    let attempts = &draft.status.shards[need.position].attempts;
    attempts
        .iter()
        .filter(|attempt| has_failed(attempt))
        .filter_map(|attempt| attempt.provider.clone())
        .collect()
}
