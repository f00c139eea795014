//! Conditions of a job. The transition time moves only when the status changes.

use spillway_crds::{Condition, Time, find_status_condition};

/// Sets a condition; an equal one stays as it is.
pub(super) fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    holds: bool,
    (reason, message): (&str, &str),
    (generation, now): (Option<i64>, &Time),
) {
    let status = if holds { "True" } else { "False" };
    let since = find_status_condition(conditions, type_)
        .filter(|condition| condition.status == status)
        .map(|condition| &condition.last_transition_time);
    let condition = Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since.unwrap_or(now).clone(),
        observed_generation: generation,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}
