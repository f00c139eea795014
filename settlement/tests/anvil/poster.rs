//! The whole poster: Settlements on a real API server, with the rights that the chart gives, and a real anvil.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::providers::Provider;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use spillway_core::batch::Sealed;
use spillway_crds::names::{SYSTEM_NAMESPACE, settlement};
use spillway_crds::{Settlement, SettlementState, SettlementStatus};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_process::Health;
use spillway_settlement::chain::{Chain, Confirm};
use spillway_settlement::poster::{Metrics, Poster};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::watched::{OnItsWay, Watched};
use crate::world::World;

const PROVIDER: Address = Address::repeat_byte(0xb0);
const DEPOSIT: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(60);

struct Ground {
    _plane: ControlPlane,
    settlements: Api<Settlement>,
    /// With the chart's rights.
    client: Client,
    world: World,
}

type Running = JoinSet<anyhow::Result<()>>;

impl Ground {
    async fn new() -> Self {
        let plane = ControlPlane::start().await.unwrap();
        let client = plane.chart_client("spillway-settlement").await.unwrap();
        let settlements = Api::namespaced(plane.client().await.unwrap(), SYSTEM_NAMESPACE);
        Self {
            _plane: plane,
            settlements,
            client,
            world: World::new(DEPOSIT, DEPOSIT).await,
        }
    }

    /// A poster as `main` makes it, which reaches the chain at `url`. Dropping it is a crash.
    fn poster(&self, url: &str) -> Running {
        let signer = self.world.signer.clone();
        let place = self.world.chain.place;
        let chain = Chain::new(&[url.to_owned()], place, signer.address(), Confirm::Finalized).unwrap();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let mut poster = Poster::new(self.client.clone(), SYSTEM_NAMESPACE, chain, signer, metrics);
        poster.interval = Duration::from_millis(100);
        let mut running = JoinSet::new();
        running.spawn(poster.run(Health::default(), CancellationToken::new()));
        running
    }

    /// Stores a batch as accrual does, without a status.
    async fn seal(&self, sequence: u64, previous: B256, shards: u32, amount: u128) -> Sealed {
        let sealed = self.world.batch(sequence, previous, PROVIDER, shards, amount);
        let object = Settlement::new(&settlement(sequence), self.world.spec(&sealed));
        self.settlements.create(&PostParams::default(), &object).await.unwrap();
        sealed
    }

    async fn status(&self, sequence: u64) -> SettlementStatus {
        let found = self.settlements.get(&settlement(sequence)).await.unwrap();
        found.status.unwrap_or_default()
    }

    /// Mines until the log says Final.
    async fn reach_final(&self, sequence: u64) -> SettlementStatus {
        eventually("a final settlement", LIMIT, || async {
            self.world.anvil.mine(1).await;
            let status = self.status(sequence).await;
            (status.state == SettlementState::Final).then_some(status)
        })
        .await
        .unwrap()
    }

    /// The log, asked at the moment when a transaction is on its way: it must name it, with all that sends it again.
    async fn assert_logged(&self, sequence: u64, on_its_way: &OnItsWay) {
        let status = self.status(sequence).await;
        let attempt = status.attempts.last().expect("nothing is logged");
        assert_eq!(attempt.hash, on_its_way.hash.to_string());
        assert_eq!(attempt.signature.len(), 2 + 2 * 65);
        assert!(status.calldata.is_some());
        assert!(
            matches!(status.state, SettlementState::Signed | SettlementState::Broadcast),
            "{status:?}"
        );
    }

    /// Transactions of the poster that were mined.
    async fn transactions(&self) -> u64 {
        let poster = self.world.signer.address();
        self.world.anvil.provider.get_transaction_count(poster).await.unwrap()
    }

    async fn earned(&self) -> u128 {
        self.world.balances(PROVIDER).await.pending
    }
}

async fn next(watched: &mut Watched) -> OnItsWay {
    tokio::time::timeout(LIMIT, watched.transactions.recv())
        .await
        .expect("nothing was sent")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transaction_is_in_the_log_before_it_leaves() {
    let ground = Ground::new().await;
    let mut watched = Watched::before(&ground.world.anvil.url).await;
    let _poster = ground.poster(&watched.url);
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
    assert_eq!((ground.transactions().await, ground.earned().await), (2, 311));
    assert!(watched.transactions.try_recv().is_err(), "nothing else was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_posters_at_once_post_once() {
    let ground = Ground::new().await;
    let url = ground.world.anvil.url.clone();
    let _posters = [ground.poster(&url), ground.poster(&url)];
    let mut previous = B256::ZERO;
    for sequence in 1..=4 {
        previous = ground.seal(sequence, previous, 1, 100).await.header_hash;
    }
    for sequence in 1..=4 {
        let done = ground.reach_final(sequence).await;
        assert_eq!(done.attempts.len(), 1, "{done:?}");
    }
    assert_eq!((ground.transactions().await, ground.earned().await), (4, 400));
    assert_eq!(ground.world.next_sequence().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poster_that_dies_while_it_sends_is_followed_by_one_that_sends_the_same_bytes() {
    let ground = Ground::new().await;
    let mut previous = B256::ZERO;
    // The transaction is lost with the process; or it arrives and nobody hears the answer.
    for (sequence, arrives) in [(1, false), (2, true)] {
        let mut watched = Watched::before(&ground.world.anvil.url).await;
        previous = ground.seal(sequence, previous, 1, 100).await.header_hash;
        let mut dying = ground.poster(&watched.url);
        let on_its_way = next(&mut watched).await;
        let hash = on_its_way.hash;
        ground.assert_logged(sequence, &on_its_way).await;
        dying.shutdown().await;
        on_its_way.word.send(arrives).unwrap();
        if arrives {
            assert!(ground.world.receipt(hash).await.status());
        }
        assert_eq!(ground.status(sequence).await.state, SettlementState::Signed);

        let mut follower = ground.poster(&ground.world.anvil.url);
        let done = ground.reach_final(sequence).await;
        assert_eq!(done.attempts.len(), 1, "the same bytes, no new signature");
        assert_eq!(done.transaction.unwrap(), hash.to_string());
        assert_eq!(ground.transactions().await, sequence);
        follower.shutdown().await;
    }
    assert_eq!(ground.earned().await, 200);
}

fn is_forbidden<T: std::fmt::Debug>(outcome: kube::Result<T>) -> bool {
    matches!(&outcome, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_posters_rights_end_at_the_status_of_settlements() {
    let ground = Ground::new().await;
    let sealed = ground.seal(1, B256::ZERO, 1, 100).await;
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
