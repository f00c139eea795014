//! Overflow: own capacity first, further classes by time or queue length, and back again.

use spillway_core::market::{Offer, ProviderClass};
use spillway_core::money::UnitPrice;
use spillway_crds::{AssignmentState, AttemptState, ProviderClass as Class, job_condition};

use super::world::{JOB, World, offer};

fn of_class(class: ProviderClass, provider: &str, gpus: u32, price: u64) -> Offer {
    Offer {
        class,
        ..offer(provider, gpus, price)
    }
}

/// One own GPU, one rented, two of strangers; three shards that may all run at once.
fn world(burst: &str) -> World {
    let job = JOB.replace("parallelism: 2", "parallelism: 3").replace(
        "  execution:",
        &format!("  placement: {{policy: Cost, burst: {burst}}}\n  execution:"),
    );
    let offers = vec![
        of_class(ProviderClass::Private, "own", 1, 1_000_000),
        of_class(ProviderClass::Cloud, "rented", 1, 1_100_000),
        of_class(ProviderClass::Decentralized, "stranger", 2, 500_000),
    ];
    let mut world = World::new(&job, offers);
    world.settle("applied");
    world.splitter_writes(3);
    world.settle("split");
    world
}

/// Classes of all attempts, by shard.
fn classes(world: &World) -> Vec<(u32, Option<Class>)> {
    world
        .attempts()
        .into_iter()
        .map(|(shard, attempt)| (shard, attempt.class))
        .collect()
}

fn placeable(world: &World) -> String {
    let conditions = &world.observed.job.status.as_ref().unwrap().conditions;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == job_condition::PLACEABLE);
    found
        .map(|condition| format!("{}: {}", condition.reason, condition.message))
        .unwrap()
}

#[test]
fn own_capacity_first_then_class_by_class() {
    let mut world = world("{after: 60s}");
    assert_eq!(classes(&world), [(0, Some(Class::Private))]);
    assert_eq!(
        placeable(&world),
        "Queued: 1 offers fit, all of their GPUs are busy; class Cloud opens at 2026-01-01T00:01:00Z"
    );
    world.pass_time(59);
    world.settle("a second too early");
    assert_eq!(classes(&world).len(), 1);
    world.pass_time(1);
    world.settle("rented GPUs are open");
    assert_eq!(classes(&world), [(0, Some(Class::Private)), (1, Some(Class::Cloud))]);
    assert!(
        placeable(&world).ends_with("class Decentralized opens at 2026-01-01T00:02:00Z"),
        "{}",
        placeable(&world)
    );
    world.pass_time(60);
    world.settle("strangers are open");
    assert_eq!(classes(&world)[2], (2, Some(Class::Decentralized)));
}

#[test]
fn work_comes_back_to_own_capacity() {
    let mut world = world("{after: 60s}");
    world.pass_time(60);
    world.settle("overflow");
    world.schedule();
    world.settle("scheduled");
    world.agents_say(AssignmentState::Running);
    world.agent_says(0, 0, AssignmentState::Failed);
    world.agent_says(1, 0, AssignmentState::Failed);
    world.settle("both failed, both GPUs are free");
    world.pass_time(2);
    world.settle("after the wait");
    // All classes it may use have room by now, and still the shard that waits takes the own GPU.
    let attempts = world.attempts();
    let newest = attempts
        .iter()
        .filter(|(_, attempt)| attempt.state == AttemptState::Expected);
    let newest: Vec<_> = newest.map(|(shard, attempt)| (*shard, attempt.class)).collect();
    assert_eq!(newest[..], [(2, Some(Class::Private))]);
}

#[test]
fn a_long_queue_opens_further_classes_at_once() {
    let world = world("{queueLength: 1}");
    // Three wait: one gets the own GPU, one the rented one; the last is no long queue.
    assert_eq!(classes(&world), [(0, Some(Class::Private)), (1, Some(Class::Cloud))]);
    let all = world_without_patience();
    assert_eq!(classes(&all)[2], (2, Some(Class::Decentralized)));
}

fn world_without_patience() -> World {
    world("{queueLength: 0}")
}

#[test]
fn beyond_own_capacity_the_bursts_cap_holds() {
    let mut world = world("{queueLength: 0, maxPerGpuHour: '1.05'}");
    // The rented GPU costs 1.10: over the burst's cap, though below the job's.
    assert_eq!(
        classes(&world),
        [
            (0, Some(Class::Private)),
            (1, Some(Class::Decentralized)),
            (2, Some(Class::Decentralized))
        ]
    );
    world.bind(1, 0, "spillway-stranger-host");
    world.change_offers(|offers| offers[2].price = UnitPrice(1_060_000));
    world.settle("the price rose above the burst's cap");
    assert_eq!(world.attempt(1, 0).unwrap().reason.as_deref(), Some("Price"));
}

#[test]
fn a_spilled_attempt_stays_in_its_class() {
    let mut world = world("{queueLength: 0}");
    assert_eq!(classes(&world)[1], (1, Some(Class::Cloud)));
    let status = world.observed.job.status.as_mut().unwrap();
    status.shards[1].attempts[0]
        .candidates
        .push("spillway-stranger-host".to_owned());
    world.bind(1, 0, "spillway-stranger-host");
    world.settle("bound to another class");
    assert_eq!(world.attempt(1, 0).unwrap().reason.as_deref(), Some("Class"));
}

#[test]
fn an_attempt_that_nobody_took_moves_on_once_another_class_is_open() {
    let mut world = world("{after: 90s}");
    // Somebody else's work holds the own GPU.
    world.change_offers(|offers| offers[0].gpus_free = 0);
    let first = |world: &World| world.plan().status.shards[0].attempts[0].clone();
    world.pass_time(61);
    assert_eq!(first(&world).state, AttemptState::Expected, "nothing else is open");
    world.pass_time(30);
    let ended = first(&world);
    assert_eq!(ended.state, AttemptState::Cancelled);
    assert_eq!(ended.reason.as_deref(), Some("CandidatesGone"));
}

#[test]
fn restricted_data_never_leaves_own_capacity() {
    let mut world = world("{queueLength: 0}");
    let job = &mut world.observed.job;
    job.spec.data.class = Some(spillway_crds::DataClass::Restricted);
    job.status = None;
    job.metadata.finalizers = None;
    world.observed.pods.clear();
    world.settle("applied");
    world.settle("split");
    world.pass_time(3_600);
    world.settle("an hour later");
    assert_eq!(classes(&world), [(0, Some(Class::Private))]);
}

#[test]
fn nobody_waits_for_a_class_without_any_offer() {
    let job = JOB.replace("  execution:", "  placement: {burst: {after: 1h}}\n  execution:");
    let mut world = World::new(&job, vec![offer("stranger", 2, 500_000)]);
    world.settle("applied");
    world.splitter_writes(1);
    world.settle("split");
    assert_eq!(classes(&world), [(0, Some(Class::Decentralized))]);
}
