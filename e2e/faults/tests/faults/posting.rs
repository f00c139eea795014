//! The chain half of the poster without faults, and settings that do not fit.

use alloy::primitives::{Address, B256};
use spillway_crds::{SettlementState, SettlementStatus};
use spillway_e2e_faults::node::CHAIN_ID;
use spillway_e2e_faults::world::{WINDOW, World, reach};
use spillway_settlement::chain::{Chain, Place, Reach, StartError};
use spillway_settlement::claim::claim;
use spillway_settlement::claims::Claims;

const PROVIDER: Address = Address::repeat_byte(0xb0);
const DEPOSIT: u64 = 1_000_000_000;

pub(crate) async fn batches_are_posted_in_turn_and_paid_after_finality_and_maturity() {
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
    let place = Place {
        chain_id: CHAIN_ID,
        contract: world.deployed.contract,
    };
    let claims = Claims::by(&world.anvil.url, 0, place, anyone.address(), None).unwrap();
    let pay = || claim(&claims, &world.anvil.url, PROVIDER, anyone.clone());
    claims.chain.check().await.unwrap();
    let early = pay().await.unwrap();
    assert_eq!(
        (early.paid_micro, early.pending_micro, early.transaction),
        (0, earned, None)
    );
    world.anvil.pass_time(2 * WINDOW).await;
    assert_eq!(pay().await.unwrap().paid_micro, earned);
    assert_eq!(pay().await.unwrap().paid_micro, 0);
}

pub(crate) async fn the_same_batch_again_changes_nothing_on_chain() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let spec = world.spec(&sealed);
    let status = world.posted(&sealed).await;

    // A log that was lost: the contract says it is done, nothing is signed.
    let mut lost = SettlementStatus::default();
    world.settle(&spec, &mut lost).await;
    assert_eq!((lost.state, lost.attempts.len()), (SettlementState::Included, 0));
    assert_eq!(lost.transaction, status.transaction, "the event names the transaction");

    // A stranger who does send: the transaction succeeds and moves nothing.
    let stranger = world.anvil.account().await.address();
    let hash = world
        .submit_as(stranger, world.deployed.contract, world.post_input(&sealed))
        .await;
    let receipt = world.receipt(hash).await;
    assert!(receipt.status() && receipt.inner.logs().is_empty());
    assert_eq!(world.balances(PROVIDER).await.pending, 500);
}

pub(crate) async fn a_typed_revert_is_told_and_cured_by_the_next_day() {
    let world = World::new(DEPOSIT, 500).await;
    world.anvil.mine_at_noon().await;
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

pub(crate) async fn settings_that_do_not_fit_the_chain_are_refused() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let place = world.chain.place;
    let check = async |change: &dyn Fn(&mut Reach, &mut Place)| {
        let (mut reach, mut place) = (reach([&world.anvil.url]), place);
        change(&mut reach, &mut place);
        let chain = Chain::new(reach, place, world.key.address()).unwrap();
        chain.check().await.unwrap_err()
    };
    let error = check(&|_, place| place.chain_id = 1).await;
    assert!(
        matches!(
            error,
            StartError::ChainId {
                found: 31337,
                wanted: 1,
                ..
            }
        ),
        "{error}"
    );
    let error = check(&|_, place| place.contract = PROVIDER).await;
    assert!(matches!(error, StartError::NoCode { .. }), "{error}");
    let error = check(&|reach, _| reach.genesis = Some(B256::ZERO)).await;
    assert!(matches!(error, StartError::Genesis { .. }), "{error}");
    let error = check(&|reach, _| reach.code_hash = Some(B256::ZERO)).await;
    assert!(matches!(error, StartError::Code { .. }), "{error}");
    let error = check(&|_, place| place.contract = world.deployed.token).await;
    assert!(
        matches!(error, StartError::NoQuorum { answered: 0, .. }),
        "the token has no VERSION: {error}"
    );
    let error = check(&|reach, _| reach.urls.push("http://127.0.0.1:1".to_owned())).await;
    assert!(
        matches!(error, StartError::NoQuorum { answered: 1, asked: 2 }),
        "one of two is not most: {error}"
    );
}
