//! The record of an attempt's candidates: who fits, who is pinned, why the others are out.

use super::world::{JOB, World, offer};
use crate::job::plan::{Action, CandidatesRecord};

/// Three providers offer; one asks more than the cap.
fn market() -> World {
    let mut world = World::new(
        JOB,
        vec![
            offer("a", 1, 900_000),
            offer("b", 1, 1_000_000),
            offer("c", 1, 1_300_000),
        ],
    );
    world.settle("accepted");
    world.splitter_writes(1);
    world
}

fn planned(world: &World) -> Vec<CandidatesRecord> {
    let actions = world.plan().actions.into_iter();
    let records = actions.filter_map(|action| match action {
        Action::StoreCandidates(record) => Some(*record),
        _ => None,
    });
    records.collect()
}

/// Nodes that an attempt of a record is pinned to.
fn pinned(record: &CandidatesRecord, attempt: usize) -> Vec<String> {
    let places = record.attempts[attempt].pinned.iter();
    places.map(|place| record.candidates[*place].node.clone()).collect()
}

#[test]
fn a_planned_attempt_says_who_fits_and_who_does_not() {
    let world = market();
    let records = planned(&world);
    let [record] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!((record.name().as_str(), record.offers), ("0-0", 3));
    assert_eq!(record.excluded, [("Price".to_owned(), 1)].into());
    let nodes: Vec<&str> = record
        .candidates
        .iter()
        .map(|candidate| candidate.node.as_str())
        .collect();
    assert_eq!(nodes, ["spillway-a-host", "spillway-b-host"], "the cheaper one first");
    let cheapest = &record.candidates[0];
    assert_eq!(
        (
            cheapest.unit_price_micro,
            cheapest.latency_p95_micros,
            cheapest.reputation
        ),
        (900_000, None, None)
    );
    assert!(cheapest.score > record.candidates[1].score && cheapest.price_term > record.candidates[1].price_term);
    let attempt = &world.plan().status.shards[0].attempts[0];
    assert_eq!(pinned(record, 0), attempt.candidates);
    assert_eq!(attempt.candidates_record.as_deref(), Some("0-0"));
}

/// A crash before the status is written plans the attempt again, and writes the same object again; once the attempt
/// is in the status nothing is written any more.
#[test]
fn the_record_is_written_before_the_status_and_once() {
    let mut world = market();
    let plan = world.plan();
    let position = plan
        .actions
        .iter()
        .position(|action| matches!(action, Action::StoreCandidates(_)))
        .unwrap();
    assert!(plan.actions[position].precedes_status());
    let before = planned(&world);
    world.apply(&plan, 1);
    assert_eq!(world.stored, [(0, 0)].into());
    assert_eq!(planned(&world), before, "the status does not know of it yet");
    world.apply(&plan, usize::MAX);
    assert_eq!(planned(&world), []);
}

#[test]
fn a_full_node_is_a_candidate_and_not_pinned() {
    let mut world = market();
    world.splitter_writes(2);
    world.change_offers(|offers| drop(offers.remove(1)));
    let records = planned(&world);
    assert_eq!(records[0].attempts.len(), 1, "one GPU is free: {records:?}");
    let mut world = market();
    world.splitter_writes(2);
    let records = planned(&world);
    let [record] = records.as_slice() else {
        panic!("one record for attempts that were planned together: {records:?}")
    };
    assert_eq!(pinned(record, 0), ["spillway-a-host", "spillway-b-host"]);
    assert_eq!(
        pinned(record, 1),
        ["spillway-b-host"],
        "the first attempt takes the other"
    );
    assert_eq!(record.candidates.len(), 2);
    world.settle("both");
    assert_eq!(world.stored, [(0, 0), (1, 0)].into());
    assert_eq!(world.attempt(1, 0).unwrap().candidates_record.as_deref(), Some("0-0"));
}

#[test]
fn what_is_promised_to_other_jobs_is_not_pinned() {
    let mut world = market();
    let position = world.observed.offers.position("spillway-a-host").unwrap();
    world.observed.promised = vec![0; world.observed.offers.len()];
    world.observed.promised[position] = 1;
    let record = planned(&world).pop().unwrap();
    assert_eq!(pinned(&record, 0), ["spillway-b-host"]);
    world.observed.promised = vec![1; world.observed.offers.len()];
    assert_eq!(planned(&world), []);
    let plan = world.plan();
    let placeable = plan
        .status
        .conditions
        .iter()
        .find(|one| one.type_ == "Placeable")
        .unwrap();
    assert_eq!(placeable.reason, "Queued", "busy, not unfit");
}
