//! Rows 8, 19, 20, 25 and 27: the poster's key, its purse and its contract.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use serde_json::json;
use spillway_crds::{SettlementState, SettlementStatus, find_status_condition, is_status_condition_true};
use spillway_e2e_faults::ground::{DEPOSIT, PROVIDER};
use spillway_e2e_faults::node::CHAIN_ID;
use spillway_e2e_faults::oracle;
use spillway_e2e_faults::world::{World, reach};
use spillway_settlement::advance::Step;
use spillway_settlement::chain::Chain;
use spillway_settlement::contract::SpillwaySettlement;

fn is_true(status: &SettlementStatus, kind: &str) -> bool {
    is_status_condition_true(&status.conditions, kind)
}

pub(crate) async fn row_08_key_used_elsewhere() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&first), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    // Somebody with the key takes our nonce.
    world
        .anvil
        .rpc("anvil_dropTransaction", json!([status.attempts[0].hash]))
        .await;
    let foreign = world
        .submit_as(world.key.address(), world.owner.address(), Bytes::new())
        .await;
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    assert!(world.receipt(foreign).await.status());

    assert_eq!(world.decide(&spec, &status, 29).await, Step::Wait, "it may be a lag");
    assert!(world.step(&spec, &mut status, 30).await);
    assert!(is_true(&status, "ForeignTransaction"), "{status:?}");
    assert!(world.step(&spec, &mut status, 30).await);
    world.reach(&spec, &mut status, SettlementState::Included).await;
    let nonces: Vec<u64> = status.attempts.iter().map(|attempt| attempt.nonce).collect();
    assert_eq!(nonces, [0, 1]);
    assert!(is_true(&status, "ForeignTransaction"), "an alarm stays");

    // And between two batches.
    assert!(
        world
            .send_as(world.key.address(), world.owner.address(), Bytes::new())
            .await
    );
    let second = world.batch(2, first.header_hash, PROVIDER, 1, 100);
    let status = world.posted(&second).await;
    let alarm = find_status_condition(&status.conditions, "ForeignTransaction").unwrap();
    assert!(alarm.message.contains("nonces 2 to 2"), "{alarm:?}");
    oracle::holds_exactly(&world, &[&first, &second]).await;
}

pub(crate) async fn row_19_key_rotation() {
    let mut world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    let old = world.key.address();

    // The new key is mounted while the old one's transaction is out: its bytes are kept in the pool, nothing is signed.
    let new = PrivateKeySigner::random();
    world.anvil.set_balance(new.address(), 1_000_000_000_000_000_000).await;
    world.key = new.clone().into();
    world.chain = Chain::new(reach([&world.anvil.url]), world.chain.place, new.address()).unwrap();
    world
        .anvil
        .rpc("anvil_dropTransaction", json!([status.attempts[0].hash]))
        .await;
    assert!(!world.step(&spec, &mut status, 0).await);
    assert!(world.is_in_pool(&status.attempts[0].hash).await, "the old bytes again");
    assert!(world.step(&spec, &mut status, 60).await);
    assert_eq!(status.reason.as_deref(), Some("NotPoster"));
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!(status.attempts.len(), 1, "drained");

    // The next batch waits for the contract's owner.
    let next = world.batch(2, sealed.header_hash, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&next), SettlementStatus::default());
    world.settle(&spec, &mut status).await;
    assert_eq!(
        (status.reason.as_deref(), status.attempts.len()),
        (Some("NotPoster"), 0)
    );
    set_poster(&world, new.address()).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!(status.attempts[0].from, Some(new.address().to_string()));
    assert!(!is_true(&status, "ForeignTransaction"));

    // A late copy of the old key's transaction is a success without effect.
    let input = world.post_input(&next);
    assert!(world.send_as(old, world.deployed.contract, input).await);
    oracle::holds_exactly(&world, &[&sealed, &next]).await;
}

async fn set_poster(world: &World, poster: Address) {
    let input = SpillwaySettlement::setPosterCall { poster_: poster }
        .abi_encode()
        .into();
    assert!(
        world
            .send_as(world.owner.address(), world.deployed.contract, input)
            .await
    );
}

pub(crate) async fn row_20_empty_purse() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    let poster = world.key.address();
    world.anvil.set_balance(poster, 1_000).await;
    world.settle(&spec, &mut status).await;
    assert_eq!(
        (status.state, status.reason.as_deref(), status.attempts.len()),
        (SettlementState::Sealed, Some("InsufficientFunds"), 0),
        "no nonce is burnt"
    );
    assert!(is_true(&status, "FundsLow"));
    assert_eq!(world.settle(&spec, &mut status).await, 0, "told once");

    // Enough for this post, not for three at the ceiling: it goes on, and warns before it is too late.
    world.anvil.set_balance(poster, 10_000_000_000_000_000).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert!(is_true(&status, "FundsLow"));
    assert!(world.coins().await > U256::ZERO);
    world.anvil.set_balance(poster, 10_000_000_000_000_000_000).await;
    let next = world.batch(2, sealed.header_hash, PROVIDER, 1, 100);
    let status = world.posted(&next).await;
    assert!(!is_true(&status, "FundsLow"), "{status:?}");
    oracle::holds_exactly(&world, &[&sealed, &next]).await;
}

/// A pause holds batches and ends by itself; nothing is signed in it and nothing needs to be done after it.
pub(crate) async fn row_25_contract_paused() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    world.posted(&first).await;
    let pause = SpillwaySettlement::pauseCall { duration: 600 }.abi_encode().into();
    assert!(
        world
            .send_as(world.owner.address(), world.deployed.contract, pause)
            .await
    );
    let next = world.batch(2, first.header_hash, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&next), SettlementStatus::default());
    world.settle(&spec, &mut status).await;
    assert_eq!((status.reason.as_deref(), status.attempts.len()), (Some("Paused"), 0));
    // By the blocks' clock: between two requests the wall's may cross a second.
    let until = world.paused_until().await;
    world.anvil.mine_at(until - 1).await;
    world.settle(&spec, &mut status).await;
    assert_eq!(status.attempts.len(), 0, "not a second early");
    world.anvil.mine_at(until).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!(status.attempts.len(), 1);
    oracle::holds_exactly(&world, &[&first, &next]).await;
}

pub(crate) async fn row_25_contract_migrated() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    world.posted(&first).await;
    // A new contract begins at sequence 1 with its own domain; the old batch is none of its poster's business.
    let moved = World::on(spillway_e2e_faults::node::Anvil::start().await, DEPOSIT, 500).await;
    let spec = spillway_crds::SettlementSpec {
        contract: PROVIDER.to_string(),
        ..moved.spec(&moved.batch(1, B256::ZERO, PROVIDER, 1, 1))
    };
    let mut status = SettlementStatus::default();
    moved.settle(&spec, &mut status).await;
    assert_eq!(
        (status.reason.as_deref(), status.attempts.len()),
        (Some("OtherChain"), 0)
    );
    let same = spillway_core::batch::seal(CHAIN_ID, moved.deployed.contract, 1, B256::ZERO, first.leaves.clone());
    assert_ne!(
        same.unwrap().header_hash,
        first.header_hash,
        "another domain, another header"
    );
    let own = moved.batch(1, B256::ZERO, PROVIDER, 1, 100);
    moved.posted(&own).await;
    oracle::holds_exactly(&moved, &[&own]).await;
    oracle::holds_exactly(&world, &[&first]).await;
}

pub(crate) async fn row_27_delegated_key() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let poster = world.key.address();
    let delegation = format!("0xef0100{}", alloy::primitives::hex::encode(world.deployed.token));
    world.anvil.rpc("anvil_setCode", json!([poster, delegation])).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.settle(&spec, &mut status).await;
    assert_eq!(
        (status.reason.as_deref(), status.attempts.len()),
        (Some("DelegatedKey"), 0)
    );
    world.anvil.rpc("anvil_setCode", json!([poster, "0x"])).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    oracle::holds_exactly(&world, &[&sealed]).await;
}
