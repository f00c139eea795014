//! A job that fails: what was computed in time is judged and owed, nothing else goes on.

use spillway_core::knowledge::Knowledge;
use spillway_crds::{AssignmentState, AttemptKind, AttemptState, ShardState, job_condition};

use super::publishing::{TWO_HOURS, reason, status, told};
use super::scenarios::{split, turn};
use super::world::{JOB, World, offer, valid};
use crate::job::plan::reserved;

/// One shard whose result waits for its check, and one whose work runs; `checkers` are owners beside the two.
fn one_result(checkers: usize) -> World {
    let spare = ["c", "d"]
        .into_iter()
        .take(checkers)
        .map(|name| offer(name, 1, 1_100_000));
    let offers = [offer("a", 1, 900_000), offer("b", 1, 1_000_000)]
        .into_iter()
        .chain(spare);
    let mut world = split(World::new(JOB, offers.collect()), 2);
    world.schedule();
    world.settle("scheduled");
    world.agents_say(AssignmentState::Running);
    world.settle("running");
    world.agent_says(0, 0, AssignmentState::Completed);
    world.settle("one result");
    world
}

fn late(world: &mut World) {
    world.pass_time(TWO_HOURS);
    world.settle("late");
}

fn works(world: &World) -> usize {
    let attempts = world.attempts().into_iter();
    attempts
        .filter(|(_, attempt)| attempt.kind == AttemptKind::Work)
        .count()
}

fn check_of(world: &World, shard: u32) -> Option<AttemptState> {
    let mut checks = world.attempts().into_iter().rev();
    checks
        .find(|(index, attempt)| *index == shard && attempt.kind == AttemptKind::Check)
        .map(|(_, attempt)| attempt.state)
}

#[test]
fn a_check_that_runs_at_the_deadline_is_waited_for() {
    let mut world = one_result(1);
    world.observed.examined.insert((0, 0), valid());
    world.settle("examined");
    // Long before, so that its order is still good at the deadline.
    world.pass_time(TWO_HOURS - 60);
    world.schedule();
    world.settle("the check begins");
    world.pass_time(60);
    world.settle("late");
    assert_eq!(
        world.attempt(1, 0).unwrap().state,
        AttemptState::Lost,
        "its time was over"
    );
    assert_eq!(check_of(&world, 0), Some(AttemptState::Assigned));
    assert_eq!(
        reason(&world, job_condition::FAILURE_TARGET).unwrap(),
        "True=DeadlineExceeded"
    );
    assert_eq!(reason(&world, job_condition::FAILED), None);

    world.agents_say(AssignmentState::Completed);
    world.settle("checked");
    world.store_answers();
    world.settle("compared");
    let (work, check) = (world.attempt(0, 0).unwrap(), world.attempt(0, 1).unwrap());
    assert!(work.verdict.unwrap().accepted && check.verdict.unwrap().accepted);
    assert!(work.amount_micro.unwrap() > 0 && check.amount_micro.unwrap() > 0);
    assert_eq!(reason(&world, job_condition::FAILED).unwrap(), "True=DeadlineExceeded");
    assert_eq!(reason(&world, job_condition::PUBLISHED).unwrap(), "False=Publishing");
    assert_eq!(status(&world).shards[0].state, ShardState::Accepted);
}

#[test]
fn a_check_is_begun_for_a_result_that_came_in_time_and_no_work_is() {
    let mut world = one_result(1);
    world.pass_time(TWO_HOURS - 400);
    world.settle("long after");
    let begun = works(&world);
    late(&mut world);
    let message = told(&world, job_condition::COMPLETE).unwrap().1;
    assert!(message.ends_with("results that wait for their check: 1"), "{message}");
    world.store_answers();
    world.settle("examined");
    turn(&mut world, "check");
    assert_eq!(reason(&world, job_condition::FAILED).unwrap(), "True=DeadlineExceeded");
    assert_eq!(status(&world).shards[0].state, ShardState::Accepted);
    assert_eq!(works(&world), begun);
}

#[test]
fn work_that_runs_is_stopped_and_work_that_is_done_counts() {
    let mut world = one_result(0);
    world.pass_time(100);
    world.observed.job.metadata.creation_timestamp.as_mut().unwrap().0 = world
        .now
        .checked_sub(jiff::SignedDuration::from_secs(TWO_HOURS))
        .unwrap();
    let mut finished = world.clone();
    world.settle("late");
    let stopped = world.attempt(1, 0).unwrap();
    assert_eq!(
        (stopped.state, stopped.reason.as_deref()),
        (AttemptState::Cancelled, Some("JobFailed"))
    );
    assert!(world.observed.assignments[&(1, 0)].deleting);

    finished.agent_says(1, 0, AssignmentState::Completed);
    finished.settle("late, and the agent had finished");
    assert_eq!(finished.attempt(1, 0).unwrap().state, AttemptState::Completed);
}

#[test]
fn nobody_who_could_check_ends_the_wait() {
    let mut world = one_result(0);
    world.observed.providers.remove("b");
    world.change_offers(|offers| offers.retain(|offer| offer.provider == "a"));
    world.observed.examined.insert((0, 0), valid());
    late(&mut world);
    assert_eq!(reason(&world, job_condition::FAILED), None);
    // Twice shardTimeout 10 min, 2 min to start, 1 min of silence.
    world.pass_time(26 * 60 - 1);
    world.settle("almost given up");
    assert_eq!(reason(&world, job_condition::FAILED), None);
    assert_eq!(world.plan().requeue_after.as_secs(), 1);
    world.pass_time(1);
    world.settle("given up");
    assert_eq!(reason(&world, job_condition::FAILED).unwrap(), "True=DeadlineExceeded");
    let result = world.attempt(0, 0).unwrap();
    assert_eq!(
        (result.state, result.reason.as_deref()),
        (AttemptState::Cancelled, Some("NotChecked"))
    );
    assert_eq!(reserved(&status(&world)).0, 0, "nothing stays reserved");
}

#[test]
fn a_store_that_is_away_at_the_deadline_costs_nobody_a_result() {
    let mut world = one_result(1);
    world.observed.manifest = Knowledge::Unknown;
    late(&mut world);
    assert_eq!(
        reason(&world, job_condition::FAILED),
        None,
        "the result cannot be examined now"
    );
    world.store_answers();
    world.settle("back");
    assert_eq!(check_of(&world, 0), Some(AttemptState::Expected));
}

#[test]
fn a_shard_that_is_given_up_costs_the_others_no_result() {
    let mut world = one_result(1);
    world.observed.examined.insert((0, 0), valid());
    for _ in 0..2 {
        let running = world
            .attempts()
            .into_iter()
            .rev()
            .find(|(shard, _)| *shard == 1)
            .unwrap()
            .1;
        world.agent_says(1, running.number, AssignmentState::Failed);
        world.settle("failed");
        world.pass_time(5);
        world.settle("after the wait");
        world.schedule();
        world.settle("scheduled");
    }
    assert_eq!(
        reason(&world, job_condition::FAILURE_TARGET).unwrap(),
        "True=RetriesExhausted"
    );
    assert_eq!(reason(&world, job_condition::FAILED), None);
    assert_eq!(status(&world).shards[1].state, ShardState::Failed);
    world.agents_say(AssignmentState::Completed);
    world.settle("checked");
    world.store_answers();
    world.settle("compared");
    assert_eq!(status(&world).shards[0].state, ShardState::Accepted);
    assert_eq!(reason(&world, job_condition::FAILED).unwrap(), "True=RetriesExhausted");
}

#[test]
fn a_deleted_job_owes_what_can_be_judged() {
    let mut world = one_result(1);
    world.observed.examined.insert((0, 0), valid());
    world.settle("examined");
    world.schedule();
    world.settle("the check begins");
    world.agent_says(0, 1, AssignmentState::Completed);
    world.settle("two runs, not compared");
    world.delete_job();
    world.store_answers();
    world.settle("deleted");
    let accepted = |number| {
        world
            .attempt(0, number)
            .unwrap()
            .verdict
            .is_some_and(|verdict| verdict.accepted)
    };
    assert!(accepted(0) && accepted(1));
    world.agents_say(AssignmentState::Gone);
    world.settle("nothing runs");
    assert!(!world.is_gone(), "two attempts wait for their Settlement");
}
