//! Rows 13 and 14: blocks that leave the chain, before and after inclusion, at each depth that is not final.

use alloy::primitives::B256;
use serde_json::json;
use spillway_core::batch::Sealed;
use spillway_crds::{SettlementState, SettlementStatus};
use spillway_e2e_faults::ground::{DEPOSIT, PROVIDER};
use spillway_e2e_faults::node::{Anvil, CHAIN_ID};
use spillway_e2e_faults::oracle;
use spillway_e2e_faults::world::World;

/// A block is safe after 64 and final after 128: no depth of these tests undoes what was final.
const SLOTS: u64 = 64;
const DEPTHS: u64 = 64;
/// Depths on one anvil: after some 900 blocks it loses the state that a reorganisation goes back to.
const DEPTHS_PER_CHAIN: u64 = 8;

async fn world() -> World {
    World::on(Anvil::start_with(CHAIN_ID, SLOTS).await, DEPOSIT, DEPOSIT).await
}

pub(crate) async fn row_13_reorg_before_finality_at_each_depth() {
    for first in (1..=DEPTHS).step_by(usize::try_from(DEPTHS_PER_CHAIN).unwrap()) {
        reorganise_at_depths(first..first + DEPTHS_PER_CHAIN).await;
    }
}

async fn reorganise_at_depths(depths: std::ops::Range<u64>) {
    let world = world().await;
    let mut batches: Vec<Sealed> = Vec::new();
    let mut previous = B256::ZERO;
    for (sequence, depth) in (1..).zip(depths) {
        let sealed = world.batch(sequence, previous, PROVIDER, 1, 100);
        let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
        world.reach(&spec, &mut status, SettlementState::Included).await;
        let (block, attempts) = (status.block_hash.clone().unwrap(), status.attempts.clone());
        world.anvil.mine(depth - 1).await;
        world.anvil.reorganise(depth).await;

        // The block is gone; where anvil put the transaction back at once, it is in another one.
        let is_elsewhere = |status: &SettlementStatus| status.block_hash.as_ref() != Some(&block);
        world
            .until(
                &format!("another block at depth {depth}"),
                &spec,
                &mut status,
                is_elsewhere,
            )
            .await;
        assert_eq!(status.finalized_at, None);
        world.reach(&spec, &mut status, SettlementState::Included).await;
        assert_eq!(
            status.attempts, attempts,
            "depth {depth}: the same bytes, no new signature"
        );
        previous = sealed.header_hash;
        batches.push(sealed);
    }
    oracle::holds_exactly(&world, &batches.iter().collect::<Vec<_>>()).await;
}

pub(crate) async fn row_13_reorg_before_inclusion() {
    let world = world().await;
    world.anvil.mine(DEPTHS).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    for depth in [1, 2, 32, 64] {
        world.anvil.reorganise(depth).await;
        world.settle(&spec, &mut status).await;
        assert_eq!(
            (status.state, status.attempts.len()),
            (SettlementState::Broadcast, 1),
            "depth {depth}"
        );
    }
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!(status.attempts.len(), 1);
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_14_reorg_after_confirmed() {
    let world = world().await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    let snapshot = world.anvil.rpc("evm_snapshot", json!([])).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    world.anvil.mine(SLOTS).await;
    world.reach(&spec, &mut status, SettlementState::Safe).await;
    assert_eq!(status.finalized_at, None, "safe is not final: no money moves");

    // Even the safe block goes: the phase goes backwards.
    world.anvil.rpc("evm_revert", json!([snapshot])).await;
    world.anvil.mine(2).await;
    world.anvil.rpc("anvil_dropAllTransactions", json!([])).await;
    assert!(world.step(&spec, &mut status, 0).await);
    assert_eq!(
        (status.state, status.reason.as_deref(), status.block_hash.as_ref()),
        (SettlementState::Broadcast, Some("Reorganised"), None)
    );
    world.reach(&spec, &mut status, SettlementState::Included).await;
    world.anvil.mine(2 * SLOTS).await;
    world.reach(&spec, &mut status, SettlementState::Final).await;
    assert!(status.finalized_at.is_some());
    assert_eq!(status.attempts.len(), 1);
    oracle::holds_exactly(&world, &[&sealed]).await;
}
