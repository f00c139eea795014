//! Orders that are shown: to who challenges a line, and for payers who leave before they have paid.

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::sol_types::SolCall;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use spillway_core::batch::{Sealed, jobs_proofs};
use spillway_crds::names::{SYSTEM_NAMESPACE, settlement};
use spillway_crds::{Condition, Settlement, SettlementStatus, StoredReceipt};
use spillway_e2e_control_plane::ControlPlane;
use spillway_e2e_faults::ground::{DEPOSIT, Ground, PROVIDER};
use spillway_e2e_faults::ordered::{Store, endow, uid};
use spillway_e2e_faults::world::{ANSWER_TIME, World};
use spillway_settlement::contract::{
    ISpillwayDisputes, SpillwayDisputes, SpillwaySettlement, SpillwayStake, contract_line, nothing_unpaid,
};

const AMOUNT: u64 = 100;

async fn challenge(world: &World, challenger: Address, sealed: &Sealed, index: usize) -> bool {
    let proof = jobs_proofs(&sealed.leaves).unwrap().swap_remove(index);
    let line = contract_line(&sealed.header, &sealed.leaves[index], proof);
    let input = SpillwayDisputes::challengeOrderCall { line }.abi_encode();
    world.send_as(challenger, world.deployed.disputes, input.into()).await
}

async fn dispute(world: &World, id: u64) -> ISpillwayDisputes::Dispute {
    let contract = SpillwayDisputes::new(world.deployed.disputes, &world.anvil.provider);
    contract.dispute(U256::from(id)).call().await.unwrap()
}

fn disputed(status: &SettlementStatus) -> Option<(String, String)> {
    let is_it = |condition: &&Condition| condition.type_ == "Disputed";
    let found = status.conditions.iter().find(is_it)?;
    Some((found.status.clone(), found.reason.clone()))
}

fn says(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

pub(crate) async fn a_challenged_line_is_answered_from_the_store(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let sealed = ground.seal_ordered(&store, 1, B256::ZERO, 3, AMOUNT).await;
    let _poster = ground.poster([&ground.world.anvil.url]);
    ground.reach("a post", 1, |status| status.transaction.is_some()).await;
    let challenger = ground.world.anvil.account().await.address();
    endow(&ground.world, challenger).await;
    assert!(challenge(&ground.world, challenger, &sealed, 1).await);

    let signer = ground.world.anvil.account().await;
    let mut shower = ground.order_shower(&store, signer.clone());
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 1);
    assert_eq!(disputed(&ground.status(1).await), says("True", "OrderAsked"));
    let its = dispute(&ground.world, 0).await;
    assert_eq!((its.state, its.rank), (3, (U256::ONE << 32) | U256::ONE), "refuted");
    let bond = ground.world.balances(PROVIDER).await.deposit;
    assert_eq!(bond, 5_000_000, "the challenger's bond is the provider's");

    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 0, "once");
    assert_eq!(disputed(&ground.status(1).await), says("False", "Answered"));
    let sent = ground.world.anvil.provider.get_transaction_count(signer.address());
    assert_eq!(sent.await.unwrap(), 1);
}

/// Told as answered and not final yet: a reorganisation takes the answer back, and it is given again.
pub(crate) async fn an_answer_that_a_reorganisation_takes_back_is_given_again(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let sealed = ground.seal_ordered(&store, 1, B256::ZERO, 1, AMOUNT).await;
    let _poster = ground.poster([&ground.world.anvil.url]);
    ground.reach_final(1).await;
    let challenger = ground.world.anvil.account().await.address();
    endow(&ground.world, challenger).await;
    assert!(challenge(&ground.world, challenger, &sealed, 0).await);

    let mut shower = ground.order_shower(&store, ground.world.anvil.account().await);
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 1);
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 0);
    assert_eq!(disputed(&ground.status(1).await), says("False", "Answered"));
    ground.world.anvil.reorganise(1).await;
    assert_eq!(dispute(&ground.world, 0).await.state, 1, "open again");
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 1);
    assert_eq!(dispute(&ground.world, 0).await.state, 3, "refuted");
}

/// Root mode: what a provider needs to claim is shown to whoever asks for it; kept back, the batch pays nothing any more.
pub(crate) async fn a_place_in_the_pay_root_is_shown_or_the_batch_is_broken(plane: &ControlPlane) {
    let (ground, store) = (Ground::in_root_mode(plane).await, Store::default());
    let first = ground.seal_ordered_root(&store, None, 2, AMOUNT).await;
    let second = ground.seal_ordered_root(&store, Some(&first), 3, AMOUNT).await;
    let _poster = ground.poster([&ground.world.anvil.url]);
    ground.reach("posts", 2, |status| status.transaction.is_some()).await;
    let challenger = ground.world.anvil.account().await.address();
    endow(&ground.world, challenger).await;
    let ask = async |sealed: &Sealed| {
        let proof = jobs_proofs(&sealed.leaves).unwrap().swap_remove(0);
        let line = contract_line(&sealed.header, &sealed.leaves[0], proof);
        let input = SpillwayDisputes::challengePayCall { line }.abi_encode();
        assert!(
            ground
                .world
                .send_as(challenger, ground.world.deployed.disputes, input.into())
                .await
        );
    };
    ask(&first).await;
    let mut shower = ground.order_shower(&store, ground.world.anvil.account().await);
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 1);
    assert_eq!(disputed(&ground.status(1).await), says("True", "PayAsked"));
    assert_eq!(dispute(&ground.world, 0).await.state, 3, "refuted");

    // The same for a batch whose document is gone.
    ask(&second).await;
    store
        .lose(&format!("settlements/{}.json", second.header.dataHash))
        .await;
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 0);
    assert_eq!(disputed(&ground.status(1).await), says("False", "Answered"));
    assert_eq!(disputed(&ground.status(2).await), says("True", "PayAsked"));
    ground.world.anvil.pass_time(ANSWER_TIME).await;
    let resolve = SpillwayDisputes::resolvePayCall { id: U256::ONE }.abi_encode();
    assert!(
        ground
            .world
            .send_as(challenger, ground.world.deployed.disputes, resolve.into())
            .await
    );
    shower.pass(Timestamp::now()).await.unwrap();
    assert_eq!(disputed(&ground.status(2).await), says("True", "BatchBroken"));
    let contract = SpillwaySettlement::new(ground.world.deployed.contract, &ground.world.anvil.provider);
    assert_eq!(contract.brokenFrom().call().await.unwrap(), 2);
}

pub(crate) async fn a_line_without_an_order_is_void_and_told(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let sealed = ground.seal_ordered(&store, 1, B256::ZERO, 2, AMOUNT).await;
    let _poster = ground.poster([&ground.world.anvil.url]);
    ground.reach("a post", 1, |status| status.transaction.is_some()).await;
    store
        .lose(&StoredReceipt::key(&uid(1), sealed.leaves[0].shard, 0))
        .await;
    let challenger = ground.world.anvil.account().await.address();
    endow(&ground.world, challenger).await;
    assert!(challenge(&ground.world, challenger, &sealed, 0).await);

    let mut shower = ground.order_shower(&store, ground.world.anvil.account().await);
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 0);
    assert_eq!(disputed(&ground.status(1).await), says("True", "OrderAsked"));
    ground.world.anvil.pass_time(ANSWER_TIME).await;
    let none = SpillwayDisputes::resolveOrderCall {
        id: U256::ZERO,
        unpaid: nothing_unpaid(),
    };
    let disputes = ground.world.deployed.disputes;
    assert!(
        ground
            .world
            .send_as(challenger, disputes, none.abi_encode().into())
            .await
    );
    shower.pass(Timestamp::now()).await.unwrap();
    assert_eq!(disputed(&ground.status(1).await), says("True", "LineVoid"));

    let payer = ground.world.balances(ground.world.deployed.payer).await;
    assert_eq!(
        payer.deposit,
        u128::from(DEPOSIT - AMOUNT),
        "one of two lines is given back"
    );
    let stake = SpillwayStake::new(ground.world.deployed.stake, &ground.world.anvil.provider);
    let left = stake.slashable(ground.world.deployed.owner).call().await.unwrap();
    assert_eq!(left, U256::from(950_000_000_u64), "the guarantor answers for it");
}

/// A payer revokes its key while a batch of its orders is on the way: shown, they are paid all the same.
pub(crate) async fn what_a_revoked_key_ordered_is_held_and_paid(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let revoke = SpillwaySettlement::authorizeOrderKeyCall {
        key: Address::ZERO,
        capPerDay: U96::ZERO,
        expiry: 0,
    };
    let (payer, contract) = (ground.world.deployed.payer, ground.world.deployed.contract);
    assert!(ground.world.send_as(payer, contract, revoke.abi_encode().into()).await);
    ground.seal_ordered(&store, 1, B256::ZERO, 3, AMOUNT).await;
    let _poster = ground.poster([&ground.world.anvil.url]);
    let waits = |status: &SettlementStatus| status.reason.as_deref() == Some("OrderKeyMissing");
    ground.reach("a reason", 1, waits).await;

    let mut shower = ground.order_shower(&store, ground.world.anvil.account().await);
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 3);
    ground.reach_final(1).await;
    assert_eq!(ground.world.balances(PROVIDER).await.pending, u128::from(3 * AMOUNT));
    assert_eq!(
        shower.pass(Timestamp::now()).await.unwrap(),
        0,
        "nothing waits any more"
    );
}

/// A payer asks its whole deposit back before a batch is posted: it gets what it does not owe.
pub(crate) async fn what_a_leaving_payer_ordered_is_held_back(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let (payer, contract) = (ground.world.deployed.payer, ground.world.deployed.contract);
    let ask = SpillwaySettlement::requestWithdrawCall { amount: U256::MAX };
    assert!(ground.world.send_as(payer, contract, ask.abi_encode().into()).await);
    ground.seal_ordered(&store, 1, B256::ZERO, 3, AMOUNT).await;
    let mut shower = ground.order_shower(&store, ground.world.anvil.account().await);
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 3);
    assert_eq!(shower.pass(Timestamp::now()).await.unwrap(), 0, "once each");
    let held = SpillwaySettlement::new(contract, &ground.world.anvil.provider);
    assert_eq!(held.held(payer).call().await.unwrap(), U256::from(3 * AMOUNT));
    // A second process finds them shown.
    let mut other = ground.order_shower(&store, ground.world.anvil.account().await);
    assert_eq!(other.pass(Timestamp::now()).await.unwrap(), 0);
    let _poster = ground.poster([&ground.world.anvil.url]);
    ground.reach_final(1).await;
    assert_eq!(ground.world.balances(PROVIDER).await.pending, u128::from(3 * AMOUNT));
}

fn is_forbidden<T: std::fmt::Debug>(outcome: kube::Result<T>) -> bool {
    matches!(&outcome, Err(kube::Error::Api(status)) if status.code == 403)
}

/// As the chart's own account, in the chart's own namespace.
pub(crate) async fn the_rights_of_who_shows_orders_end_at_a_condition(plane: &ControlPlane) {
    let client = plane.chart_client("spillway-orders").await.unwrap();
    let ground = Ground::at(plane, SYSTEM_NAMESPACE.to_owned(), client).await;
    let sealed = ground.world.batch(900, B256::repeat_byte(1), PROVIDER, 1, 100);
    ground.store(&sealed).await;
    let own: Api<Settlement> = Api::namespaced(ground.client.clone(), SYSTEM_NAMESPACE);
    let name = settlement(900);
    let found = own.get(&name).await.unwrap();
    own.list(&Default::default()).await.unwrap();
    let condition = json!([{
        "type": "Disputed", "status": "True", "reason": "OrderAsked", "message": "one",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let patch = json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "Settlement",
        "metadata": {"name": name}, "status": {"conditions": condition},
    });
    let parameters = PatchParams::apply("spillway-settlement-orders").force();
    own.patch_status(&name, &parameters, &Patch::Apply(&patch))
        .await
        .unwrap();
    assert_eq!(disputed(&ground.status(900).await), says("True", "OrderAsked"));

    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    assert!(is_forbidden(own.patch(&name, &PatchParams::default(), &label).await));
    assert!(is_forbidden(own.replace(&name, &PostParams::default(), &found).await));
    assert!(is_forbidden(own.delete(&name, &DeleteParams::default()).await));
    let secrets: Api<Secret> = Api::namespaced(ground.client.clone(), SYSTEM_NAMESPACE);
    assert!(is_forbidden(secrets.list(&Default::default()).await));
    let elsewhere: Api<Settlement> = Api::all(ground.client.clone());
    assert!(is_forbidden(elsewhere.list(&Default::default()).await));
    ground.delete(900).await;
}
