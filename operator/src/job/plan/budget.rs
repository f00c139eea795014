//! Limits: what a further attempt may cost beside what is reserved and spent already.
//!
//! At a limit no new attempt starts; what was begun is finished, checked, published and paid. A Work attempt therefore
//! keeps room for the check of its result: it is set aside with it.

use jiff::tz::TimeZone;
use spillway_core::money::MicroUsd;
use spillway_crds::{AttemptKind, ShardStatus};

use super::acceptance::Terms;
use super::draft::Draft;
use super::ledger::{check_ahead, set_aside, spent, spent_on, usd, utc_date};

/// A limit that the next attempt would pass: reason of condition Placeable, and the sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub reason: &'static str,
    pub message: String,
}

/// The first limit that a further attempt of a shard would pass: the job's budget, then the SpendPolicy's days.
pub(super) fn passed(
    draft: &Draft<'_>,
    terms: &Terms,
    shard: &ShardStatus,
    kind: AttemptKind,
    bound: MicroUsd,
) -> Option<Limit> {
    let next = further(shard, kind, bound);
    of_job(draft, terms, next).or_else(|| of_day(draft, terms, next))
}

/// What an attempt adds to what is set aside: Work its own bound and as much for its check, a check what goes beyond that.
fn further(shard: &ShardStatus, kind: AttemptKind, bound: MicroUsd) -> MicroUsd {
    match kind {
        AttemptKind::Work => bound.saturating_add(bound),
        _ => bound.saturating_sub(check_ahead(shard)),
    }
}

fn of_job(draft: &Draft<'_>, terms: &Terms, next: MicroUsd) -> Option<Limit> {
    let (spent, set_aside) = (spent(&draft.status), set_aside(&draft.status));
    let needed = spent.saturating_add(set_aside).saturating_add(next);
    let sums = format!(
        "{} is spent, {} is reserved for attempts and their checks, the next attempt needs {}",
        usd(spent),
        usd(set_aside),
        usd(next)
    );
    if needed > terms.job.budget {
        let (budget, needed) = (usd(terms.job.budget), usd(needed));
        return Some(Limit {
            reason: "BudgetExhausted",
            message: format!("spec.price.budget is {budget}: {sums}; raise it to {needed} or more"),
        });
    }
    // A budget may have been raised, or the policy's limit lowered, since the job was accepted.
    (needed > terms.per_job).then(|| Limit {
        reason: "JobLimit",
        message: format!(
            "SpendPolicy {} allows a job {}: {sums}",
            terms.spend_policy,
            usd(terms.per_job)
        ),
    })
}

fn of_day(draft: &Draft<'_>, terms: &Terms, next: MicroUsd) -> Option<Limit> {
    let own = spent_on(&draft.status, utc_date(draft.now));
    let others = draft.observed.spent_today.get(&terms.spend_policy);
    let others = others.copied().unwrap_or_default();
    let namespace = format!("namespace {}", draft.observed.namespace());
    let limits = [
        (
            "DailyLimit",
            "all of its jobs",
            Some(terms.limits.per_day),
            others.policy,
        ),
        (
            "NamespaceDailyLimit",
            &namespace,
            terms.limits.per_namespace_per_day,
            others.namespace,
        ),
    ];
    limits.into_iter().find_map(|(reason, who, limit, others)| {
        let (limit, day) = (limit?, others.saturating_add(own));
        let over = day.saturating_add(next) > limit;
        over.then(|| Limit {
            reason,
            message: format!(
                "SpendPolicy {} allows {who} {} per day: {} is spent or reserved today, the next attempt needs {}; the next day begins at 00:00 UTC",
                terms.spend_policy,
                usd(limit),
                usd(day),
                usd(next)
            ),
        })
    })
}

/// Looks again when the day of the limits is over.
pub(super) fn await_next_day(draft: &mut Draft<'_>) {
    let midnight = utc_date(draft.now)
        .tomorrow()
        .and_then(|date| date.to_zoned(TimeZone::UTC));
    if let Ok(midnight) = midnight {
        draft.wake_at(midnight.timestamp());
    }
}
