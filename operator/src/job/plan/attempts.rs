//! Attempts on their way: pod made, bound, re-checked, handed over, followed to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spillway_core::market::{Exclusion, Offer, Requirement, exclude, rank};
use spillway_crds::{AssignmentState, AttemptState, AttemptStatus, Time, job_condition};

use super::super::observed::{AssignmentFact, PodFact};
use super::acceptance::Terms;
use super::action::Action;
use super::burst::alternatives;
use super::draft::{Draft, end, is_live};
use super::failing::is_stopped;
use super::placement::{requirement_of, waiting, weights_of};
use crate::dispatch::recheck;

/// A pod may stay unbound this long before its candidates are looked at again, and again.
const UNBOUND_PATIENCE: SignedDuration = SignedDuration::from_secs(5);
/// From the shard timeout to the time at which the agent stops the work unasked: image pulls, engine start.
const START_MARGIN: SignedDuration = SignedDuration::from_secs(120);
/// From that time to the hub's own conclusion that nothing runs any more.
pub(super) const SILENCE_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// When the agent must stop an attempt that is assigned now; the expiry of its order too. An elastic host has to appear
/// first.
fn stop_time(now: Timestamp, shard_timeout: Duration, start_time: Option<Duration>) -> Timestamp {
    let longest = shard_timeout.saturating_add(start_time.unwrap_or_default());
    let timeout = SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX);
    let wait = timeout.checked_add(START_MARGIN);
    wait.and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

/// From an assignment to the hub's conclusion that nothing of it runs any more, at most.
pub(super) fn longest_run(shard_timeout: Duration) -> SignedDuration {
    let timeout = SignedDuration::try_from(shard_timeout).unwrap_or(SignedDuration::MAX);
    timeout.saturating_add(START_MARGIN).saturating_add(SILENCE_GRACE)
}

/// Brings every live attempt up to what is observed.
pub(super) fn follow(draft: &mut Draft<'_>, terms: &Terms) {
    let mut taken = BTreeMap::new();
    for shard in 0..draft.status.shards.len() {
        for number in 0..draft.status.shards[shard].attempts.len() {
            let index = draft.status.shards[shard].index;
            let mut attempt = draft.status.shards[shard].attempts[number].clone();
            if is_live(attempt.state) {
                if draft.is_failing() && is_stopped(&draft.status.shards[shard], &attempt) {
                    halt(draft, index, &mut attempt);
                } else {
                    follow_one(draft, terms, &mut taken, index, &mut attempt);
                }
                draft.status.shards[shard].attempts[number] = attempt;
            }
        }
    }
}

/// What is finished already counts, however late it is seen.
fn halt(draft: &Draft<'_>, shard: u32, attempt: &mut AttemptStatus) {
    let assignment = draft.observed.assignments.get(&(shard, attempt.number));
    match assignment.filter(|assignment| assignment.status.state == AssignmentState::Completed) {
        Some(finished) => complete(attempt, finished, &draft.time()),
        None => {
            let target = draft.condition(job_condition::FAILURE_TARGET);
            let message = target.map(|target| target.message.as_str()).unwrap_or_default();
            end(attempt, AttemptState::Cancelled, ("JobFailed", message), &draft.time());
        }
    }
}

fn requirement_for(draft: &Draft<'_>, terms: &Terms, shard: u32, attempt: &AttemptStatus) -> Requirement {
    match draft.status.shards.iter().find(|candidate| candidate.index == shard) {
        Some(shard) => requirement_of(draft, terms, shard, attempt.kind, attempt.number),
        None => terms.job.requirement.clone(),
    }
}

/// GPUs given away in this very pass, by node: the offers do not know of them yet.
type Taken = BTreeMap<String, u32>;

fn follow_one(draft: &mut Draft<'_>, terms: &Terms, taken: &mut Taken, shard: u32, attempt: &mut AttemptStatus) {
    let observed = draft.observed;
    let key = (shard, attempt.number);
    if let Some(assignment) = observed.assignments.get(&key) {
        return follow_assignment(draft, attempt, assignment);
    }
    let time = draft.time();
    if attempt.state != AttemptState::Expected {
        let why = ("AssignmentMissing", "the assignment was deleted by somebody else");
        return end(attempt, AttemptState::Failed, why, &time);
    }
    match observed.attempt_pod(key) {
        None if attempt.pod_uid.is_some() => {
            end(
                attempt,
                AttemptState::Cancelled,
                ("PodDeleted", "its pod was deleted by somebody else"),
                &time,
            );
        }
        None => draft.act(Action::CreatePod {
            shard,
            attempt: attempt.number,
        }),
        Some((name, pod)) if !pod.ours => {
            draft.event(
                true,
                "NameTaken",
                format!("pod {name} exists and is not this job's; the next number is used"),
            );
            end(
                attempt,
                AttemptState::Cancelled,
                ("NameTaken", "another pod has this attempt's name"),
                &time,
            );
        }
        Some((_, pod)) if pod.deleting || attempt.pod_uid.as_ref().is_some_and(|uid| *uid != pod.uid) => {
            end(
                attempt,
                AttemptState::Cancelled,
                ("PodDeleted", "its pod was deleted by somebody else"),
                &time,
            );
        }
        Some((_, pod)) => follow_pod(draft, terms, taken, shard, attempt, pod),
    }
}

fn follow_pod(
    draft: &mut Draft<'_>,
    terms: &Terms,
    taken: &mut Taken,
    shard: u32,
    attempt: &mut AttemptStatus,
    pod: &PodFact,
) {
    attempt.pod_uid = Some(pod.uid.clone());
    let Some(node) = &pod.node else {
        return wait_for_node(draft, terms, shard, attempt);
    };
    match may_run(draft, terms, taken, shard, attempt, node) {
        Err(refusal) => {
            draft.event(
                true,
                refusal.reason,
                format!("attempt {shard}/{} on {node}: {}", attempt.number, refusal.message),
            );
            end(
                attempt,
                AttemptState::Cancelled,
                (refusal.reason, &refusal.message),
                &draft.time(),
            );
        }
        Ok(offer) => {
            if attempt.unit_price_micro.is_none() {
                lock(draft, terms, shard, attempt, &offer);
            }
            *taken.entry(node.clone()).or_default() += terms.job.requirement.gpus;
            draft.act(Action::CreateAssignment {
                shard,
                attempt: attempt.number,
            });
            // The watch will show it; this is for the case that it does not.
            draft.ask_again();
        }
    }
}

/// A pod whose candidates ran dry is given up when others fit now, or when its own never will.
fn wait_for_node(draft: &mut Draft<'_>, terms: &Terms, shard: u32, attempt: &mut AttemptStatus) {
    let patience = attempt
        .created_at
        .as_ref()
        .and_then(|time| time.0.checked_add(UNBOUND_PATIENCE).ok());
    let Some(patience) = patience else { return };
    if draft.now < patience {
        return draft.wake_at(patience);
    }
    let requirement = requirement_for(draft, terms, shard, attempt);
    let fits = |offer: &Offer| exclude(&requirement, offer).is_none();
    let offers = &draft.observed.offers;
    let own: Vec<&Offer> = attempt.candidates.iter().filter_map(|node| offers.get(node)).collect();
    let own_fit = own.iter().any(|offer| fits(offer));
    let own_may_fit = || own.iter().any(|offer| fits(&idle(offer)));
    let others_fit = || fits_elsewhere(draft, terms, shard, attempt);
    if !own_fit && (others_fit() || !own_may_fit()) {
        let why = ("CandidatesGone", "none of its candidate nodes fits any more");
        end(attempt, AttemptState::Cancelled, why, &draft.time());
    } else {
        draft.wake_in(UNBOUND_PATIENCE.unsigned_abs());
    }
}

/// Whether a new attempt of the shard could be placed now on a node that is no candidate of this one.
fn fits_elsewhere(draft: &Draft<'_>, terms: &Terms, shard: u32, attempt: &AttemptStatus) -> bool {
    let Some(shard) = draft.status.shards.iter().find(|one| one.index == shard) else {
        return false;
    };
    let requirement = requirement_for(draft, terms, shard.index, attempt);
    let waiting = waiting(draft).saturating_add(1);
    let others = draft.observed.offers.iter();
    let mut others = others.filter(|offer| !attempt.candidates.contains(&offer.node));
    let alternatives = alternatives(draft, terms, shard, waiting, &requirement);
    others.any(|offer| alternatives.iter().any(|needs| exclude(needs, offer).is_none()))
}

/// The offer as it would be with nothing running on it.
pub(super) fn idle(offer: &Offer) -> Offer {
    Offer {
        gpus_free: offer.gpus_total,
        ..offer.clone()
    }
}

struct Refusal {
    reason: &'static str,
    message: String,
}

impl From<Exclusion> for Refusal {
    fn from(exclusion: Exclusion) -> Self {
        Self {
            reason: exclusion.reason(),
            message: format!("the node no longer fits: {exclusion}"),
        }
    }
}

/// Every hard filter once more, with the facts of now: a pod may be bound by anybody.
fn may_run(
    draft: &Draft<'_>,
    terms: &Terms,
    taken: &Taken,
    shard: u32,
    attempt: &AttemptStatus,
    node: &String,
) -> Result<Offer, Refusal> {
    let refused = |reason, message: &str| Refusal {
        reason,
        message: message.to_owned(),
    };
    let is_candidate = match &attempt.node {
        Some(locked) => locked == node,
        None => attempt.candidates.contains(node),
    };
    if !is_candidate {
        return Err(refused(
            "NotACandidate",
            "the node was not among the attempt's candidates",
        ));
    }
    let offer = draft
        .observed
        .offer(node)
        .ok_or_else(|| refused("NoOffer", "the node offers nothing any more"))?;
    let gpus_free = offer
        .gpus_free
        .saturating_sub(taken.get(node).copied().unwrap_or_default());
    let offer = Offer {
        gpus_free,
        ..offer.clone()
    };
    recheck(&requirement_for(draft, terms, shard, attempt), &offer)?;
    if attempt.unit_price_micro.is_none() && terms.job.requirement.upper_bound(&offer).0 > attempt.upper_bound_micro {
        return Err(refused(
            "PriceRose",
            "the price rose above what is reserved for this attempt",
        ));
    }
    Ok(offer)
}

/// Writes the terms of the order down; from here on they do not change.
fn lock(draft: &mut Draft<'_>, terms: &Terms, shard: u32, attempt: &mut AttemptStatus, offer: &Offer) {
    let stop = stop_time(draft.now, terms.job.shard_timeout, offer.start_time);
    attempt.decision = decision(draft, terms, shard, attempt, offer);
    attempt.node = Some(offer.node.clone());
    attempt.provider = Some(offer.provider.clone());
    attempt.unit_price_micro = Some(offer.price.0);
    attempt.offer_revision = Some(offer.revision);
    attempt.upper_bound_micro = terms.job.requirement.upper_bound(offer).0;
    attempt.payout = draft
        .observed
        .providers
        .get(&offer.provider)
        .map(|provider| provider.payout_address.clone());
    attempt.order_expiry = u64::try_from(stop.as_second()).ok();
    attempt.assigned_at = Some(draft.time());
    // The pod keeps what it was pinned to; here a long list would only fill the object.
    attempt.candidates.clear();
}

/// The bound node among the attempt's candidates, by the facts of now.
fn decision(draft: &Draft<'_>, terms: &Terms, shard: u32, attempt: &AttemptStatus, bound: &Offer) -> Option<String> {
    let requirement = requirement_for(draft, terms, shard, attempt);
    let own = attempt.candidates.iter();
    let others = own.filter_map(|node| draft.observed.offer(node));
    let offers: Vec<Offer> = others
        .filter(|offer| offer.node != bound.node)
        .chain([bound])
        .cloned()
        .collect();
    rank(
        &requirement,
        &weights_of(draft, terms, shard, attempt.kind, attempt.number),
        &offers,
    )
    .decision(&bound.node)
}

fn follow_assignment(draft: &mut Draft<'_>, attempt: &mut AttemptStatus, assignment: &AssignmentFact) {
    let time = draft.time();
    let status = &assignment.status;
    let said = |reason: &str| {
        let reason = status.reason.clone().unwrap_or_else(|| reason.to_owned());
        (reason, status.message.clone().unwrap_or_default())
    };
    let mut failed =
        |(reason, message): (String, String)| end(attempt, AttemptState::Failed, (&reason, &message), &time);
    match status.state {
        AssignmentState::Completed => complete(attempt, assignment, &time),
        AssignmentState::Failed => failed(said("WorkFailed")),
        AssignmentState::Refused => failed(said("Refused")),
        AssignmentState::Gone => failed(said("Gone")),
        AssignmentState::Pending | AssignmentState::Accepted => {
            attempt.state = AttemptState::Assigned;
            watch_provider(draft, attempt, assignment);
        }
        AssignmentState::Running => {
            attempt.state = AttemptState::Running;
            watch_provider(draft, attempt, assignment);
        }
    }
}

fn complete(attempt: &mut AttemptStatus, assignment: &AssignmentFact, time: &Time) {
    let Some(receipt) = &assignment.status.receipt else {
        let why = ("NoReceipt", "the agent reported completion without a receipt");
        return end(attempt, AttemptState::Failed, why, time);
    };
    attempt.state = AttemptState::Completed;
    attempt.receipt = Some(receipt.clone());
    attempt.finished_at = Some(time.clone());
}

/// An attempt is lost when its provider is known to be silent, or long after the agent must have stopped it.
fn watch_provider(draft: &mut Draft<'_>, attempt: &mut AttemptStatus, assignment: &AssignmentFact) {
    let time = draft.time();
    let provider = draft.observed.providers.get(&assignment.provider);
    if provider.is_none_or(|provider| provider.silent) {
        let why = ("ProviderSilent", "the provider's heartbeat stopped");
        return end(attempt, AttemptState::Lost, why, &time);
    }
    let Ok(given_up) = assignment.not_after.0.checked_add(SILENCE_GRACE) else {
        return;
    };
    if draft.now >= given_up {
        return end(
            attempt,
            AttemptState::Lost,
            ("TimedOut", "not finished within spec.execution.shardTimeout"),
            &time,
        );
    }
    draft.wake_at(given_up);
}
