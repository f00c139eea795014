//! Deletion: everything is stopped, what is owed is sealed, and only then the job goes.

use std::time::Duration;

use spillway_crds::AttemptStatus;

use super::action::Action;
use super::draft::{Draft, is_accepted};
use super::verification;

/// Between looks at assignments and seals that are on their way.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Judges what can be judged, begins no check for it, and cancels what runs; `cleanup` then takes assignments and pods
/// away; the last pass removes data and finalizer.
pub(super) fn plan(draft: &mut Draft<'_>) {
    verification::judge(draft);
    draft.cancel_all("JobDeleted", "the job was deleted");
    let observed = draft.observed;
    let nothing_runs = observed.assignments.is_empty() && observed.pods.values().all(|pod| !pod.ours);
    let no_runner = observed.splitter.pod.as_ref().is_none_or(|pod| !pod.ours)
        && observed.publisher.pod.as_ref().is_none_or(|pod| !pod.ours);
    let sealed = draft
        .status
        .shards
        .iter()
        .flat_map(|shard| &shard.attempts)
        .all(is_sealed);
    if nothing_runs && no_runner && sealed && super::has_finalizer(observed) {
        draft.act(Action::DeleteStored);
        draft.act(Action::RemoveFinalizer);
    } else {
        draft.wake_in(LOOK_AGAIN);
    }
}

/// Nothing is owed for the attempt, or a Settlement pays it.
fn is_sealed(attempt: &AttemptStatus) -> bool {
    !is_accepted(attempt) || attempt.settlement.is_some() || attempt.amount_micro.unwrap_or_default() == 0
}
