//! The poster against a real anvil, its chain half alone and, in `poster`, whole: what is on chain is the oracle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod node;
mod poster;
mod watched;
mod world;

use alloy::primitives::{Address, B256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use spillway_crds::{SettlementState, SettlementStatus};
use spillway_settlement::advance::Step;
use spillway_settlement::chain::{Chain, Confirm, Place, StartError};
use spillway_settlement::claim::claim;

use node::CHAIN_ID;
use world::{WINDOW, World};

const PROVIDER: Address = Address::repeat_byte(0xb0);
const DEPOSIT: u64 = 1_000_000_000;

#[tokio::test]
async fn batches_are_posted_in_turn_and_paid_after_finality_and_maturity() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 3, 29_477);
    let mut status = world.posted(&first).await;
    assert_eq!((status.attempts.len(), status.calldata.is_some()), (1, true));
    assert_eq!(status.transaction, Some(status.attempts[0].hash.clone()));
    assert!(status.gas_used.unwrap() > 21_000);

    world.anvil.mine(1).await;
    world
        .reach(&world.spec(&first), &mut status, SettlementState::Safe)
        .await;
    assert_eq!(status.state, SettlementState::Safe);
    world.anvil.mine(1).await;
    world
        .reach(&world.spec(&first), &mut status, SettlementState::Final)
        .await;
    assert_eq!(status.state, SettlementState::Final);
    assert!(status.finalized_at.is_some());

    let second = world.batch(2, first.header_hash, PROVIDER, 2, 11);
    world.posted(&second).await;
    assert_eq!(world.next_sequence().await, 3);
    let earned = 3 * 29_477 + 2 * 11;
    assert_eq!(
        world.balances(world.deployed.payer).await.deposit,
        u128::from(DEPOSIT) - earned
    );
    assert_eq!(world.balances(PROVIDER).await.pending, earned);

    let anyone = world.anvil.account().await;
    let pay = || {
        claim(
            &world.anvil.url,
            CHAIN_ID,
            world.deployed.contract,
            PROVIDER,
            anyone.clone(),
        )
    };
    let early = pay().await.unwrap();
    assert_eq!(
        (early.paid_micro, early.pending_micro, early.transaction),
        (0, earned, None)
    );
    world.anvil.pass_time(2 * WINDOW).await;
    assert_eq!(pay().await.unwrap().paid_micro, earned);
    assert_eq!(pay().await.unwrap().paid_micro, 0);
}

#[tokio::test]
async fn the_same_batch_again_changes_nothing_on_chain() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let spec = world.spec(&sealed);
    let status = world.posted(&sealed).await;

    // A log that was lost: the contract says it is done, nothing is signed.
    let mut lost = SettlementStatus::default();
    world.settle(&spec, &mut lost).await;
    assert_eq!((lost.state, lost.attempts.len()), (SettlementState::Included, 0));
    assert_eq!(lost.transaction, status.transaction, "the event names the transaction");

    // A second poster that does send: its transaction succeeds and moves nothing.
    let calldata: alloy::primitives::Bytes = status.calldata.clone().unwrap().parse().unwrap();
    let stranger = world.anvil.account().await.address();
    world
        .anvil
        .rpc("anvil_impersonateAccount", serde_json::json!([stranger]))
        .await;
    let repeat = TransactionRequest::default()
        .from(stranger)
        .to(world.deployed.contract)
        .input(calldata.into());
    let hash: B256 = world
        .anvil
        .provider
        .raw_request("eth_sendTransaction".into(), (repeat,))
        .await
        .unwrap();
    let receipt = world.receipt(hash).await;
    assert!(receipt.status() && receipt.inner.logs().is_empty());
    assert_eq!(world.balances(PROVIDER).await.pending, 500);
}

#[tokio::test]
async fn every_crash_ends_in_the_same_state() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let mut previous = B256::ZERO;
    // The process dies after `edge` steps; the step that was in progress happened on chain but not in the log.
    for edge in 0..4u64 {
        let sealed = world.batch(edge + 1, previous, PROVIDER, 1, 100);
        let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
        for _ in 0..edge {
            world.step(&spec, &mut status, 0).await;
        }
        let mut unlogged = status.clone();
        world.step(&spec, &mut unlogged, 0).await;
        drop(unlogged);

        world.reach(&spec, &mut status, SettlementState::Included).await;
        assert_eq!(status.state, SettlementState::Included, "edge {edge}: {status:?}");
        assert_eq!(world.next_sequence().await, edge + 2);
        previous = sealed.header_hash;
    }
    assert_eq!(world.balances(PROVIDER).await.pending, 400);
}

#[tokio::test]
async fn a_reorg_takes_the_batch_back_and_it_is_sent_again() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let snapshot = world.anvil.rpc("evm_snapshot", serde_json::json!([])).await;
    let mut status = world.posted(&sealed).await;
    let attempts = status.attempts.clone();

    world.anvil.rpc("evm_revert", serde_json::json!([snapshot])).await;
    assert_eq!(world.next_sequence().await, 1);
    assert!(world.step(&world.spec(&sealed), &mut status, 0).await);
    assert_eq!(
        (status.state, status.block_hash.clone()),
        (SettlementState::Broadcast, None)
    );

    // Sent again (no write), then found mined.
    world.step(&world.spec(&sealed), &mut status, 0).await;
    world
        .reach(&world.spec(&sealed), &mut status, SettlementState::Included)
        .await;
    assert_eq!(status.state, SettlementState::Included);
    assert_eq!(status.attempts, attempts, "the same bytes, no new signature");
    assert_eq!(world.balances(PROVIDER).await.pending, 500);
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_at_the_same_nonce() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let spec = world.spec(&sealed);
    world.anvil.rpc("evm_setAutomine", serde_json::json!([false])).await;
    let mut status = SettlementStatus::default();
    world.settle(&spec, &mut status).await;
    assert_eq!((status.state, status.attempts.len()), (SettlementState::Broadcast, 1));
    assert_eq!(
        world.decide(&spec, &status, 0).await.0,
        Step::Wait,
        "it lies in the pool"
    );

    assert!(world.step(&spec, &mut status, 60).await);
    world.settle(&spec, &mut status).await;
    assert_eq!((status.state, status.attempts.len()), (SettlementState::Broadcast, 2));
    assert_eq!(status.attempts[0].nonce, status.attempts[1].nonce);

    world.anvil.mine(1).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!(status.state, SettlementState::Included);
    assert_eq!(
        status.transaction,
        Some(status.attempts[1].hash.clone()),
        "the replacement was mined"
    );
    assert_eq!(world.balances(PROVIDER).await.pending, 500);
}

#[tokio::test]
async fn a_typed_revert_is_told_and_cured_by_the_next_day() {
    let world = World::new(DEPOSIT, 500).await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 400);
    world.posted(&first).await;
    let second = world.batch(2, first.header_hash, PROVIDER, 1, 400);
    let (spec, mut status) = (world.spec(&second), SettlementStatus::default());
    world.settle(&spec, &mut status).await;
    assert_eq!(
        (status.state, status.reason.as_deref()),
        (SettlementState::Sealed, Some("DailyCapExceeded"))
    );
    assert!(status.attempts.is_empty(), "no gas is burnt");

    world.anvil.pass_time(86_400).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!((status.state, status.reason), (SettlementState::Included, None));
}

#[tokio::test]
async fn settings_that_do_not_fit_the_chain_are_refused() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let Place { chain_id, contract } = world.chain.place;
    let poster = world.signer.address();
    let check = async |place, poster| {
        Chain::new(
            std::slice::from_ref(&world.anvil.url),
            place,
            poster,
            Confirm::Finalized,
        )
        .unwrap()
        .check()
        .await
        .unwrap_err()
    };
    let other = Place { chain_id: 1, contract };
    assert!(matches!(
        check(other, poster).await,
        StartError::ChainId {
            found: 31337,
            wanted: 1,
            ..
        }
    ));
    let nothing = Place {
        chain_id,
        contract: PROVIDER,
    };
    assert!(matches!(check(nothing, poster).await, StartError::NoCode { .. }));
    let token = Place {
        chain_id,
        contract: world.deployed.token,
    };
    assert!(
        matches!(check(token, poster).await, StartError::Ask { .. }),
        "the token has no VERSION"
    );
    assert!(matches!(check(world.chain.place, PROVIDER).await, StartError::Poster { found, .. } if found == poster));
}
