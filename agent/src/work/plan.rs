//! From one observation to the actions that follow: pure, deterministic, the same again when nothing changed.
//!
//! | assignment \ pod | absent | waiting, running | ended |
//! |---|---|---|---|
//! | new or accepted | refuse, or start | report; end after `notAfter` | receipt, or failure |
//! | running | failed: `PodLost` | report | receipt, or failure |
//! | completed, refused | – | remove | remove |
//! | failed | – | remove | kept for its logs until `notAfter` |
//! | being deleted | report `Gone` | remove | remove |
//! | absent on the hub | – | remove | remove |
//!
//! A hub that cannot be asked changes one thing: pods past `notAfter` are removed, everything else waits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use spillway_core::knowledge::Knowledge;
use spillway_crds::{AssignmentState, HostClaim, Time, WorkAssignment, WorkAssignmentStatus};

use super::Policy;
use super::acceptance::{Room, accept, deadline};
use super::objects::{ANNOTATION_DEADLINE, ANNOTATION_HOST, WorkObjects, build, gpus_of};
use super::observe::{LocalWork, Observed};
use super::outcome::{self, Outcome, Trouble};
use super::receipt;

/// As the API bounds it.
const LONGEST_MESSAGE: usize = 1000;
const LONGEST_REASON: usize = 64;

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Make the local objects; when our API server will never take them, refuse the assignment.
    Start {
        assignment: Box<WorkAssignment>,
        objects: Box<WorkObjects>,
    },
    /// Write this status.
    Report {
        assignment: Box<WorkAssignment>,
        status: Box<WorkAssignmentStatus>,
    },
    /// Delete the pod, and what it used once it is gone.
    RemovePod {
        uid: String,
    },
    RemoveRest {
        uid: String,
        secret: bool,
        policy: bool,
    },
}

pub(super) fn plan(observed: &Observed, policy: &Policy, now: Timestamp) -> Vec<Action> {
    let Knowledge::Known(assignments) = &observed.assignments else {
        return overdue(&observed.local, now);
    };
    let mut used = gpus_in_use(&observed.local, assignments);
    let mut actions: Vec<Action> = observed
        .local
        .iter()
        .filter(|(uid, _)| !assignments.contains_key(*uid))
        .filter_map(|(uid, local)| remove(uid, local))
        .collect();
    let nothing = LocalWork::default();
    for (uid, assignment) in oldest_first(assignments) {
        let local = observed.local.get(uid).unwrap_or(&nothing);
        actions.extend(one(uid, assignment, local, &observed.hosts, &mut used, policy, now));
    }
    actions
}

type Used = BTreeMap<String, u32>;

fn one(
    uid: &str,
    assignment: &WorkAssignment,
    local: &LocalWork,
    hosts: &Knowledge<Vec<HostClaim>>,
    used: &mut Used,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Action> {
    let state = state_of(assignment);
    if assignment.metadata.deletion_timestamp.is_some() {
        return removed_then_gone(uid, assignment, local);
    }
    match (state, &local.pod) {
        (AssignmentState::Completed | AssignmentState::Refused | AssignmentState::Gone, _) => {
            remove(uid, local).into_iter().collect()
        }
        (AssignmentState::Failed, Some(pod)) if !outcome::holds_gpus(pod) && deadline(&assignment.spec) > now => {
            Vec::new()
        }
        (AssignmentState::Failed, _) => remove(uid, local).into_iter().collect(),
        (AssignmentState::Running, None) => {
            let lost = Trouble {
                reason: "PodLost".to_owned(),
                message: "the work pod was deleted before it reported".to_owned(),
            };
            report(assignment, failed(assignment, lost, None, now))
        }
        (AssignmentState::Pending | AssignmentState::Accepted, None) => start(assignment, hosts, used, policy, now),
        (_, Some(pod)) => match outcome::of(pod, now) {
            Outcome::Waiting(_) | Outcome::Running { .. } if deadline(&assignment.spec) <= now => {
                let late = Trouble {
                    reason: "DeadlineExceeded".to_owned(),
                    message: format!("not finished at {}", deadline(&assignment.spec)),
                };
                report(assignment, failed(assignment, late, None, now))
            }
            outcome => report(assignment, next_status(assignment, outcome, policy, now)),
        },
    }
}

fn start(
    assignment: &WorkAssignment,
    hosts: &Knowledge<Vec<HostClaim>>,
    used: &mut Used,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Action> {
    // Before the first look at our nodes nothing can be said about room.
    let Knowledge::Known(hosts) = hosts else {
        return Vec::new();
    };
    let spec = &assignment.spec;
    let room = Room {
        host: hosts.iter().find(|host| host.name == spec.host),
        used: used.get(&spec.host).copied().unwrap_or_default(),
    };
    match accept(spec, policy, room, now) {
        Ok(accepted) => {
            *used.entry(spec.host.clone()).or_default() += spec.gpus;
            let objects = build(assignment, &accepted, &policy.pods, now);
            vec![Action::Start {
                assignment: Box::new(assignment.clone()),
                objects: Box::new(objects),
            }]
        }
        Err(refusal) => report(assignment, refused(assignment, refusal.reason, &refusal.message)),
    }
}

fn next_status(assignment: &WorkAssignment, outcome: Outcome, policy: &Policy, now: Timestamp) -> WorkAssignmentStatus {
    let before = assignment.status.clone().unwrap_or_default();
    match outcome {
        // A pod that ran does not go back to waiting.
        Outcome::Waiting(_) if before.state == AssignmentState::Running => before,
        Outcome::Waiting(trouble) => WorkAssignmentStatus {
            state: AssignmentState::Accepted,
            reason: trouble.as_ref().map(|trouble| cut(&trouble.reason, LONGEST_REASON)),
            message: trouble.as_ref().map(|trouble| cut(&trouble.message, LONGEST_MESSAGE)),
            ..before
        },
        Outcome::Running { started } => WorkAssignmentStatus {
            state: AssignmentState::Running,
            reason: None,
            message: None,
            started_at: before.started_at.clone().or(started),
            ..before
        },
        Outcome::Failed { trouble, finished } => failed(assignment, trouble, finished, now),
        Outcome::Reported {
            report,
            started,
            finished,
            start,
        } => match receipt::sign(&assignment.spec, &report, start, &policy.terms, &policy.keys) {
            Err(trouble) => failed(assignment, trouble, finished, now),
            Ok(receipt) => WorkAssignmentStatus {
                state: AssignmentState::Completed,
                reason: None,
                message: None,
                started_at: before.started_at.or(started),
                finished_at: finished.or(Some(Time(now))),
                receipt: Some(receipt.into()),
            },
        },
    }
}

/// Status of an assignment that we will not work on.
pub(super) fn refused(assignment: &WorkAssignment, reason: &str, message: &str) -> WorkAssignmentStatus {
    WorkAssignmentStatus {
        state: AssignmentState::Refused,
        reason: Some(cut(reason, LONGEST_REASON)),
        message: Some(cut(message, LONGEST_MESSAGE)),
        ..assignment.status.clone().unwrap_or_default()
    }
}

fn failed(
    assignment: &WorkAssignment,
    trouble: Trouble,
    finished: Option<Time>,
    now: Timestamp,
) -> WorkAssignmentStatus {
    let before = assignment.status.clone().unwrap_or_default();
    WorkAssignmentStatus {
        state: AssignmentState::Failed,
        reason: Some(cut(&trouble.reason, LONGEST_REASON)),
        message: Some(cut(&trouble.message, LONGEST_MESSAGE)),
        finished_at: before.finished_at.clone().or(finished).or(Some(Time(now))),
        ..before
    }
}

fn removed_then_gone(uid: &str, assignment: &WorkAssignment, local: &LocalWork) -> Vec<Action> {
    if *local != LocalWork::default() {
        return remove(uid, local).into_iter().collect();
    }
    let before = assignment.status.clone().unwrap_or_default();
    report(
        assignment,
        WorkAssignmentStatus {
            state: AssignmentState::Gone,
            ..before
        },
    )
}

/// The pod first: its policy guards it to the end. `None` while a deletion is on its way, or nothing is left.
fn remove(uid: &str, local: &LocalWork) -> Option<Action> {
    match &local.pod {
        Some(pod) if pod.metadata.deletion_timestamp.is_some() => None,
        Some(_) => Some(Action::RemovePod { uid: uid.to_owned() }),
        None if local.has_secret || local.has_policy => Some(Action::RemoveRest {
            uid: uid.to_owned(),
            secret: local.has_secret,
            policy: local.has_policy,
        }),
        None => None,
    }
}

/// Without the hub: `notAfter` alone ends work. A finished pod stays, it holds the report that the hub shall get.
fn overdue(local: &BTreeMap<String, LocalWork>, now: Timestamp) -> Vec<Action> {
    let late = |work: &LocalWork| {
        let pod = work.pod.as_ref().filter(|pod| outcome::holds_gpus(pod))?;
        let deadline: Timestamp = pod.annotations().get(ANNOTATION_DEADLINE)?.parse().ok()?;
        Some(deadline <= now)
    };
    let overdue = local.iter().filter(|(_, work)| late(work).unwrap_or(false));
    overdue.filter_map(|(uid, work)| remove(uid, work)).collect()
}

/// GPUs per host that pods of live assignments hold; pods on their way out do not count.
fn gpus_in_use(local: &BTreeMap<String, LocalWork>, assignments: &BTreeMap<String, WorkAssignment>) -> Used {
    let mut used = Used::new();
    for (uid, work) in local {
        let Some(pod) = work.pod.as_ref().filter(|pod| outcome::holds_gpus(pod)) else {
            continue;
        };
        let lives = assignments.get(uid).is_some_and(|one| {
            let working = matches!(
                state_of(one),
                AssignmentState::Pending | AssignmentState::Accepted | AssignmentState::Running
            );
            working && one.metadata.deletion_timestamp.is_none()
        });
        if let Some(host) = pod.annotations().get(ANNOTATION_HOST).filter(|_| lives) {
            *used.entry(host.clone()).or_default() += gpus_of(pod);
        }
    }
    used
}

fn oldest_first(assignments: &BTreeMap<String, WorkAssignment>) -> Vec<(&String, &WorkAssignment)> {
    let mut all: Vec<_> = assignments.iter().collect();
    all.sort_by_key(|(_, one)| {
        (
            one.metadata.creation_timestamp.as_ref().map(|time| time.0),
            one.name_any(),
        )
    });
    all
}

fn state_of(assignment: &WorkAssignment) -> AssignmentState {
    assignment
        .status
        .as_ref()
        .map(|status| status.state)
        .unwrap_or_default()
}

/// Nothing when the hub holds it already.
fn report(assignment: &WorkAssignment, status: WorkAssignmentStatus) -> Vec<Action> {
    if assignment.status.as_ref() == Some(&status) {
        return Vec::new();
    }
    vec![Action::Report {
        assignment: Box::new(assignment.clone()),
        status: Box::new(status),
    }]
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
