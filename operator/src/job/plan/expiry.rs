//! A job that asks for it is deleted a while after its end: never before it is paid, nor before it is published.

use jiff::{SignedDuration, Timestamp};
use spillway_crds::job_condition;

use super::action::Action;
use super::draft::Draft;
use super::publishing::awaits_publishing;

/// To be asked last: what else is planned for the job is done first.
pub(super) fn expire(draft: &mut Draft<'_>) {
    let Some(end) = end(draft) else { return };
    if draft.observed.is_deleting()
        || !draft.condition_holds(job_condition::SETTLED)
        || awaits_publishing(&draft.status)
    {
        return;
    }
    if draft.now < end {
        draft.wake_at(end);
    } else if draft.actions.is_empty() {
        draft.act(Action::DeleteJob);
    }
}

fn end(draft: &Draft<'_>) -> Option<Timestamp> {
    let seconds = draft.observed.job.spec.ttl_seconds_after_finished?;
    let finished = draft.status.completion_time.as_ref()?.0;
    finished.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}
