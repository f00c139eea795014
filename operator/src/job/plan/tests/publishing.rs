//! What is published, and when: also a job that failed owes its tenant what was accepted.

use spillway_core::knowledge::Knowledge;
use spillway_core::shard::PublishedErrors;
use spillway_crds::{AttemptState, Condition, InferenceJobStatus, ShardState, Time, job_condition};

use super::scenarios::{split, turn};
use super::world::{JOB, World, offer, report};

pub(super) const TWO_HOURS: i64 = 7_200;

/// Two shards, one after the other, nothing checked; the first `turns` are accepted.
pub(super) fn after_turns(turns: usize) -> World {
    let job = JOB.replace("parallelism: 2", "parallelism: 1") + "  verification: {maxShare: '0'}\n";
    let mut world = split(World::new(&job, vec![offer("a", 1, 900_000)]), 2);
    for _ in 0..turns {
        turn(&mut world, "work");
    }
    world
}

pub(super) fn status(world: &World) -> InferenceJobStatus {
    world.observed.job.status.clone().unwrap()
}

pub(super) fn told(world: &World, type_: &str) -> Option<(String, String)> {
    let told = |condition: Condition| (format!("{}={}", condition.status, condition.reason), condition.message);
    let conditions = status(world).conditions;
    conditions
        .into_iter()
        .find(|condition| condition.type_ == type_)
        .map(told)
}

pub(super) fn reason(world: &World, type_: &str) -> Option<String> {
    told(world, type_).map(|(reason, _)| reason)
}

#[test]
fn a_job_that_ends_unfinished_publishes_what_was_accepted() {
    let mut world = after_turns(1);
    world.pass_time(TWO_HOURS);
    world.settle("late");
    let late = status(&world);
    assert_eq!(reason(&world, job_condition::FAILED).unwrap(), "True=DeadlineExceeded");
    assert_eq!(reason(&world, job_condition::PUBLISHED).unwrap(), "False=Publishing");
    assert_eq!(late.shards[0].state, ShardState::Accepted);
    assert_eq!(late.shards[1].attempts.last().unwrap().state, AttemptState::Cancelled);
    assert!(world.observed.publisher.pod.is_some() && late.results.is_none());

    let mut partial = report();
    partial.errors = Some(PublishedErrors {
        uri: "s3://out/reviews/errors.jsonl".to_owned(),
        lines: 25,
    });
    world.observed.published = Knowledge::Known(Some(Ok(partial)));
    world.settle("published");
    let (reason, message) = told(&world, job_condition::PUBLISHED).unwrap();
    assert_eq!(reason, "True=Published");
    assert_eq!(
        message,
        "50 results in s3://out/reviews/results.jsonl, 25 requests without one in s3://out/reviews/errors.jsonl"
    );
    let done = status(&world);
    assert_eq!(done.results.unwrap().errors.unwrap().lines, 25);
    assert_eq!(done.completion_time, late.completion_time, "it ended when it failed");
    assert!(world.observed.publisher.pod.is_none(), "the publisher is taken away");
}

#[test]
fn a_job_without_anything_accepted_publishes_nothing() {
    let mut world = after_turns(0);
    world.pass_time(TWO_HOURS);
    world.settle("late");
    assert_eq!(reason(&world, job_condition::FAILED).unwrap(), "True=DeadlineExceeded");
    assert!(world.observed.publisher.pod.is_none() && told(&world, job_condition::PUBLISHED).is_none());
}

#[test]
fn a_publisher_that_fails_is_made_anew_for_a_failed_job_too() {
    let mut world = after_turns(1);
    world.pass_time(TWO_HOURS);
    world.settle("late");
    let pod = world.observed.publisher.pod.as_mut().unwrap();
    pod.phase = "Failed".to_owned();
    pod.finished_at = Some(Time(world.now));
    world.settle("the output store is away");
    assert_eq!(reason(&world, job_condition::PUBLISHED).unwrap(), "False=PublishFailed");
    world.pass_time(31);
    world.settle("again");
    assert_eq!(world.observed.publisher.pod.as_ref().unwrap().phase, "Pending");

    world.pass_time(24 * 3600);
    let pod = world.observed.publisher.pod.as_mut().unwrap();
    pod.phase = "Failed".to_owned();
    pod.finished_at = Some(Time(world.now));
    world.settle("still away a day later");
    world.pass_time(5 * 3600);
    world.settle("tried more rarely");
    assert_eq!(world.observed.publisher.pod.as_ref().unwrap().phase, "Failed");
    world.pass_time(2 * 3600);
    world.settle("again");
    assert_eq!(world.observed.publisher.pod.as_ref().unwrap().phase, "Pending");
}

#[test]
fn a_deadline_while_all_results_are_being_written_loses_none() {
    let mut world = after_turns(2);
    assert_eq!(reason(&world, job_condition::COMPLETE).unwrap(), "False=Publishing");
    world.pass_time(TWO_HOURS);
    world.settle("late");
    world.publisher_writes();
    world.settle("published");
    assert_eq!(reason(&world, job_condition::FAILED).unwrap(), "True=DeadlineExceeded");
    assert_eq!(reason(&world, job_condition::PUBLISHED).unwrap(), "True=Published");
    assert!(status(&world).results.unwrap().errors.is_none());
}
