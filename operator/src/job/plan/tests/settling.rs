//! What the status says of a payment can be checked by whoever has the posted root.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use spillway_core::batch::{Leaf, Sealed, jobs_proofs, seal};
use spillway_core::merkle;
use spillway_crds::AttemptStatus;
use spillway_crds::money::{hash, leaf_of};

use super::scenarios::{play, two_providers};
use super::world::World;
use crate::job::observed::SettlementFact;

/// Work and check are accepted; a batch pays both, between leaves of other jobs.
fn sealed(world: &World) -> Sealed {
    let job = &world.observed.job;
    let own: Vec<Leaf> = world
        .attempts()
        .iter()
        .map(|(shard, attempt)| leaf_of(job, *shard, attempt).unwrap())
        .collect();
    let foreign = (1..6).map(|byte| Leaf {
        job: B256::repeat_byte(byte * 40),
        ..own[0].clone()
    });
    let leaves = foreign.chain(own.iter().cloned()).collect();
    seal(1, Address::repeat_byte(0xcc), 1, B256::ZERO, leaves).unwrap()
}

fn fact(world: &World, sealed: &Sealed) -> SettlementFact {
    let own = spillway_core::order::job_id(world.observed.uid());
    let proofs = sealed
        .leaves
        .iter()
        .zip(jobs_proofs(&sealed.leaves).unwrap())
        .filter(|(leaf, _)| leaf.job == own);
    let pays: BTreeMap<_, _> = proofs
        .map(|(leaf, proof)| ((leaf.shard, leaf.attempt), proof))
        .collect();
    SettlementFact {
        sequence: 1,
        is_final: false,
        pays,
    }
}

fn proves(world: &World, root: B256, shard: u32, attempt: &AttemptStatus) -> bool {
    let leaf = leaf_of(&world.observed.job, shard, attempt).unwrap().hash();
    let proof: Vec<B256> = attempt
        .proof
        .iter()
        .flatten()
        .map(|step| hash("attempt.proof", step).unwrap())
        .collect();
    merkle::verify(root, leaf, &proof)
}

#[test]
fn the_proof_of_a_paid_attempt_verifies_against_the_root() {
    let mut world = two_providers();
    play(&mut world, 12);
    let sealed = sealed(&world);
    world.observed.settlements = vec![fact(&world, &sealed)];
    world.settle("sealed");
    let attempts = world.attempts();
    assert_eq!(attempts.len(), 2);
    for (shard, attempt) in &attempts {
        assert_eq!(attempt.settlement, Some(1));
        assert!(proves(&world, sealed.header.jobsRoot, *shard, attempt), "{attempt:?}");
        let dearer = AttemptStatus {
            amount_micro: attempt.amount_micro.map(|amount| amount + 1),
            ..attempt.clone()
        };
        assert!(
            !proves(&world, sealed.header.jobsRoot, *shard, &dearer),
            "another amount is another leaf"
        );
    }
}

#[test]
fn the_billed_time_is_fixed_with_the_amount() {
    let mut world = two_providers();
    play(&mut world, 12);
    for (_, attempt) in world.attempts() {
        assert_eq!(
            attempt.billed_millis,
            Some(60_000),
            "meter, wall time and bound allow all of it"
        );
        let price = spillway_core::money::UnitPrice(attempt.unit_price_micro.unwrap());
        assert_eq!(attempt.amount_micro, Some(price.cost(60_000).0));
    }
}

#[test]
fn a_job_says_that_its_payer_is_waited_for() {
    let mut world = two_providers();
    play(&mut world, 12);
    let name = world
        .observed
        .job
        .status
        .as_ref()
        .unwrap()
        .payer
        .as_ref()
        .unwrap()
        .spend_policy
        .clone();
    let policy = world
        .observed
        .policies
        .iter_mut()
        .find(|policy| policy.metadata.name.as_ref() == Some(&name))
        .unwrap();
    policy
        .status
        .get_or_insert_default()
        .conditions
        .push(spillway_crds::Condition {
            type_: "Payable".to_owned(),
            status: "False".to_owned(),
            reason: "DepositTooSmall".to_owned(),
            message: "deposit more".to_owned(),
            last_transition_time: spillway_crds::Time(jiff::Timestamp::UNIX_EPOCH),
            observed_generation: None,
        });
    world.settle("payer in trouble");
    let conditions = &world.observed.job.status.as_ref().unwrap().conditions;
    let settled = conditions.iter().find(|one| one.type_ == "Settled");
    if let Some(settled) = settled {
        assert_eq!(
            (settled.reason.as_str(), settled.message.as_str()),
            ("WaitsForPayer", format!("SpendPolicy {name}: deposit more").as_str())
        );
    } else {
        panic!("the job is over: {conditions:?}");
    }
}
