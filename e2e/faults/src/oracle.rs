//! What the chain must hold, whatever happened: the sealed batches, once each, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use spillway_core::batch::Sealed;
use spillway_settlement::contract::SpillwaySettlement;

use crate::world::World;

/// Holds the chain against the model, which is the sum of the batches.
pub async fn holds_exactly(world: &World, batches: &[&Sealed]) {
    let posted: Vec<(u64, B256)> = batches
        .iter()
        .map(|sealed| (sealed.header.sequence, sealed.header_hash))
        .collect();
    assert_eq!(events(world).await, posted, "one event per batch, in order");
    let expected = u64::try_from(batches.len()).unwrap() + 1;
    assert_eq!(world.next_sequence().await, expected);
    assert_each_shard_once(batches);
    assert_sums(world, batches).await;
}

async fn events(world: &World) -> Vec<(u64, B256)> {
    let filter = Filter::new()
        .address(world.deployed.contract)
        .event_signature(SpillwaySettlement::Posted::SIGNATURE_HASH)
        .from_block(0);
    let logs = world.anvil.provider.get_logs(&filter).await.unwrap();
    let sequence = |topic: &B256| U256::from_be_bytes(topic.0).to::<u64>();
    logs.iter()
        .map(|log| (sequence(&log.topics()[1]), log.topics()[2]))
        .collect()
}

fn assert_each_shard_once(batches: &[&Sealed]) {
    let mut paid = BTreeSet::new();
    for leaf in batches.iter().flat_map(|sealed| &sealed.leaves) {
        assert!(paid.insert((leaf.job, leaf.shard, leaf.kind)), "paid twice: {leaf:?}");
    }
}

async fn assert_sums(world: &World, batches: &[&Sealed]) {
    let (mut earned, mut spent) = (BTreeMap::<Address, u128>::new(), BTreeMap::<Address, u128>::new());
    for leaf in batches.iter().flat_map(|sealed| &sealed.leaves) {
        *earned.entry(leaf.provider).or_default() += leaf.amount;
        *spent.entry(leaf.payer).or_default() += leaf.amount;
    }
    for (provider, amount) in earned {
        let balances = world.balances(provider).await;
        let held = balances.pending + balances.claimable + balances.claimed;
        assert_eq!(held, amount, "{provider} earned");
    }
    for (payer, amount) in spent {
        let left = u128::from(world.deployed.deposit_micro) - amount;
        assert_eq!(world.balances(payer).await.deposit, left, "{payer} has left");
    }
}
