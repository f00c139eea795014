//! Rows 6, 7 and 9 to 12: what can happen to a transaction between signature and block.

use alloy::primitives::{Address, B256, Bytes};
use alloy::sol_types::SolCall;
use serde_json::json;
use spillway_crds::{SettlementState, SettlementStatus, TransactionAttempt};
use spillway_e2e_faults::ground::{DEPOSIT, PROVIDER};
use spillway_e2e_faults::oracle;
use spillway_e2e_faults::proxy::{Fate, Proxy};
use spillway_e2e_faults::world::World;
use spillway_settlement::advance::Step;
use spillway_settlement::contract::SpillwaySettlement;

fn reason(status: &SettlementStatus) -> Option<&str> {
    status.reason.as_deref()
}

fn fee(attempt: &TransactionAttempt) -> (u128, u128) {
    let wei = |text: &String| text.parse().unwrap();
    (wei(&attempt.max_fee_per_gas), wei(&attempt.max_priority_fee_per_gas))
}

pub(crate) async fn row_06_mined_and_reverted() {
    let world = World::new(DEPOSIT, 500).await;
    let proxy = Proxy::before(&world.anvil).await;
    let world = world.through([&proxy.url]).await;
    // Out of gas: the endpoint's estimate is too low until the first transaction is sent.
    let mut is_sent = false;
    proxy.rule(move |call| {
        is_sent |= call.is("eth_sendRawTransaction");
        match call.is("eth_estimateGas") && !is_sent {
            true => Fate::Answer(json!("0xafc8")),
            false => Fate::Pass,
        }
    });
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 400);
    let (spec, mut status) = (world.spec(&first), SettlementStatus::default());
    world.reach(&spec, &mut status, SettlementState::Included).await;
    let [ran_out, enough] = &status.attempts[..] else {
        panic!("one new attempt: {status:?}")
    };
    assert_eq!((ran_out.nonce, enough.nonce), (0, 1), "a new nonce");
    assert!(enough.gas_limit >= 2 * ran_out.gas_limit, "{status:?}");

    // A logic revert: while the transaction waits, the payer spends the day's cap; it stops and says why.
    let second = world.batch(2, first.header_hash, PROVIDER, 1, 50);
    let (spec, mut status) = (world.spec(&second), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    assert_eq!(status.state, SettlementState::Broadcast);
    revoke_while_it_waits(&world).await;
    let stops = |status: &SettlementStatus| reason(status) == Some("OrderKeyMissing");
    world.until("a stop", &spec, &mut status, stops).await;
    assert_eq!(status.state, SettlementState::Sealed, "nothing is in flight");
    assert_eq!(world.transactions().await, 3);
    let sent = proxy.transactions().len();
    for waited in [0, 60, 600] {
        assert_eq!(world.decide(&spec, &status, waited).await, Step::Wait, "never a loop");
    }
    assert_eq!(proxy.transactions().len(), sent);
    assert!(
        status.message.unwrap().contains(&world.deployed.payer.to_string()),
        "the payer is named"
    );
    oracle::holds_exactly(&world, &[&first]).await;
}

/// Both are mined in one block, the payer's transaction first.
async fn revoke_while_it_waits(world: &World) {
    let revoke = SpillwaySettlement::authorizeOrderKeyCall {
        key: Address::ZERO,
        capPerDay: alloy::primitives::aliases::U96::ZERO,
        expiry: 0,
    };
    let payer = world.deployed.payer;
    world.anvil.rpc("anvil_impersonateAccount", json!([payer])).await;
    let request = json!([{
        "from": payer, "to": world.deployed.contract, "data": Bytes::from(revoke.abi_encode()),
        "gas": "0x30d40", "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x174876e800",
    }]);
    world.anvil.rpc("eth_sendTransaction", request).await;
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
}

pub(crate) async fn row_07_nonce_gap() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let snapshot = world.anvil.rpc("evm_snapshot", json!([])).await;
    assert!(
        world
            .send_as(world.key.address(), world.owner.address(), Bytes::new())
            .await
    );
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    // Signed at nonce 1; then the transaction at nonce 0 is dropped.
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    assert_eq!(status.attempts[0].nonce, 1);
    world.anvil.rpc("evm_revert", json!([snapshot])).await;
    world.anvil.rpc("anvil_dropAllTransactions", json!([])).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    let nonces: Vec<u64> = status.attempts.iter().map(|attempt| attempt.nonce).collect();
    assert_eq!(nonces, [1, 0], "the lowest unmined nonce first");
    // The copy at nonce 1 arrives late and finds the header posted.
    world.anvil.mine(1).await;
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_07_a_post_that_would_revert_is_cancelled() {
    let world = World::new(DEPOSIT, 500).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 400);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    // The post stays in the pool and the payer's revocation is mined without it.
    let post = status.attempts[0].hash.clone();
    world.anvil.rpc("anvil_dropTransaction", json!([post])).await;
    revoke_while_it_waits(&world).await;
    world.anvil.mine_by_itself(false).await;
    let raw = raw(&world, &spec, &status.attempts[0]);
    world.anvil.rpc("eth_sendRawTransaction", json!([raw])).await;

    assert!(world.step(&spec, &mut status, 60).await, "told first");
    assert_eq!(reason(&status), Some("OrderKeyMissing"));
    assert!(world.step(&spec, &mut status, 60).await, "then cancelled");
    world.settle(&spec, &mut status).await;
    let cancel = status.attempts.last().unwrap().clone();
    assert!(
        cancel.cancels && cancel.nonce == 0 && cancel.gas_limit == 21_000,
        "{cancel:?}"
    );
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    let rests = |status: &SettlementStatus| status.state == SettlementState::Sealed;
    world.until("rest", &spec, &mut status, rests).await;
    assert_eq!(world.receipt(cancel.hash.parse().unwrap()).await.gas_used, 21_000);

    let authorize = SpillwaySettlement::authorizeOrderKeyCall {
        key: world.deployed.order_key,
        capPerDay: alloy::primitives::aliases::U96::from(500),
        expiry: 4_000_000_000,
    };
    let input = authorize.abi_encode().into();
    assert!(
        world
            .send_as(world.deployed.payer, world.deployed.contract, input)
            .await
    );
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!((status.attempts.len(), reason(&status)), (3, None), "cured");
    oracle::holds_exactly(&world, &[&sealed]).await;
}

fn raw(world: &World, spec: &spillway_crds::SettlementSpec, attempt: &TransactionAttempt) -> Bytes {
    let to = spillway_settlement::transaction::Destination {
        chain_id: spec.chain_id,
        contract: world.deployed.contract,
        calldata: spillway_settlement::contract::post_calldata(
            &spec.header().unwrap(),
            spec.ledger().unwrap().0,
            spec.ledger().unwrap().1,
        ),
    };
    spillway_settlement::transaction::raw(attempt, &to).unwrap()
}

pub(crate) async fn row_09_stuck_and_fee_spike() {
    let mut world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    assert_eq!((status.state, status.attempts.len()), (SettlementState::Broadcast, 1));
    assert_eq!(world.decide(&spec, &status, 0).await, Step::Wait, "it lies in the pool");
    for bumps in 1..=4 {
        assert!(world.step(&spec, &mut status, 60).await);
        world.settle(&spec, &mut status).await;
        assert_eq!(
            (status.state, status.attempts.len()),
            (SettlementState::Broadcast, bumps + 1)
        );
        let [.., last, next] = &status.attempts[..] else {
            panic!()
        };
        assert_eq!(last.nonce, next.nonce);
        let (last, next) = (fee(last), fee(next));
        assert!(
            next.0 * 8 >= last.0 * 9 && next.1 * 8 >= last.1 * 9,
            "{last:?} {next:?}"
        );
        assert!(
            world.is_in_pool(&status.attempts[bumps].hash).await,
            "anvil took it for the last one"
        );
    }

    // The ceiling of an attempt: told, and the last bytes stay in the pool.
    world.policy.fee_ceiling = fee(&status.attempts[4]).0;
    assert!(world.step(&spec, &mut status, 60).await);
    assert_eq!((reason(&status), status.attempts.len()), (Some("FeeCeiling"), 5));
    world
        .anvil
        .rpc("anvil_dropTransaction", json!([status.attempts[4].hash]))
        .await;
    assert!(!world.step(&spec, &mut status, 60).await);
    assert!(world.is_in_pool(&status.attempts[4].hash).await, "sent again");

    // The ceiling of the day.
    world.policy.fee_ceiling = u128::MAX / 2;
    world.policy.fee_per_day = 1;
    assert!(world.step(&spec, &mut status, 60).await);
    assert_eq!((reason(&status), status.attempts.len()), (Some("DailyFees"), 5));

    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!(status.transaction, Some(status.attempts[4].hash.clone()));
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_10_replacement_underpriced() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    // The market falls: the replacement rises from the stored fees, and anvil takes it.
    world.anvil.rpc("anvil_setNextBlockBaseFeePerGas", json!(["0x1"])).await;
    assert!(world.step(&spec, &mut status, 60).await);
    world.settle(&spec, &mut status).await;
    let (first, second) = (fee(&status.attempts[0]), fee(&status.attempts[1]));
    assert_eq!(second.0, first.0 + first.0.div_ceil(8));
    assert!(world.is_in_pool(&status.attempts[1].hash).await);

    // The log is lost; the pool refuses the cheap first one at this nonce, and fees rise at once until it does not.
    let mut lost = SettlementStatus::default();
    world.logs.lock().unwrap().clear();
    let is_out = |status: &SettlementStatus| status.state == SettlementState::Broadcast;
    world.until("taken", &spec, &mut lost, is_out).await;
    assert!(lost.attempts.len() > 1, "{lost:?}");
    assert!(lost.attempts.iter().all(|attempt| attempt.nonce == 0));
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut lost, SettlementState::Included).await;
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_11_blob_and_normal_transactions_conflict() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let proxy = Proxy::before(&world.anvil).await;
    let world = world.through([&proxy.url]).await;
    proxy.rule(|call| match call.is("eth_sendRawTransaction") {
        true => Fate::Refuse("address already reserved"),
        false => Fate::Pass,
    });
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    let is_told = |status: &SettlementStatus| reason(status) == Some("AddressReserved");
    world.until("told", &spec, &mut status, is_told).await;
    assert_eq!(status.attempts.len(), 1, "no fee is raised against a wall");
    proxy.pass();
    world.reach(&spec, &mut status, SettlementState::Included).await;
    let sent = proxy.transactions();
    assert!(
        sent.iter().all(|raw| raw[0] == 2),
        "the key sends EIP-1559 transactions and nothing else"
    );
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_12_mempool_eviction() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 500);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    for _ in 0..3 {
        let hash = &status.attempts[0].hash;
        world.anvil.rpc("anvil_dropTransaction", json!([hash])).await;
        assert!(!world.is_in_pool(hash).await);
        assert!(
            !world.step(&spec, &mut status, 1).await,
            "the same bytes need no record"
        );
        assert!(world.is_in_pool(&status.attempts[0].hash).await);
    }
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert_eq!(status.attempts.len(), 1);
    oracle::holds_exactly(&world, &[&sealed]).await;
}
