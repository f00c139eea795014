//! Limits of job, SpendPolicy and namespace.

use spillway_core::money::MicroUsd;
use spillway_crds::{AssignmentState, DataClass, job_condition};

use super::world::{JOB, World, offer};
use crate::job::observed::SpentToday;
use crate::job::plan::{spent_on, utc_date};

/// Attempts of up to 0.15, two at a time; the policy allows 100 per day.
fn world() -> World {
    let mut world = World::new(JOB, vec![offer("a", 4, 900_000), offer("b", 4, 900_000)]);
    world.settle("applied");
    world.splitter_writes(2);
    world
}

fn others(world: &mut World, policy: u64, namespace: u64) {
    let spent = SpentToday {
        policy: MicroUsd(policy),
        namespace: MicroUsd(namespace),
    };
    world.observed.spent_today = [("team-a".to_owned(), spent)].into();
}

fn condition(world: &World, type_: &str) -> (String, String) {
    let conditions = &world.observed.job.status.as_ref().unwrap().conditions;
    let found = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.reason.clone(), found.message.clone())
}

#[test]
fn the_day_of_the_policy_ends_what_is_new_and_says_the_amounts() {
    let mut world = world();
    // 0.30 for the first attempt and its check fit below 100; the second pair does not.
    others(&mut world, 99_500_000, 0);
    world.settle("split");
    assert_eq!(world.attempts().len(), 1);
    let (reason, message) = condition(&world, job_condition::PLACEABLE);
    assert_eq!(reason, "DailyLimit");
    assert_eq!(
        message,
        "SpendPolicy team-a allows all of its jobs 100.00 per day: 99.80 is spent or reserved today, the next attempt needs 0.30; the next day begins at 00:00 UTC"
    );
    // What was begun is checked: room for that was set aside.
    world.schedule();
    world.settle("scheduled");
    world.agents_say(AssignmentState::Completed);
    world.settle("completed");
    world.store_answers();
    world.settle("examined");
    let kinds: Vec<_> = world.attempts().into_iter().map(|(_, attempt)| attempt.kind).collect();
    assert_eq!(
        kinds,
        [spillway_crds::AttemptKind::Work, spillway_crds::AttemptKind::Check]
    );
}

#[test]
fn a_namespace_has_a_day_of_its_own() {
    let mut world = world();
    world.observed.policies[0].spec.limits.per_namespace_per_day = Some("1.00".to_owned());
    others(&mut world, 50_000_000, 900_000);
    world.settle("split");
    assert!(world.attempts().is_empty());
    let (reason, message) = condition(&world, job_condition::PLACEABLE);
    assert_eq!(reason, "NamespaceDailyLimit");
    assert!(
        message.contains("allows namespace team-a 1.00 per day: 0.90 is spent"),
        "{message}"
    );
    // Other namespaces spend nothing of it.
    others(&mut world, 50_000_000, 0);
    world.settle("another namespace spent it");
    assert_eq!(world.attempts().len(), 2);
}

#[test]
fn checks_that_were_not_begun_are_set_aside() {
    let mut world = world();
    world.settle("split");
    let status = world.observed.job.status.as_ref().unwrap();
    // Two Work attempts of 0.15 and room for as many checks.
    assert_eq!(spent_on(status, utc_date(world.now)), MicroUsd(600_000));
    assert_eq!(status.cost.reserved_micro, 300_000);
}

#[test]
fn the_hubs_data_class_is_recorded_and_never_loosened() {
    let mut world = World::new(JOB, vec![offer("a", 1, 900_000)]);
    world.observed.default_data_class = DataClass::Internal;
    world.settle("applied");
    let status = world.observed.job.status.clone().unwrap();
    assert_eq!(status.data_class, Some(DataClass::Internal));
    world.splitter_writes(1);
    // A default that changes later changes nothing for this job.
    world.observed.default_data_class = DataClass::Public;
    world.settle("split");
    assert!(world.attempts().is_empty(), "a stranger may not hold Internal data");
    assert_eq!(condition(&world, job_condition::PLACEABLE).0, "NoOfferFits");

    let mut loose = World::new(
        &JOB.replace("  execution:", "  data: {class: Public}\n  execution:"),
        vec![],
    );
    loose.observed.default_data_class = DataClass::Restricted;
    loose.settle("applied");
    let (reason, message) = condition(&loose, job_condition::ACCEPTED);
    assert_eq!(reason, "InvalidSpec");
    assert!(
        message.starts_with("spec.data.class: Public is looser than Restricted"),
        "{message}"
    );
    assert_eq!(loose.observed.job.status.as_ref().unwrap().data_class, None);
}

#[test]
fn a_raised_budget_lets_the_job_go_on() {
    let mut world = world();
    world.observed.job.spec.price.budget = "0.30".to_owned();
    world.settle("split");
    assert_eq!(world.attempts().len(), 1);
    let (reason, message) = condition(&world, job_condition::PLACEABLE);
    assert_eq!(reason, "BudgetExhausted");
    assert!(
        message.starts_with("spec.price.budget is 0.30:") && message.ends_with("raise it to 0.60 or more"),
        "{message}"
    );
    world.observed.job.spec.price.budget = "0.60".to_owned();
    world.settle("raised");
    assert_eq!(world.attempts().len(), 2);
}

#[test]
fn the_policys_limit_per_job_holds_after_acceptance_too() {
    let mut world = world();
    world.observed.policies[0].spec.limits.per_job = "0.30".to_owned();
    world.settle("lowered, or the budget was raised");
    assert_eq!(world.attempts().len(), 1, "what the limit covers");
    let (reason, message) = condition(&world, job_condition::PLACEABLE);
    assert_eq!(reason, "JobLimit");
    assert_eq!(
        message,
        "SpendPolicy team-a allows a job 0.30: 0.00 is spent, 0.30 is reserved for attempts and their checks, the next attempt needs 0.30"
    );
    world.schedule();
    world.settle("what was begun goes on");
    assert_eq!(world.attempts()[0].1.state, spillway_crds::AttemptState::Assigned);
}
