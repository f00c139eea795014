//! The whole poster: its order of doing things, its rights, its rest.

use std::time::Duration;

use alloy::primitives::B256;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use spillway_crds::names::{SYSTEM_NAMESPACE, settlement};
use spillway_crds::{Settlement, SettlementState, SettlementStatus};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_e2e_faults::ground::{Ground, PROVIDER};
use spillway_e2e_faults::proxy::Proxy;
use spillway_e2e_faults::watched::{OnItsWay, Watched};

const LIMIT: Duration = Duration::from_secs(60);

async fn earned(ground: &Ground<'_>) -> u128 {
    ground.world.balances(PROVIDER).await.pending
}

async fn next(watched: &mut Watched) -> OnItsWay {
    tokio::time::timeout(LIMIT, watched.transactions.recv())
        .await
        .expect("nothing was sent")
        .unwrap()
}

pub(crate) async fn every_transaction_is_in_the_log_before_it_leaves(plane: &ControlPlane) {
    let ground = Ground::new(plane).await;
    let mut watched = Watched::before(&ground.world.anvil.url).await;
    let _poster = ground.poster([&watched.url]);
    let mut previous = B256::ZERO;
    for (sequence, shards, amount) in [(1, 3, 100), (2, 1, 11)] {
        previous = ground.seal(sequence, previous, shards, amount).await.header_hash;
        let on_its_way = next(&mut watched).await;
        ground.assert_logged(sequence, &on_its_way).await;
        assert_eq!(ground.world.next_sequence().await, sequence, "not on chain yet");
        on_its_way.word.send(true).unwrap();
        let done = ground.reach_final(sequence).await;
        assert_eq!((done.attempts.len(), done.reason), (1, None));
        assert_eq!(done.transaction.unwrap(), on_its_way.hash.to_string());
        assert!(done.finalized_at.is_some());
    }
    assert_eq!((ground.world.transactions().await, earned(&ground).await), (2, 311));
    assert!(watched.transactions.try_recv().is_err(), "nothing else was sent");
}

pub(crate) async fn a_poster_that_dies_while_it_sends_is_followed_by_one_that_sends_the_same_bytes(
    plane: &ControlPlane,
) {
    let ground = Ground::new(plane).await;
    let mut previous = B256::ZERO;
    // The transaction is lost with the process; or it arrives and nobody hears the answer.
    for (sequence, arrives) in [(1, false), (2, true)] {
        let mut watched = Watched::before(&ground.world.anvil.url).await;
        previous = ground.seal(sequence, previous, 1, 100).await.header_hash;
        let mut dying = ground.poster([&watched.url]);
        let on_its_way = next(&mut watched).await;
        let hash = on_its_way.hash;
        ground.assert_logged(sequence, &on_its_way).await;
        dying.shutdown().await;
        on_its_way.word.send(arrives).unwrap();
        if arrives {
            assert!(ground.world.receipt(hash).await.status());
        }
        assert_eq!(ground.status(sequence).await.state, SettlementState::Signed);

        let mut follower = ground.poster([&ground.world.anvil.url]);
        let done = ground.reach_final(sequence).await;
        assert_eq!(done.attempts.len(), 1, "the same bytes, no new signature");
        assert_eq!(done.transaction.unwrap(), hash.to_string());
        assert_eq!(ground.world.transactions().await, sequence);
        follower.shutdown().await;
    }
    assert_eq!(earned(&ground).await, 200);
}

fn is_forbidden<T: std::fmt::Debug>(outcome: kube::Result<T>) -> bool {
    matches!(&outcome, Err(kube::Error::Api(status)) if status.code == 403)
}

/// In the chart's own namespace: no other test uses it.
pub(crate) async fn the_posters_rights_end_at_the_status_of_settlements(plane: &ControlPlane) {
    let client = plane.chart_client("spillway-settlement").await.unwrap();
    let ground = Ground::at(plane, SYSTEM_NAMESPACE.to_owned(), client).await;
    let sealed = ground.seal(1, B256::ZERO, 1, 100).await;
    let mut running = ground.poster([&ground.world.anvil.url]);
    ground.reach_final(1).await;
    running.shutdown().await;
    let own: Api<Settlement> = Api::namespaced(ground.client.clone(), SYSTEM_NAMESPACE);
    let name = settlement(1);
    let found = own.get(&name).await.unwrap();
    let forged = Settlement::new(&settlement(2), ground.world.spec(&sealed));
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    assert!(is_forbidden(own.create(&PostParams::default(), &forged).await));
    assert!(is_forbidden(own.replace(&name, &PostParams::default(), &found).await));
    assert!(is_forbidden(own.patch(&name, &PatchParams::default(), &patch).await));
    assert!(is_forbidden(own.delete(&name, &DeleteParams::default()).await));
    let elsewhere: Api<Settlement> = Api::all(ground.client.clone());
    assert!(is_forbidden(elsewhere.list(&Default::default()).await));
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(ground.client.clone(), SYSTEM_NAMESPACE);
    assert!(is_forbidden(secrets.list(&Default::default()).await));
    let untouched = ground.settlements.get(&name).await.unwrap();
    assert_eq!(untouched.metadata.resource_version, found.metadata.resource_version);
}

/// A batch that is done or held costs no write, however often it is looked at.
pub(crate) async fn converged_means_no_writes(plane: &ControlPlane) {
    let ground = Ground::new(plane).await;
    let proxy = Proxy::before(&ground.world.anvil).await;
    let first = ground.seal(1, B256::ZERO, 1, 100).await;
    let far = ground.world.batch(3, first.header_hash, PROVIDER, 1, 100);
    ground.store(&far).await;
    let _poster = ground.poster([&proxy.url]);
    ground.reach_final(1).await;
    let waits = |status: &SettlementStatus| status.reason.as_deref() == Some("WaitsForPrevious");
    ground.reach("a reason", 3, waits).await;
    let version = async |sequence| {
        let found = ground.settlements.get(&settlement(sequence)).await.unwrap();
        found.metadata.resource_version
    };
    let before = (version(1).await, version(3).await);
    let looked = proxy.count();
    eventually("a hundred more questions", Duration::from_secs(60), || async {
        (proxy.count() > looked + 100).then_some(())
    })
    .await
    .unwrap();
    assert_eq!((version(1).await, version(3).await), before);
}
