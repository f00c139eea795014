//! Whole posters: Settlements on a real API server, each test in a namespace of its own, and a real anvil.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use spillway_core::batch::Sealed;
use spillway_crds::names::settlement;
use spillway_crds::{Settlement, SettlementSpec, SettlementState, SettlementStatus};
use spillway_e2e_control_plane::{ADMIN_TOKEN, ControlPlane, eventually};
use spillway_process::Health;
use spillway_settlement::chain::Chain;
use spillway_settlement::deploy::Mode;
use spillway_settlement::poster::{Metrics, Poster};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crash::{Edge, client_that_dies};
use crate::node::Anvil;
use crate::watched::OnItsWay;
use crate::world::{World, reach};

pub const PROVIDER: Address = Address::repeat_byte(0xb0);
pub const DEPOSIT: u64 = 1_000_000_000;
const LIMIT: Duration = Duration::from_secs(120);

pub struct Ground<'a> {
    plane: &'a ControlPlane,
    pub namespace: String,
    pub settlements: Api<Settlement>,
    pub client: Client,
    pub world: World,
}

/// A running poster. Dropping it is a crash.
pub type Running = JoinSet<anyhow::Result<()>>;

impl<'a> Ground<'a> {
    pub async fn new(plane: &'a ControlPlane) -> Self {
        let namespace = plane.namespace("faults").await.unwrap();
        Self::at(plane, namespace, plane.client().await.unwrap()).await
    }

    /// With a contract in root mode.
    pub async fn in_root_mode(plane: &'a ControlPlane) -> Self {
        let mut ground = Self::new(plane).await;
        ground.world = World::in_mode(Mode::Root, Anvil::start().await, DEPOSIT, DEPOSIT).await;
        ground
    }

    /// `client` is what posters use.
    pub async fn at(plane: &'a ControlPlane, namespace: String, client: Client) -> Self {
        let settlements = Api::namespaced(plane.client().await.unwrap(), &namespace);
        Self {
            plane,
            namespace,
            settlements,
            client,
            world: World::new(DEPOSIT, DEPOSIT).await,
        }
    }

    /// A poster as `main` makes it, which reaches the chain at these addresses.
    pub fn poster<'b>(&self, urls: impl IntoIterator<Item = &'b String>) -> Running {
        self.poster_with(self.client.clone(), urls)
    }

    pub fn poster_with<'b>(&self, client: Client, urls: impl IntoIterator<Item = &'b String>) -> Running {
        let (key, place) = (self.world.key.clone(), self.world.chain.place);
        let chain = Chain::new(reach(urls), place, key.address()).unwrap();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let mut poster = Poster::new(client, &self.namespace, chain, key, metrics);
        poster.interval = Duration::from_millis(100);
        let mut running = JoinSet::new();
        running.spawn(poster.run(Health::default(), CancellationToken::new()));
        running
    }

    /// Runs a poster on sequence 1 until it dies at this write.
    pub async fn crash_at(&self, edge: Edge) {
        let kubeconfig = self.plane.kubeconfig(ADMIN_TOKEN).unwrap();
        let (client, bell) = client_that_dies(kubeconfig, edge).await;
        let mut running = self.poster_with(client, [&self.world.anvil.url]);
        // Safe and Final come with one block each, after the state before them was stored: no write is skipped.
        let mining = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            let mut mined_after = SettlementState::Sealed;
            loop {
                ticks.tick().await;
                let state = self.status(1).await.state;
                if matches!(state, SettlementState::Included | SettlementState::Safe) && state != mined_after {
                    self.world.anvil.mine(1).await;
                    mined_after = state;
                }
            }
        };
        let died = async {
            tokio::select! {
                () = bell.notified() => {}
                () = mining => {}
            }
        };
        tokio::time::timeout(LIMIT, died)
            .await
            .unwrap_or_else(|_| panic!("it never died at {edge:?}"));
        running.shutdown().await;
    }

    /// Stores a batch as accrual does, without a status.
    pub async fn seal(&self, sequence: u64, previous: B256, shards: u32, amount: u128) -> Sealed {
        let sealed = self.world.batch(sequence, previous, PROVIDER, shards, amount);
        self.store(&sealed).await;
        sealed
    }

    pub async fn store(&self, sealed: &Sealed) {
        self.store_spec(sealed.header.sequence, self.world.spec(sealed)).await;
    }

    pub async fn store_spec(&self, sequence: u64, spec: SettlementSpec) {
        let object = Settlement::new(&settlement(sequence), spec);
        self.settlements.create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn delete(&self, sequence: u64) {
        let name = settlement(sequence);
        self.settlements.delete(&name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn status(&self, sequence: u64) -> SettlementStatus {
        let found = self.settlements.get(&settlement(sequence)).await.unwrap();
        found.status.unwrap_or_default()
    }

    /// Mines until the log says Final.
    pub async fn reach_final(&self, sequence: u64) -> SettlementStatus {
        let is_final = |status: &SettlementStatus| status.state == SettlementState::Final;
        self.reach("a final settlement", sequence, is_final).await
    }

    /// Mines until the log is as wanted.
    pub async fn reach(
        &self,
        what: &str,
        sequence: u64,
        is_there: impl Fn(&SettlementStatus) -> bool,
    ) -> SettlementStatus {
        let found = eventually(what, LIMIT, || async {
            self.world.anvil.mine(1).await;
            let status = self.status(sequence).await;
            is_there(&status).then_some(status)
        })
        .await;
        match found {
            Ok(status) => status,
            Err(error) => panic!("{error}: {:?}", self.status(sequence).await),
        }
    }

    /// The log, asked at the moment when a transaction is on its way: it must name it, with all that sends it again.
    pub async fn assert_logged(&self, sequence: u64, on_its_way: &OnItsWay) {
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
}
