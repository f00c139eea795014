//! Whatever is observed in whatever order, the promises hold.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use spillway_core::knowledge::Knowledge;
use spillway_core::money::UnitPrice;
use spillway_crds::{
    AssignmentState, AttemptKind, AttemptState, AttemptStatus, PublishedResults, is_status_condition_true,
    job_condition,
};

use super::super::draft::{is_live, is_open};
use super::super::ledger::{reserved, spent};
use super::world::{JOB, World, forged_pod, offer, valid};
use crate::job::plan::questions;
use crate::verification::{Compared, Examined};

#[derive(Clone, Debug)]
enum Move {
    /// Scheduler, agents and store do their part at once, the operator after each.
    Everyone {
        state: AssignmentState,
        agree: bool,
    },
    /// Plan and apply, crashing after some writes.
    Pass {
        writes: usize,
    },
    Split {
        shards: u32,
    },
    Schedule,
    Bind {
        pod: usize,
        node: usize,
    },
    Agent {
        assignment: usize,
        state: AssignmentState,
    },
    Examine {
        valid: bool,
    },
    Compare {
        agree: bool,
    },
    StoreAway,
    Forge {
        shard: u32,
        number: u16,
    },
    LosePod {
        pod: usize,
    },
    Silence {
        provider: usize,
        silent: bool,
    },
    Price {
        provider: usize,
        micro: u64,
    },
    Wait {
        seconds: i64,
    },
    Publish,
    Delete,
}

fn moves() -> impl Strategy<Value = Move> {
    use AssignmentState::{Accepted, Completed, Failed, Gone, Pending, Refused, Running};
    let state = prop::sample::select(vec![
        Pending, Accepted, Running, Completed, Completed, Completed, Failed, Refused, Gone,
    ]);
    prop_oneof![
        10 => (prop::sample::select(vec![Running, Running, Completed, Completed, Completed, Completed, Failed]), prop::bool::weighted(0.7))
            .prop_map(|(state, agree)| Move::Everyone { state, agree }),
        20 => prop_oneof![4 => Just(usize::MAX), 1 => 0usize..8].prop_map(|writes| Move::Pass { writes }),
        6 => (1u32..4).prop_map(|shards| Move::Split { shards }),
        6 => Just(Move::Schedule),
        2 => (0usize..8, 0usize..4).prop_map(|(pod, node)| Move::Bind { pod, node }),
        8 => (0usize..8, state).prop_map(|(assignment, state)| Move::Agent { assignment, state }),
        6 => prop::bool::weighted(0.8).prop_map(|valid| Move::Examine { valid }),
        6 => prop::bool::weighted(0.7).prop_map(|agree| Move::Compare { agree }),
        1 => Just(Move::StoreAway),
        1 => (0u32..3, 0u16..4).prop_map(|(shard, number)| Move::Forge { shard, number }),
        1 => (0usize..8).prop_map(|pod| Move::LosePod { pod }),
        2 => (0usize..3, any::<bool>()).prop_map(|(provider, silent)| Move::Silence { provider, silent }),
        2 => (0usize..3, 100_000u64..2_000_000).prop_map(|(provider, micro)| Move::Price { provider, micro }),
        4 => (1i64..300).prop_map(|seconds| Move::Wait { seconds }),
        // Beyond the deadline, and beyond the wait for last verdicts.
        1 => Just(Move::Wait { seconds: 7_200 }),
        1 => Just(Move::Publish),
        1 => prop::bool::weighted(0.3).prop_map(|delete| if delete { Move::Delete } else { Move::StoreAway }),
    ]
}

fn everyone(world: &mut World, state: AssignmentState, agree: bool) {
    let pass = |world: &mut World| {
        let plan = world.plan();
        world.apply(&plan, usize::MAX);
    };
    pass(world);
    world.schedule();
    pass(world);
    for ((shard, attempt), assignment) in world.observed.assignments.clone() {
        let next = if assignment.deleting {
            AssignmentState::Gone
        } else {
            state
        };
        if progress(next) > progress(assignment.status.state) {
            world.agent_says(shard, attempt, next);
        }
    }
    pass(world);
    compare(world, agree);
    world.store_answers();
    pass(world);
}

fn compare(world: &mut World, agree: bool) {
    let mismatch = Compared::Mismatch {
        custom_id: "r".to_owned(),
        message: "differs".to_owned(),
    };
    let agreed = Compared::Accepted {
        method: "ExactDigest".to_owned(),
    };
    for key in questions(&world.observed.job).compare {
        world
            .observed
            .compared
            .entry(key)
            .or_insert(if agree { agreed.clone() } else { mismatch.clone() });
    }
}

#[allow(clippy::too_many_lines, reason = "one arm per move")]
fn make(world: &mut World, next: &Move) {
    match next {
        Move::Everyone { state, agree } => everyone(world, *state, *agree),
        Move::Pass { writes } => {
            let plan = world.plan();
            world.apply(&plan, *writes);
        }
        Move::Split { shards } => {
            if world.observed.manifest == Knowledge::Known(None) {
                world.splitter_writes(*shards);
            }
        }
        Move::Schedule => world.schedule(),
        Move::Bind { pod, node } => {
            let nodes: Vec<String> = world.observed.offers.iter().map(|offer| offer.node.clone()).collect();
            let node = nodes.get(*node).cloned().unwrap_or_else(|| "elsewhere".to_owned());
            if let Some(pod) = world
                .observed
                .pods
                .values_mut()
                .nth(*pod)
                .filter(|pod| pod.node.is_none())
            {
                pod.node = Some(node);
            }
        }
        Move::Agent { assignment, state } => {
            // An agent may lie about anything, but what it holds grows only forward.
            let assignments = world.observed.assignments.clone();
            let found = assignments.iter().nth(*assignment);
            if let Some(((shard, attempt), _)) =
                found.filter(|(_, found)| progress(*state) > progress(found.status.state))
            {
                world.agent_says(*shard, *attempt, *state);
            }
        }
        Move::Examine { valid: is_valid } => {
            let invalid = Examined::Invalid {
                reason: "InvalidReceipt".to_owned(),
                message: "bad".to_owned(),
            };
            for key in questions(&world.observed.job).examine {
                world
                    .observed
                    .examined
                    .entry(key)
                    .or_insert(if *is_valid { valid() } else { invalid.clone() });
            }
        }
        Move::Compare { agree } => compare(world, *agree),
        // Answers may always be forgotten: they are asked again.
        Move::StoreAway => {
            world.observed.compared.clear();
            world.observed.published = Knowledge::Unknown;
        }
        Move::Forge { shard, number } => {
            world
                .observed
                .pods
                .entry(format!("embed-{shard}-{number}"))
                .or_insert(forged_pod());
        }
        Move::LosePod { pod } => {
            let name = world.observed.pods.keys().nth(*pod).cloned();
            name.map(|name| world.observed.pods.remove(&name));
        }
        Move::Silence { provider, silent } => {
            let name = ["a", "b", "c"][*provider];
            world.observed.providers.get_mut(name).unwrap().silent = *silent;
            world.change_offers(|offers| offers[*provider].available = !silent);
        }
        Move::Price { provider, micro } => world.change_offers(|offers| offers[*provider].price = UnitPrice(*micro)),
        Move::Wait { seconds } => world.pass_time(*seconds),
        Move::Publish => world.publisher_writes(),
        Move::Delete => world.delete_job(),
    }
}

fn progress(state: AssignmentState) -> u8 {
    match state {
        AssignmentState::Pending => 0,
        AssignmentState::Accepted => 1,
        AssignmentState::Running => 2,
        AssignmentState::Completed | AssignmentState::Failed | AssignmentState::Refused => 3,
        AssignmentState::Gone => 4,
    }
}

type Accepted = BTreeMap<(u32, u16), (u64, bool)>;

/// What was promised once may never change: amounts of accepted attempts, and the end of a job.
#[derive(Default)]
struct Promises {
    accepted: Accepted,
    results: Option<PublishedResults>,
    complete: bool,
    failed: bool,
}

fn is_accepted(attempt: &AttemptStatus) -> bool {
    attempt.verdict.as_ref().is_some_and(|verdict| verdict.accepted)
}

fn check(world: &World, promises: &mut Promises) {
    let Some(status) = world.observed.job.status.as_ref() else {
        return;
    };
    for shard in &status.shards {
        for kind in [AttemptKind::Work, AttemptKind::Check, AttemptKind::Arbitrate] {
            let of_kind = || shard.attempts.iter().filter(move |attempt| attempt.kind == kind);
            assert!(
                of_kind().filter(|attempt| is_accepted(attempt)).count() <= 1,
                "S1: {kind:?} of shard {} accepted twice",
                shard.index
            );
            assert!(
                of_kind().filter(|attempt| is_live(attempt.state)).count() <= 1,
                "S3: two live {kind:?} of shard {}",
                shard.index
            );
        }
        let owners: Vec<_> = shard
            .attempts
            .iter()
            .filter(|attempt| is_accepted(attempt))
            .map(|attempt| &attempt.provider)
            .collect();
        assert!(
            owners
                .iter()
                .enumerate()
                .all(|(at, owner)| !owners[..at].contains(owner)),
            "one owner paid twice for a shard"
        );
        for attempt in &shard.attempts {
            assert_eq!(is_accepted(attempt), attempt.amount_micro.is_some(), "S2");
            assert!(
                !is_accepted(attempt) || (attempt.state == AttemptState::Completed && attempt.receipt.is_some()),
                "S2"
            );
            assert!(
                !is_accepted(attempt) || world.recorded.contains(&(shard.index, attempt.number, true)),
                "recorded first"
            );
        }
    }
    for offer in world.observed.offers.iter() {
        let held = world.gpus_held().get(&offer.node).copied().unwrap_or_default();
        assert!(
            held <= offer.gpus_total,
            "S4: {held} of {} GPUs on {}",
            offer.gpus_total,
            offer.node
        );
    }
    let committed = spent(status).saturating_add(reserved(status));
    assert!(committed <= "1.00".parse().unwrap(), "budget: {committed}");
    keep(promises, world);
}

fn keep(promises: &mut Promises, world: &World) {
    let status = world.observed.job.status.as_ref().unwrap();
    let accepted: Accepted = world
        .attempts()
        .into_iter()
        .filter(|(_, attempt)| is_accepted(attempt))
        .map(|(shard, attempt)| ((shard, attempt.number), (attempt.amount_micro.unwrap(), true)))
        .collect();
    assert!(
        promises
            .accepted
            .iter()
            .all(|(key, amount)| accepted.get(key) == Some(amount)),
        "an acceptance was changed"
    );
    let [complete, failed] =
        [job_condition::COMPLETE, job_condition::FAILED].map(|kind| is_status_condition_true(&status.conditions, kind));
    assert!(!promises.complete || complete, "S8: no longer complete");
    assert!(!promises.failed || failed, "S8: no longer failed");
    assert!(!(complete && failed));
    let fails = is_status_condition_true(&status.conditions, job_condition::FAILURE_TARGET);
    assert!(!failed || fails, "a job fails before it has failed");
    assert!(
        !failed || !world.attempts().iter().any(|(_, attempt)| is_open(attempt)),
        "failed with something open"
    );
    assert!(
        promises.results.is_none() || status.results == promises.results,
        "published results were changed"
    );
    *promises = Promises {
        accepted,
        results: status.results.clone(),
        complete,
        failed,
    };
}

/// How far the random stories came: promises about payments mean nothing when nothing is ever paid.
#[derive(Default)]
struct Reach {
    accepted: u32,
    arbitrated: u32,
    failed: u32,
    complete: u32,
    lost: u32,
    gone: u32,
}

impl Reach {
    fn note(&mut self, world: &World, promises: &Promises) {
        let attempts = world.attempts();
        let any = |holds: fn(&AttemptStatus) -> bool| u32::from(attempts.iter().any(|(_, attempt)| holds(attempt)));
        self.accepted += any(is_accepted);
        self.arbitrated += any(|attempt| is_accepted(attempt) && attempt.kind == AttemptKind::Arbitrate);
        self.lost += any(|attempt| attempt.state == AttemptState::Lost);
        self.failed += u32::from(promises.failed);
        self.complete += u32::from(promises.complete);
        self.gone += u32::from(world.is_gone());
    }
}

fn story(moves: &[Move], reach: &mut Reach) {
    let job = JOB
        .replace("'5.00'", "'1.00'")
        .replace("parallelism: 2", "parallelism: 3");
    let mut world = World::new(
        &job,
        vec![
            offer("a", 1, 900_000),
            offer("b", 2, 1_000_000),
            offer("c", 1, 1_100_000),
        ],
    );
    let mut promises = Promises::default();
    world.settle("applied");
    for next in moves {
        make(&mut world, next);
        check(&world, &mut promises);
        if world.is_gone() {
            break;
        }
    }
    // S7: left alone, it comes to rest.
    if !world.is_gone() {
        world.settle("left alone");
        check(&world, &mut promises);
    }
    reach.note(&world, &promises);
}

#[test]
fn promises_hold() {
    // PROPTEST_CASES asks for more.
    let usual = ProptestConfig::default();
    let config = ProptestConfig {
        cases: usual.cases.max(400),
        failure_persistence: None,
        ..usual
    };
    let reach = std::cell::RefCell::new(Reach::default());
    let outcome = TestRunner::new(config).run(&prop::collection::vec(moves(), 1..80), |moves| {
        story(&moves, &mut reach.borrow_mut());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let Reach {
        accepted,
        arbitrated,
        failed,
        complete,
        lost,
        gone,
    } = reach.into_inner();
    let reached = [accepted, arbitrated, failed, complete, lost, gone];
    assert!(
        reached.iter().all(|count| *count > 0),
        "accepted, arbitrated, failed, complete, lost, gone: {reached:?}"
    );
}
