//! Money of one job, summed from its status. Reservations are never stored: they are the bounds of attempts that may
//! still have to be paid.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use spillway_core::money::MicroUsd;
use spillway_crds::{AttemptKind, AttemptStatus, Cost, InferenceJobStatus, ShardStatus};

use super::draft::{is_accepted, is_open};

fn attempts(status: &InferenceJobStatus) -> impl Iterator<Item = &AttemptStatus> {
    status.shards.iter().flat_map(|shard| &shard.attempts)
}

/// Upper bounds of attempts that run, or whose result waits for a verdict.
pub fn reserved(status: &InferenceJobStatus) -> MicroUsd {
    let open = attempts(status).filter(|attempt| is_open(attempt));
    open.map(|attempt| MicroUsd(attempt.upper_bound_micro)).sum()
}

/// Room for the check of a shard's result, as long as none was begun: as much as the Work attempt may cost.
pub(super) fn check_ahead(shard: &ShardStatus) -> MicroUsd {
    let open = |kind| {
        shard
            .attempts
            .iter()
            .find(move |attempt| attempt.kind == kind && is_open(attempt))
    };
    match (open(AttemptKind::Work), open(AttemptKind::Check)) {
        (Some(work), None) => MicroUsd(work.upper_bound_micro),
        _ => MicroUsd::ZERO,
    }
}

/// Reserved for attempts, and for the checks that they will need.
pub(super) fn set_aside(status: &InferenceJobStatus) -> MicroUsd {
    let ahead: MicroUsd = status.shards.iter().map(check_ahead).sum();
    ahead.saturating_add(reserved(status))
}

fn owed(attempt: &AttemptStatus) -> MicroUsd {
    if is_accepted(attempt) {
        MicroUsd(attempt.amount_micro.unwrap_or_default())
    } else {
        MicroUsd::ZERO
    }
}

/// Amounts of accepted attempts.
pub(super) fn spent(status: &InferenceJobStatus) -> MicroUsd {
    attempts(status).map(owed).sum()
}

/// The day that limits per day count in.
pub fn utc_date(time: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(time).date()
}

/// Set aside now, and owed for attempts that finished on `date` (UTC).
pub fn spent_on(status: &InferenceJobStatus, date: Date) -> MicroUsd {
    let finished = |attempt: &&AttemptStatus| {
        attempt
            .finished_at
            .as_ref()
            .is_some_and(|time| utc_date(time.0) == date)
    };
    let owed: MicroUsd = attempts(status).filter(finished).map(owed).sum();
    owed.saturating_add(set_aside(status))
}

pub(super) fn cost(status: &InferenceJobStatus) -> Cost {
    let sum = |checks: bool| -> MicroUsd {
        attempts(status)
            .filter(|attempt| is_check(attempt.kind) == checks)
            .map(owed)
            .sum()
    };
    let (work, checks) = (sum(false), sum(true));
    Cost {
        reserved_micro: reserved(status).0,
        work_micro: work.0,
        checks_micro: checks.0,
        total: usd(work.saturating_add(checks)),
    }
}

fn is_check(kind: AttemptKind) -> bool {
    matches!(kind, AttemptKind::Check | AttemptKind::Arbitrate)
}

/// For people: at least two decimals, no more than needed.
pub(super) fn usd(amount: MicroUsd) -> String {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    format!("{whole}.{fraction:0<2}")
}
