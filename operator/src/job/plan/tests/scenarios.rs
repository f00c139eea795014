//! The story of a job, told pass by pass; each is a golden file.

use std::collections::BTreeMap;

use spillway_core::knowledge::Knowledge;
use spillway_crds::{AssignmentState, AttemptState};

use super::world::{JOB, World, forged_pod, offer, runner_pod};
use crate::accrual::Proof;
use crate::job::observed::SettlementFact;
use crate::verification::{Compared, Examined};

pub(super) fn two_providers() -> World {
    World::new(JOB, vec![offer("a", 1, 900_000), offer("b", 1, 1_000_000)])
}

/// Accepted, split into `shards`, first attempts made.
pub(super) fn split(mut world: World, shards: u32) -> World {
    world.settle("applied");
    world.splitter_writes(shards);
    world.settle("split");
    world
}

/// Everyone does their part once.
pub(super) fn turn(world: &mut World, title: &str) {
    world.pass_time(5);
    world.schedule();
    world.settle(&format!("{title}: scheduled"));
    world.agents_say(AssignmentState::Running);
    world.settle(&format!("{title}: running"));
    world.agents_say(AssignmentState::Completed);
    world.settle(&format!("{title}: completed"));
    world.store_answers();
    world.settle(&format!("{title}: examined"));
    world.agents_say(AssignmentState::Gone);
    world.settle(&format!("{title}: cleaned"));
}

#[test]
fn happy_path() {
    let mut world = split(two_providers(), 1);
    turn(&mut world, "work");
    turn(&mut world, "check");
    world.store_answers();
    world.settle("compared");
    world.publisher_writes();
    world.settle("published");
    world.observed.settlements = vec![SettlementFact {
        sequence: 1,
        is_final: false,
        pays: paid([(0, 0), (0, 1)]),
    }];
    world.settle("sealed");
    world.observed.settlements[0].is_final = true;
    world.settle("final");
    world.delete_job();
    world.settle("deleted");
    assert!(world.is_gone());
    insta::assert_snapshot!(world.story);
}

/// A batch of one leaf needs no proof; two prove each other.
pub(super) fn paid(attempts: impl IntoIterator<Item = (u32, u16)>) -> BTreeMap<(u32, u16), Proof> {
    let sibling = alloy_primitives::B256::repeat_byte(0xab);
    attempts.into_iter().map(|attempt| (attempt, vec![sibling])).collect()
}

#[test]
fn no_offers() {
    let mut world = split(
        World::new(JOB, vec![offer("a", 1, 1_300_000), offer("b", 1, 1_400_000)]),
        1,
    );
    world.change_offers(|offers| offers[0].price = spillway_core::money::UnitPrice(1_100_000));
    world.settle("the price falls");
    insta::assert_snapshot!(world.story);
}

#[test]
fn over_budget() {
    let job = JOB
        .replace("'5.00'", "'0.40'")
        .replace("parallelism: 2", "parallelism: 8");
    let world = split(
        World::new(&job, vec![offer("a", 8, 900_000), offer("b", 8, 1_000_000)]),
        3,
    );
    insta::assert_snapshot!(world.story);
}

#[test]
fn budget_above_the_policy() {
    let mut world = World::new(&JOB.replace("'5.00'", "'50.00'"), vec![]);
    world.settle("applied");
    world.observed.policies.clear();
    world.settle("no policy");
    insta::assert_snapshot!(world.story);
}

#[test]
fn forged_pod_with_our_name() {
    let mut world = two_providers();
    world.settle("applied");
    world.observed.pods.insert("embed-0-0".to_owned(), forged_pod());
    world.splitter_writes(1);
    world.settle("split, the first name is taken");
    world.pass_time(2);
    world.settle("after the wait");
    assert_eq!(
        world.observed.pods["embed-0-0"],
        forged_pod(),
        "a stranger's pod is left alone"
    );
    assert!(world.observed.assignments.is_empty());
    insta::assert_snapshot!(world.story);
}

#[test]
fn the_node_no_longer_fits_at_dispatch() {
    let mut world = split(two_providers(), 1);
    world.bind(0, 0, "spillway-a-host");
    world.change_offers(|offers| offers[0].available = false);
    world.settle("bound to a node that went dark");
    world.pass_time(2);
    world.settle("after the wait");
    insta::assert_snapshot!(world.story);
}

#[test]
fn bound_to_a_node_that_was_never_asked_for() {
    let mut world = split(two_providers(), 1);
    world.change_offers(|offers| offers.push(offer("c", 1, 800_000)));
    world.bind(0, 0, "spillway-c-host");
    world.settle("bound elsewhere");
    assert!(world.observed.assignments.is_empty());
    assert_eq!(world.attempt(0, 0).unwrap().reason.as_deref(), Some("NotACandidate"));
}

#[test]
fn refused_then_failed_then_given_up() {
    let mut world = split(two_providers(), 1);
    world.schedule();
    world.settle("scheduled");
    world.agents_say(AssignmentState::Refused);
    world.settle("refused");
    world.pass_time(2);
    world.settle("after the wait");
    world.schedule();
    world.settle("scheduled again");
    world.agents_say(AssignmentState::Failed);
    world.settle("failed");
    world.agents_say(AssignmentState::Gone);
    world.settle("cleaned");
    assert_eq!(world.observed.job.status.as_ref().unwrap().phase, "Failed");
    insta::assert_snapshot!(world.story);
}

#[test]
fn lost_provider_is_replaced_at_once() {
    let mut world = split(two_providers(), 1);
    world.schedule();
    world.settle("scheduled");
    world.agents_say(AssignmentState::Running);
    world.settle("running");
    world.observed.providers.get_mut("a").unwrap().silent = true;
    world.change_offers(|offers| offers[0].available = false);
    world.settle("the provider fell silent");
    assert_eq!(world.attempt(0, 0).unwrap().state, AttemptState::Lost);
    world.pass_time(13 * 60 + 1);
    world.settle("long after");
    insta::assert_snapshot!(world.story);
}

#[test]
fn two_results_differ_and_a_third_decides() {
    let mut world = split(two_providers(), 1);
    turn(&mut world, "work");
    turn(&mut world, "check");
    let mismatch = Compared::Mismatch {
        custom_id: "r1".to_owned(),
        message: "differs".to_owned(),
    };
    // The check's own turn had the store answer that both agree: start over with another answer.
    let mut world = split(two_providers(), 1);
    turn(&mut world, "work");
    world.observed.compared.insert((0, 0, 1), mismatch.clone());
    turn(&mut world, "check");
    assert_eq!(world.observed.job.status.as_ref().unwrap().phase, "Verifying");
    world.change_offers(|offers| offers.push(offer("c", 1, 800_000)));
    let third = super::super::super::observed::ProviderFact {
        payout_address: "0xcc".to_owned(),
        offer_revision: 1,
        silent: false,
    };
    world.observed.providers.insert("c".to_owned(), third);
    world.settle("a third owner joins");
    world.observed.compared.insert((0, 0, 2), mismatch);
    turn(&mut world, "arbitrate");
    let verdict = |number| world.attempt(0, number).unwrap().verdict.unwrap().accepted;
    assert_eq!([verdict(0), verdict(1), verdict(2)], [false, true, true]);
    insta::assert_snapshot!(world.story);
}

#[test]
fn an_invalid_receipt_is_computed_anew() {
    let mut world = split(two_providers(), 1);
    let forged = Examined::Invalid {
        reason: "InvalidReceipt".to_owned(),
        message: "signature: another key".to_owned(),
    };
    world.observed.examined.insert((0, 0), forged);
    turn(&mut world, "work");
    let first = world.attempt(0, 0).unwrap();
    assert!(!first.verdict.unwrap().accepted);
    assert_eq!(first.amount_micro, None);
    let second = world.attempt(0, 1).unwrap();
    assert_eq!(second.candidates, ["spillway-b-host"], "others are tried first");
}

#[test]
fn the_same_owner_under_two_names_checks_nothing() {
    let mut world = split(two_providers(), 1);
    let payout = world.observed.providers["a"].payout_address.to_ascii_uppercase();
    world.observed.providers.get_mut("b").unwrap().payout_address = payout;
    turn(&mut world, "work");
    assert_eq!(world.attempts().len(), 1);
    let conditions = &world.observed.job.status.as_ref().unwrap().conditions;
    let placeable = conditions
        .iter()
        .find(|condition| condition.type_ == "Placeable")
        .unwrap();
    assert_eq!(
        (placeable.status.as_str(), placeable.reason.as_str()),
        ("False", "NoOfferFits")
    );
}

#[test]
fn a_store_that_is_away_decides_nothing() {
    let mut world = two_providers();
    world.settle("applied");
    world.observed.manifest = Knowledge::Unknown;
    world.settle("the store is away");
    assert!(world.attempts().is_empty());
    world.splitter_writes(1);
    world.settle("back");
    world.schedule();
    world.settle("scheduled");
    world.agents_say(AssignmentState::Completed);
    world.settle("completed, not examined");
    assert_eq!(world.attempts().len(), 1);
    assert_eq!(world.attempt(0, 0).unwrap().verdict, None);
}

#[test]
fn a_failed_splitter_says_why() {
    let mut world = two_providers();
    world.settle("applied");
    let mut pod = runner_pod("Failed");
    pod.message = Some("line 3 of the input is not an OpenAI batch request".to_owned());
    world.observed.splitter.pod = Some(pod);
    world.settle("the splitter failed");
    insta::assert_snapshot!(world.story);
}

#[test]
fn the_deadline_ends_a_job() {
    let mut world = split(two_providers(), 1);
    world.pass_time(2 * 3600);
    world.settle("two hours later");
    assert_eq!(world.observed.job.status.as_ref().unwrap().phase, "Failed");
    assert_eq!(world.attempt(0, 0).unwrap().state, AttemptState::Cancelled);
    assert!(world.observed.pods.is_empty());
}

#[test]
fn a_full_market_queues_without_pods() {
    let mut world = split(World::new(JOB, vec![offer("a", 1, 900_000)]), 2);
    assert_eq!(world.attempts().len(), 1, "one GPU, one pod");
    let conditions = &world.observed.job.status.as_ref().unwrap().conditions;
    let placeable = conditions
        .iter()
        .find(|condition| condition.type_ == "Placeable")
        .unwrap();
    assert_eq!(
        (placeable.status.as_str(), placeable.reason.as_str()),
        ("True", "Queued")
    );
    world.pass_time(120);
    world.settle("still unbound");
    assert_eq!(world.attempt(0, 0).unwrap().state, AttemptState::Expected);
}

/// Whatever point deletion hits, everything goes, and what was accepted is sealed before.
#[test]
fn deletion_at_every_stage_leaves_nothing() {
    for stage in 0..12 {
        let mut world = two_providers();
        play(&mut world, stage);
        world.delete_job();
        world.settle("deleted");
        world.agents_say(AssignmentState::Gone);
        world.settle("agents answered");
        let owed: Vec<(u32, u16)> = world
            .attempts()
            .into_iter()
            .filter(|(_, attempt)| attempt.amount_micro.is_some())
            .map(|(shard, attempt)| (shard, attempt.number))
            .collect();
        assert_eq!(world.is_gone(), owed.is_empty(), "stage {stage}\n{}", world.story);
        world.observed.settlements = vec![SettlementFact {
            sequence: 1,
            is_final: false,
            pays: paid(owed),
        }];
        world.settle("sealed");
        assert!(world.is_gone(), "stage {stage}\n{}", world.story);
        assert!(world.observed.pods.is_empty() && world.observed.assignments.is_empty());
        assert!(world.observed.splitter.pod.is_none() && world.observed.publisher.pod.is_none());
    }
}

/// A crash after any number of writes, at every stage, ends in the same state as the run without crashes.
#[test]
fn restart_at_every_stage_ends_the_same() {
    let mut clean = two_providers();
    play(&mut clean, 12);
    for stage in 0..12 {
        for steps in 0..6 {
            let mut world = two_providers();
            play(&mut world, stage);
            part(&mut world, stage);
            let plan = world.plan();
            world.apply(&plan, steps);
            world.settle("restarted");
            for next in stage + 1..12 {
                part(&mut world, next);
                world.settle("goes on");
            }
            assert_eq!(
                world.observed.job.status, clean.observed.job.status,
                "stage {stage}, {steps} writes"
            );
        }
    }
}

/// The first `stages` parts of the happy path.
pub(super) fn play(world: &mut World, stages: usize) {
    for stage in 0..stages {
        part(world, stage);
        world.settle("goes on");
    }
}

fn part(world: &mut World, stage: usize) {
    match stage {
        0 => {}
        1 => world.splitter_writes(1),
        2 | 7 => world.schedule(),
        3 | 8 => world.agents_say(AssignmentState::Running),
        4 | 9 => world.agents_say(AssignmentState::Completed),
        5 | 10 => world.store_answers(),
        6 => world.agents_say(AssignmentState::Gone),
        _ => world.publisher_writes(),
    }
}
