//! Rows 1 to 5, 17 and 24: the process dies, replies are lost, two run at once, the log is lost or old.

use alloy::primitives::{B256, Bytes};
use kube::api::PostParams;
use spillway_crds::{Settlement, SettlementState, SettlementStatus};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_e2e_faults::crash::Edge;
use spillway_e2e_faults::ground::{Ground, PROVIDER};
use spillway_e2e_faults::oracle;
use spillway_e2e_faults::proxy::{Fate, Proxy};
use std::time::Duration;

/// Status writes of a batch that meets no fault, in order.
const CALLDATA: usize = 0;
const SIGNED: usize = 1;
const BROADCAST: usize = 2;
const WRITES: usize = 6;

/// Dies at `edge`; a second process ends what the first began. Returns the log between the two.
async fn dies_and_is_followed(plane: &ControlPlane, edge: Edge) -> (SettlementStatus, SettlementStatus) {
    let ground = Ground::new(plane).await;
    let sealed = ground.seal(1, B256::ZERO, 2, 100).await;
    ground.crash_at(edge).await;
    let left = ground.status(1).await;
    let _follower = ground.poster([&ground.world.anvil.url]);
    let done = ground.reach_final(1).await;
    oracle::holds_exactly(&ground.world, &[&sealed]).await;
    assert_eq!(ground.world.transactions().await, 1, "{edge:?}");
    assert_eq!(done.attempts.len(), 1, "{edge:?}: {done:?}");
    (left, done)
}

pub(crate) async fn row_01_crash_before_sign(plane: &ControlPlane) {
    let (left, _) = dies_and_is_followed(plane, Edge::After(CALLDATA)).await;
    assert_eq!((left.state, left.attempts.len()), (SettlementState::Sealed, 0));
    assert!(left.calldata.is_some());
}

pub(crate) async fn row_02_crash_after_sign_before_save(plane: &ControlPlane) {
    let (left, done) = dies_and_is_followed(plane, Edge::Before(SIGNED)).await;
    assert!(
        left.attempts.is_empty(),
        "the signature was never stored, so it was never sent"
    );
    assert_eq!(done.attempts[0].nonce, 0, "the same nonce");
}

pub(crate) async fn row_03_saved_crash_before_send(plane: &ControlPlane) {
    let (left, done) = dies_and_is_followed(plane, Edge::After(SIGNED)).await;
    assert_eq!(left.state, SettlementState::Signed);
    assert_eq!(left.attempts, done.attempts, "the stored bytes");
}

pub(crate) async fn row_04_sent_crash_before_record(plane: &ControlPlane) {
    let (left, done) = dies_and_is_followed(plane, Edge::Before(BROADCAST)).await;
    assert_eq!(left.state, SettlementState::Signed);
    assert_eq!(done.transaction, Some(left.attempts[0].hash.clone()));
}

/// Not one row but all writes: before and after each of them.
pub(crate) async fn every_write_is_an_edge_that_a_crash_survives(plane: &ControlPlane) {
    for write in BROADCAST..WRITES {
        for edge in [Edge::Before(write), Edge::After(write)] {
            dies_and_is_followed(plane, edge).await;
        }
    }
}

pub(crate) async fn row_05_lost_replies(plane: &ControlPlane) {
    let ground = Ground::new(plane).await;
    let proxy = Proxy::before(&ground.world.anvil).await;
    let _poster = ground.poster([&proxy.url]);
    let fates = [
        Fate::LoseReply,
        Fate::Drop,
        Fate::Status(503, None),
        Fate::RefuseAfter("internal error"),
        Fate::Duplicate,
        Fate::Delay(Duration::from_millis(300)),
    ];
    let mut batches = Vec::new();
    let mut previous = B256::ZERO;
    for (sequence, fate) in (1..).zip(fates) {
        let sent = proxy.calls("eth_sendRawTransaction").len();
        let fated = fate.clone();
        // The first sending of each transaction; its repeats pass.
        proxy.rule(
            move |call| match call.is("eth_sendRawTransaction") && call.earlier == sent {
                true => fated.clone(),
                false => Fate::Pass,
            },
        );
        let sealed = ground.seal(sequence, previous, 1, 100).await;
        previous = sealed.header_hash;
        batches.push(sealed);
        let done = ground.reach_final(sequence).await;
        assert_eq!(done.attempts.len(), 1, "unknown is not failed: {fate:?}, {done:?}");
    }
    oracle::holds_exactly(&ground.world, &batches.iter().collect::<Vec<_>>()).await;
    assert_eq!(ground.world.transactions().await, 6);
}

pub(crate) async fn row_17_two_posters_at_once(plane: &ControlPlane) {
    let ground = Ground::new(plane).await;
    let url = &ground.world.anvil.url;
    let _posters = [ground.poster([url]), ground.poster([url])];
    let mut batches = Vec::new();
    let mut previous = B256::ZERO;
    for sequence in 1..=4 {
        let sealed = ground.seal(sequence, previous, 1, 100).await;
        previous = sealed.header_hash;
        batches.push(sealed);
    }
    for sequence in 1..=4 {
        let done = ground.reach_final(sequence).await;
        assert_eq!(done.attempts.len(), 1, "{done:?}");
    }
    oracle::holds_exactly(&ground.world, &batches.iter().collect::<Vec<_>>()).await;
    assert_eq!(ground.world.transactions().await, 4);
    the_fence_on_chain_holds_without_a_common_log(&ground, &batches[3]).await;
}

/// A poster with a log of its own, as after a restored etcd: its copy of the same header is a success without effect.
async fn the_fence_on_chain_holds_without_a_common_log(ground: &Ground<'_>, last: &spillway_core::batch::Sealed) {
    let input: Bytes = ground.world.post_input(last);
    let contract = ground.world.deployed.contract;
    assert!(ground.world.send_as(ground.world.key.address(), contract, input).await);
    assert_eq!(ground.world.next_sequence().await, 5);
}

/// Sequence 1 is in the backup without its log, 2 was sealed again with the same content, 3 with another.
pub(crate) async fn row_24_restored_old_backup(plane: &ControlPlane) {
    let ground = Ground::new(plane).await;
    let url = ground.world.anvil.url.clone();
    let mut running = ground.poster([&url]);
    let mut batches = Vec::new();
    let mut previous = B256::ZERO;
    for sequence in 1..=3 {
        let sealed = ground.seal(sequence, previous, 1, 100).await;
        previous = sealed.header_hash;
        batches.push(sealed);
        ground.reach_final(sequence).await;
    }
    running.shutdown().await;
    for sequence in 1..=3 {
        ground.delete(sequence).await;
    }
    ground.store(&batches[0]).await;
    ground.store(&batches[1]).await;
    let other = ground.world.batch(3, batches[1].header_hash, PROVIDER, 1, 999);
    ground.store(&other).await;
    let next = ground.world.batch(4, previous, PROVIDER, 1, 100);
    ground.store(&next).await;

    let _poster = ground.poster([&url]);
    for sequence in [1, 2] {
        let done = ground.reach_final(sequence).await;
        assert!(
            done.attempts.is_empty(),
            "marked from the contract and its events: {done:?}"
        );
        assert!(done.transaction.is_some());
    }
    let failed = |status: &SettlementStatus| status.state == SettlementState::Failed;
    let refused = ground.reach("a refusal", 3, failed).await;
    assert_eq!(refused.reason.as_deref(), Some("SequenceUsed"));
    assert!(refused.attempts.is_empty(), "what is on chain is never posted over");
    ground.reach_final(4).await;
    batches.push(next);
    oracle::holds_exactly(&ground.world, &batches.iter().collect::<Vec<_>>()).await;
    assert_eq!(ground.world.transactions().await, 4);
    a_lost_status_is_written_anew(&ground).await;
}

async fn a_lost_status_is_written_anew(ground: &Ground<'_>) {
    let name = spillway_crds::names::settlement(1);
    let found = ground.settlements.get(&name).await.unwrap();
    let emptied = Settlement {
        status: Some(SettlementStatus::default()),
        ..found
    };
    ground
        .settlements
        .replace_status(&name, &PostParams::default(), &emptied)
        .await
        .unwrap();
    let again = eventually("a status", Duration::from_secs(60), || async {
        let status = ground.status(1).await;
        (status.state == SettlementState::Final).then_some(status)
    })
    .await
    .unwrap();
    assert!(again.transaction.is_some() && again.attempts.is_empty());
}
