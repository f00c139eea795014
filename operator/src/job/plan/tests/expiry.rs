//! A job with `ttlSecondsAfterFinished` goes by itself, once nothing of it is open.

use spillway_crds::job_condition;

use super::publishing::{TWO_HOURS, after_turns, reason};
use super::scenarios::paid;
use super::world::World;
use crate::job::observed::SettlementFact;

/// Complete, and not paid yet.
fn complete(ttl: Option<u32>) -> World {
    let mut world = after_turns(2);
    world.observed.job.spec.ttl_seconds_after_finished = ttl;
    world.publisher_writes();
    world.settle("published");
    world
}

fn pay(world: &mut World) {
    world.observed.settlements = vec![SettlementFact {
        sequence: 1,
        is_final: true,
        pays: paid([(0, 0), (1, 0)]),
    }];
    world.settle("paid");
}

#[test]
fn a_settled_job_is_deleted_when_its_time_is_over_and_no_sooner() {
    let mut world = complete(Some(600));
    world.pass_time(10);
    pay(&mut world);
    assert_eq!(world.plan().requeue_after.as_secs(), 590);
    world.pass_time(589);
    world.settle("almost");
    assert!(!world.observed.is_deleting());
    world.pass_time(1);
    world.settle("over");
    assert!(world.is_gone());
}

#[test]
fn a_job_that_is_not_paid_stays_and_one_that_asks_for_nothing() {
    let mut unpaid = complete(Some(0));
    unpaid.pass_time(TWO_HOURS);
    unpaid.settle("long after");
    assert!(!unpaid.observed.is_deleting());
    pay(&mut unpaid);
    assert!(unpaid.is_gone());

    let mut kept = complete(None);
    pay(&mut kept);
    kept.pass_time(TWO_HOURS);
    kept.settle("long after");
    assert!(!kept.observed.is_deleting());
}

#[test]
fn a_failed_job_stays_until_what_it_has_is_published() {
    let mut world = after_turns(1);
    world.observed.job.spec.ttl_seconds_after_finished = Some(0);
    world.pass_time(TWO_HOURS);
    world.settle("late");
    pay(&mut world);
    assert_eq!(reason(&world, job_condition::SETTLED).unwrap(), "True=Settled");
    assert!(!world.observed.is_deleting(), "the publisher has not written yet");
    world.publisher_writes();
    world.settle("published");
    assert!(world.is_gone());
}
