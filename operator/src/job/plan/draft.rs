//! The plan while it is being made.

use std::time::Duration;

use jiff::Timestamp;
use spillway_crds::{
    AttemptKind, AttemptState, AttemptStatus, Condition, InferenceJobStatus, ShardStatus, Time, find_status_condition,
    is_status_condition_true, job_condition,
};

use super::super::observed::{AttemptKey, Observed};
use super::action::{Action, JobPlan};
use super::conditions;

/// Every job is looked at this often, whatever happens.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// After a question that could not be answered.
const ASK_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Draft<'a> {
    pub observed: &'a Observed,
    pub now: Timestamp,
    pub status: InferenceJobStatus,
    pub actions: Vec<Action>,
    requeue_after: Duration,
}

impl<'a> Draft<'a> {
    pub(super) fn new(observed: &'a Observed, now: Timestamp) -> Self {
        // Whole seconds: what is written is what is read back.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let status = observed.job.status.clone().unwrap_or_default();
        Self {
            observed,
            now,
            status,
            actions: Vec::new(),
            requeue_after: LONGEST_WAIT,
        }
    }

    pub(super) fn time(&self) -> Time {
        Time(self.now)
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn event(&mut self, warning: bool, reason: &str, note: impl Into<String>) {
        self.act(Action::Event {
            warning,
            reason: reason.to_owned(),
            note: note.into(),
        });
    }

    pub(super) fn wake_in(&mut self, wait: Duration) {
        self.requeue_after = self.requeue_after.min(wait.max(Duration::from_secs(1)));
    }

    pub(super) fn wake_at(&mut self, time: Timestamp) {
        let wait = Duration::try_from(time.duration_since(self.now)).unwrap_or_default();
        self.wake_in(wait);
    }

    /// Something could not be asked: try again soon, decide nothing.
    pub(super) fn ask_again(&mut self) {
        self.wake_in(ASK_AGAIN);
    }

    pub(super) fn set_condition(&mut self, type_: &str, holds: bool, reason: &str, message: &str) {
        let generation = self.observed.job.metadata.generation;
        let time = self.time();
        conditions::set(
            &mut self.status.conditions,
            type_,
            holds,
            (reason, message),
            (generation, &time),
        );
    }

    pub(super) fn condition(&self, type_: &str) -> Option<&Condition> {
        find_status_condition(&self.status.conditions, type_)
    }

    pub(super) fn condition_holds(&self, type_: &str) -> bool {
        is_status_condition_true(&self.status.conditions, type_)
    }

    /// Complete or failed: no stage may start anything any more.
    pub(super) fn is_terminal(&self) -> bool {
        self.condition_holds(job_condition::COMPLETE) || self.condition_holds(job_condition::FAILED)
    }

    /// From now on no work is begun or goes on; see `failing`. The first reason stays.
    pub(super) fn fail(&mut self, reason: &str, message: &str) {
        if !self.is_failing() {
            self.set_condition(job_condition::FAILURE_TARGET, true, reason, message);
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.condition_holds(job_condition::FAILURE_TARGET)
    }

    /// Ends every live attempt.
    pub(super) fn cancel_all(&mut self, reason: &str, message: &str) {
        let time = self.time();
        for attempt in self.status.shards.iter_mut().flat_map(|shard| &mut shard.attempts) {
            if is_live(attempt.state) {
                end(attempt, AttemptState::Cancelled, (reason, message), &time);
            }
        }
    }

    /// The status as observed: nothing is claimed yet.
    pub(super) fn unchanged(mut self) -> JobPlan {
        self.status = self.observed.job.status.clone().unwrap_or_default();
        JobPlan {
            status: self.status,
            actions: self.actions,
            requeue_after: self.requeue_after,
        }
    }

    pub(super) fn finish(mut self) -> JobPlan {
        self.announce_transitions();
        JobPlan {
            status: self.status,
            actions: self.actions,
            requeue_after: self.requeue_after,
        }
    }

    /// One event per condition that changed; a condition that goes on holding is no news, nor is that a job will fail
    /// which has failed.
    fn announce_transitions(&mut self) {
        let before = self
            .observed
            .job
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        let failed = self.condition_holds(job_condition::FAILED);
        let is_news = |condition: &&Condition| {
            if failed && condition.type_ == job_condition::FAILURE_TARGET {
                return false;
            }
            let old = before.iter().find(|old| old.type_ == condition.type_);
            old.is_none_or(|old| {
                old.status != condition.status || (old.status == "False" && old.reason != condition.reason)
            })
        };
        let news: Vec<Condition> = self.status.conditions.iter().filter(is_news).cloned().collect();
        for Condition {
            type_,
            status,
            reason,
            message,
            ..
        } in news
        {
            let bad =
                (status == "True") == [job_condition::FAILURE_TARGET, job_condition::FAILED].contains(&type_.as_str());
            let waits = ["Splitting", "Publishing", "InProgress"].contains(&reason.as_str());
            self.event(bad && !waits, &reason, format!("{type_}={status}: {message}"));
        }
    }
}

/// Whether the attempt may still compute.
pub(super) fn is_live(state: AttemptState) -> bool {
    matches!(
        state,
        AttemptState::Expected | AttemptState::Assigned | AttemptState::Running
    )
}

/// Whether its result waits for a verdict.
pub(super) fn awaits_verdict(attempt: &AttemptStatus) -> bool {
    attempt.state == AttemptState::Completed && attempt.verdict.is_none()
}

/// Whether it may still come to be owed.
pub(super) fn is_open(attempt: &AttemptStatus) -> bool {
    is_live(attempt.state) || awaits_verdict(attempt)
}

pub(super) fn is_accepted(attempt: &AttemptStatus) -> bool {
    attempt.verdict.as_ref().is_some_and(|verdict| verdict.accepted)
}

pub(super) fn end(attempt: &mut AttemptStatus, state: AttemptState, (reason, message): (&str, &str), time: &Time) {
    attempt.state = state;
    attempt.reason = Some(reason.to_owned());
    attempt.message = Some(message.to_owned()).filter(|message| !message.is_empty());
    attempt.finished_at = Some(time.clone());
    // Pinned candidates are of use only until a node is found; a long list of old ones would fill the object.
    attempt.candidates.clear();
}

pub(super) fn attempt(status: &InferenceJobStatus, (shard, number): AttemptKey) -> Option<&AttemptStatus> {
    let shard = status.shards.iter().find(|candidate| candidate.index == shard)?;
    shard.attempts.iter().find(|attempt| attempt.number == number)
}

/// The first run of a kind that waits for its verdict.
pub(super) fn run_of(shard: &ShardStatus, kind: AttemptKind) -> Option<&AttemptStatus> {
    shard
        .attempts
        .iter()
        .find(|attempt| attempt.kind == kind && awaits_verdict(attempt))
}

pub(super) fn has_live(shard: &ShardStatus, kind: AttemptKind) -> bool {
    shard
        .attempts
        .iter()
        .any(|attempt| attempt.kind == kind && is_live(attempt.state))
}
