//! The pure planner of one InferenceJob: observed values and the time in, status and actions out.
//!
//! Stages run in the order of a job's life and each looks at the whole picture, so a restart at any point continues:
//! acceptance → splitting → attempts (pods and assignments) → verification → placement (new attempts) → publishing.
//! A job that fails begins no more work, and ends once the results that it has are judged.
//! The status is written before any action runs, but for those that [`Action::precedes_status`] names.

mod acceptance;
mod action;
mod attempts;
mod budget;
mod burst;
mod candidates;
mod cleanup;
mod conditions;
mod deletion;
mod draft;
mod expiry;
mod failing;
mod ledger;
mod placement;
mod publishing;
mod room;
mod settling;
mod splitting;
mod summary;
mod verification;

use jiff::Timestamp;

pub use acceptance::{DayLimits, day_limits};
pub use action::{Action, JobPlan};
pub use candidates::{CandidateTerms, CandidatesRecord, PinnedAttempt};
pub use ledger::{reserved, spent_on, utc_date};
pub(super) use placement::shards_to_begin;
pub(super) use publishing::awaits_publishing;
pub(super) use room::Room;
pub use verification::{Questions, questions};

use super::observed::Observed;
use draft::Draft;

/// Held by the operator until nothing of the job is left.
pub const JOB_FINALIZER: &str = "spillway.dev/job";

/// Plans the next step of a job. Equal arguments give equal plans.
pub fn plan(observed: &Observed, now: Timestamp) -> JobPlan {
    let mut draft = Draft::new(observed, now);
    settling::record(&mut draft);
    if observed.is_deleting() {
        deletion::plan(&mut draft);
    } else if !has_finalizer(observed) {
        draft.act(Action::AddFinalizer);
        return draft.unchanged();
    } else if draft.is_terminal() {
        publishing::publish(&mut draft);
    } else {
        live(&mut draft);
    }
    cleanup::plan(&mut draft);
    settling::conclude(&mut draft);
    summary::summarise(&mut draft);
    expiry::expire(&mut draft);
    draft.finish()
}

fn live(draft: &mut Draft<'_>) {
    let Some(terms) = acceptance::accept(draft) else { return };
    if let Some(late) = acceptance::deadline_passed(draft, &terms) {
        draft.fail("DeadlineExceeded", &late);
    }
    if draft.is_failing() || splitting::split(draft, terms.job.shards) {
        attempts::follow(draft, &terms);
        verification::judge(draft);
        placement::place(draft, &terms);
    }
    if draft.is_failing() {
        failing::conclude(draft, &terms);
    } else {
        publishing::publish(draft);
    }
}

fn has_finalizer(observed: &Observed) -> bool {
    observed
        .job
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == JOB_FINALIZER)
}

#[cfg(test)]
pub(in crate::job) mod tests;
