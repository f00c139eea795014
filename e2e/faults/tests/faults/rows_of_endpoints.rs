//! Rows 15, 16, 18, 21 to 23 and 26: endpoints that lag, lie, limit, change or fail, and clocks that do.

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use alloy::sol_types::SolCall;
use serde_json::json;
use spillway_core::knowledge::Knowledge;
use spillway_crds::{SettlementState, SettlementStatus};
use spillway_e2e_faults::ground::{DEPOSIT, PROVIDER};
use spillway_e2e_faults::node::Anvil;
use spillway_e2e_faults::oracle;
use spillway_e2e_faults::proxy::{Fate, Proxy};
use spillway_e2e_faults::world::{World, reach};
use spillway_settlement::advance::Step;
use spillway_settlement::chain::{Chain, Reach};
use spillway_settlement::contract::SpillwaySettlement;

async fn three_ways() -> (World, [Proxy; 3]) {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let proxies = [
        Proxy::before(&world.anvil).await,
        Proxy::before(&world.anvil).await,
        Proxy::before(&world.anvil).await,
    ];
    let world = world.through(proxies.iter().map(|proxy| &proxy.url)).await;
    (world, proxies)
}

pub(crate) async fn row_15_lagging_and_flapping_head() {
    let (world, proxies) = three_ways().await;
    // One of three stays behind: the other two decide, and its old nonce is never used.
    proxies[0].freeze(&world.anvil).await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let status = world.posted(&first).await;
    assert_eq!(status.attempts.len(), 1);
    let second = world.batch(2, first.header_hash, PROVIDER, 1, 100);
    let status = world.posted(&second).await;
    assert_eq!((status.attempts.len(), status.attempts[0].nonce), (1, 1), "{status:?}");

    // Two of three are silent: nothing is known, nothing is signed.
    let third = world.batch(3, second.header_hash, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&third), SettlementStatus::default());
    proxies[0].rule(|_| Fate::Drop);
    proxies[1].rule(|_| Fate::Drop);
    assert_eq!(world.settle(&spec, &mut status).await, 0, "{status:?}");
    for proxy in &proxies {
        proxy.pass();
    }
    world.reach(&spec, &mut status, SettlementState::Included).await;
    one_way_that_flaps(&world, &proxies[0]).await;
    oracle::holds_exactly(&world, &[&first, &second, &third]).await;
}

/// One address, behind it nodes of which one lags: a head that goes back is not believed before `lag` is over.
async fn one_way_that_flaps(world: &World, proxy: &Proxy) {
    let reach = Reach {
        lag: Duration::from_secs(600),
        ..reach([&proxy.url])
    };
    let chain = Chain::new(reach, world.chain.place, world.key.address()).unwrap();
    let sealed = world.batch(4, B256::repeat_byte(1), PROVIDER, 1, 100);
    let (spec, status) = (world.spec(&sealed), SettlementStatus::default());
    proxy.freeze(&world.anvil).await;
    assert!(chain.view(&spec, &status).await.head.known().is_some());
    world.anvil.mine(2).await;
    proxy.pass();
    let young = chain.view(&spec, &status).await.head.known().unwrap();
    assert_eq!(young.number, world.anvil.height().await);
    world.anvil.mine(1).await;
    let at = |number: u64| json!([format!("0x{number:x}"), false]);
    let old = world.anvil.rpc("eth_getBlockByNumber", at(young.number - 1)).await;
    proxy.rule(move |call| match call.is_block("latest") {
        true => Fate::Answer(old.clone()),
        false => Fate::Pass,
    });
    assert_eq!(
        chain.view(&spec, &status).await.head,
        Knowledge::Unknown,
        "it went back"
    );
    proxy.pass();
    assert!(chain.view(&spec, &status).await.head.known().is_some());
}

pub(crate) async fn row_16_lying_endpoint() {
    let (world, proxies) = three_ways().await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    // It says that the batch is posted and final; nobody else does.
    let lie = json!(sealed.header_hash.to_string());
    proxies[0].rule(
        move |call| match call.is_call_of(SpillwaySettlement::headerHashAtCall::SELECTOR) {
            true => Fate::Answer(lie.clone()),
            false => Fate::Pass,
        },
    );
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    assert_eq!(status.state, SettlementState::Broadcast, "{status:?}");
    assert_eq!(world.next_sequence().await, 1);
    let registry = prometheus::Registry::new();
    world.chain.register(&registry).unwrap();
    let told = registry.gather().iter().any(|family| {
        family.name() == "spillway_settlement_rpc_disagreements_total"
            && family
                .get_metric()
                .iter()
                .any(|one| one.get_counter().get_value() > 0.0)
    });
    assert!(told, "a lie is counted");

    // It hides what is posted, and tells another nonce: no second transaction.
    proxies[0].rule(|call| match call.method.as_str() {
        "eth_getTransactionCount" => Fate::Answer(json!("0x9")),
        _ if call.is_call_of(SpillwaySettlement::headerHashAtCall::SELECTOR) => Fate::Answer(json!(B256::ZERO)),
        _ => Fate::Pass,
    });
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    world.anvil.mine(2).await;
    world.reach(&spec, &mut status, SettlementState::Final).await;
    assert_eq!(status.attempts.len(), 1);
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_18_another_chain_behind_the_address() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let proxy = Proxy::before(&world.anvil).await;
    let world = world.through([&proxy.url]).await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    world.posted(&first).await;

    // Same chain id, another chain: its genesis differs and the contract is not there.
    let other = Anvil::start().await;
    proxy.rule(|_| Fate::Drop);
    let second = world.batch(2, first.header_hash, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&second), SettlementStatus::default());
    assert_eq!(world.settle(&spec, &mut status).await, 0, "silence");
    proxy.point_at(&other);
    proxy.pass();
    let before = proxy.transactions().len();
    for waited in [0, 60] {
        assert_eq!(
            world.decide(&spec, &status, waited).await,
            Step::Wait,
            "nothing is asked of a stranger"
        );
    }
    assert_eq!(proxy.transactions().len(), before, "nothing is sent to a stranger");
    assert_eq!(other.height().await, 0);

    // The right one is back: another process, for the old one asks again only after a while.
    proxy.point_at(&world.anvil);
    let world = world.through([&proxy.url]).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    oracle::holds_exactly(&world, &[&first, &second]).await;
}

pub(crate) async fn row_21_rate_limit() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let proxy = Proxy::before(&world.anvil).await;
    let world = world.through([&proxy.url]).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    proxy.rule(|_| Fate::Status(429, Some(2)));
    let (refused, started) = (proxy.count(), Instant::now());
    assert_eq!(world.settle(&spec, &mut status).await, 0);
    let limited = proxy.count() - refused;
    proxy.pass();
    while started.elapsed() < Duration::from_millis(1_800) {
        assert_eq!(world.settle(&spec, &mut status).await, 0, "Retry-After is kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((limited, proxy.count() - refused), (1, 1), "one question, then silence");
    world.reach(&spec, &mut status, SettlementState::Included).await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(status.attempts.len(), 1);
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_22_failover_while_sending() {
    let (world, proxies) = three_ways().await;
    let mut batches = Vec::new();
    let mut previous = B256::ZERO;
    let fates = [
        [Fate::Drop, Fate::LoseReply, Fate::Pass],
        [Fate::Refuse("nonce too low"), Fate::Drop, Fate::Pass],
        [Fate::RefuseAfter("internal error"), Fate::Status(502, None), Fate::Drop],
        [Fate::Refuse("already known"), Fate::Pass, Fate::LoseReply],
    ];
    for (sequence, fates) in (1..).zip(fates) {
        for (proxy, fate) in proxies.iter().zip(fates) {
            let sent = proxy.calls("eth_sendRawTransaction").len();
            proxy.rule(
                move |call| match call.is("eth_sendRawTransaction") && call.earlier == sent {
                    true => fate.clone(),
                    false => Fate::Pass,
                },
            );
        }
        let before: Vec<usize> = proxies.iter().map(|proxy| proxy.transactions().len()).collect();
        let sealed = world.batch(sequence, previous, PROVIDER, 1, 100);
        let status = world.posted(&sealed).await;
        assert_eq!(status.attempts.len(), 1, "{status:?}");
        for (proxy, before) in proxies.iter().zip(before) {
            let sent = proxy.transactions();
            let hash: B256 = status.attempts[0].hash.parse().unwrap();
            assert!(sent.len() > before, "every endpoint is given it");
            let is_it = |raw: &alloy::primitives::Bytes| alloy::primitives::keccak256(raw) == hash;
            assert!(sent[before..].iter().all(is_it), "the same bytes");
        }
        previous = sealed.header_hash;
        batches.push(sealed);
    }
    oracle::holds_exactly(&world, &batches.iter().collect::<Vec<_>>()).await;
    assert_eq!(world.transactions().await, 4);
}

pub(crate) async fn row_23_estimate_reverts_after_the_earlier_copy_landed() {
    let world = World::new(DEPOSIT, DEPOSIT).await;
    let proxy = Proxy::before(&world.anvil).await;
    let world = world.through([&proxy.url]).await;
    let sealed = world.batch(1, B256::ZERO, PROVIDER, 1, 100);
    let (spec, mut status) = (world.spec(&sealed), SettlementStatus::default());
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    // It is time to bump, and an estimate would be refused: the contract is read first.
    proxy.rule(|call| match call.is("eth_estimateGas") {
        true => Fate::Refuse("execution reverted"),
        false => Fate::Pass,
    });
    let estimates = proxy.calls("eth_estimateGas").len();
    assert!(world.step(&spec, &mut status, 600).await);
    assert_eq!((status.state, status.attempts.len()), (SettlementState::Included, 1));
    assert_eq!(
        proxy.calls("eth_estimateGas").len(),
        estimates,
        "no estimate for what is done"
    );
    oracle::holds_exactly(&world, &[&sealed]).await;
}

pub(crate) async fn row_26_clock_skew_and_suspend() {
    let world = World::new(DEPOSIT, 500).await;
    // The chain's clock is on the day after ours, and the day's cap was spent on the chain's day.
    world.anvil.mine_at_noon().await;
    let first = world.batch(1, B256::ZERO, PROVIDER, 1, 400);
    let status = world.posted(&first).await;
    let head = world.view(&world.spec(&first), &status).await.head.known().unwrap();
    let signed_at = status.attempts[0].signed_at.0.as_second();
    let behind = i64::try_from(head.timestamp).unwrap() - signed_at;
    assert!(
        (0..600).contains(&behind),
        "block time is recorded, not ours: {behind} s"
    );

    let second = world.batch(2, first.header_hash, PROVIDER, 1, 400);
    let (spec, mut status) = (world.spec(&second), SettlementStatus::default());
    world.settle(&spec, &mut status).await;
    assert_eq!(status.reason.as_deref(), Some("DailyCapExceeded"));
    world.anvil.pass_time(86_400).await;
    world.anvil.mine_by_itself(false).await;
    world.settle(&spec, &mut status).await;
    assert_eq!(status.state, SettlementState::Broadcast, "the chain's next day");

    // Block time leaps while nothing was waited for, as after a machine slept: no fee is raised.
    world.anvil.rpc("evm_increaseTime", json!([7_200])).await;
    assert_eq!(world.decide(&spec, &status, 47).await, Step::Wait);
    assert!(matches!(world.decide(&spec, &status, 48).await, Step::Sign(_)));
    world.anvil.mine(1).await;
    world.anvil.mine_by_itself(true).await;
    world.reach(&spec, &mut status, SettlementState::Included).await;
    oracle::holds_exactly(&world, &[&first, &second]).await;
}
