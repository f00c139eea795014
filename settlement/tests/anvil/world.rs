//! A deployed contract with a funded payer, and the poster's chain half with a variable as its log.

use std::time::Duration;

use alloy::primitives::{Address, B256, keccak256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionReceipt;
use alloy::signers::local::PrivateKeySigner;
use k8s_openapi::jiff::Timestamp;
use spillway_core::batch::{Leaf, Sealed, seal};
use spillway_crds::{SettlementSpec, SettlementState, SettlementStatus, Time};
use spillway_settlement::advance::{Policy, Step, advance};
use spillway_settlement::chain::{Chain, Confirm, Place};
use spillway_settlement::contract::Balances;
use spillway_settlement::contract::SpillwaySettlement;
use spillway_settlement::deploy::{Deployed, Plan, deploy};
use spillway_settlement::perform::perform;

use crate::node::{Anvil, CHAIN_ID};

pub(crate) const WINDOW: u64 = 60;

pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) deployed: Deployed,
    pub(crate) chain: Chain,
    pub(crate) signer: PrivateKeySigner,
}

impl World {
    pub(crate) async fn new(deposit_micro: u64, cap_per_day_micro: u64) -> Self {
        let anvil = Anvil::start().await;
        let (owner, payer) = (anvil.account().await, anvil.account().await);
        let (signer, order_key) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        let plan = Plan {
            chain_id: CHAIN_ID,
            poster: signer.address(),
            order_key: order_key.address(),
            deposit_micro,
            cap_per_day_micro,
            order_key_expiry: 4_000_000_000,
            window: WINDOW,
            withdraw_delay: 3600,
        };
        let deployed = deploy(&anvil.url, plan, owner, payer).await.unwrap();
        let place = Place {
            chain_id: CHAIN_ID,
            contract: deployed.contract,
        };
        let chain = Chain::new(
            std::slice::from_ref(&anvil.url),
            place,
            signer.address(),
            Confirm::Finalized,
        )
        .unwrap();
        chain.check().await.unwrap();
        Self {
            anvil,
            deployed,
            chain,
            signer,
        }
    }

    /// A batch of `shards` shards, each worth `amount`, all earned by `provider`.
    pub(crate) fn batch(&self, sequence: u64, previous: B256, provider: Address, shards: u32, amount: u128) -> Sealed {
        let leaf = |shard| Leaf {
            job: keccak256(sequence.to_be_bytes()),
            shard,
            attempt: 0,
            kind: 0,
            payer: self.deployed.payer,
            provider,
            amount,
            order: keccak256(b"order"),
            receipt: keccak256(b"receipt"),
        };
        seal(
            CHAIN_ID,
            self.deployed.contract,
            sequence,
            previous,
            (0..shards).map(leaf).collect(),
        )
        .unwrap()
    }

    pub(crate) fn spec(&self, sealed: &Sealed) -> SettlementSpec {
        SettlementSpec::from_sealed(
            CHAIN_ID,
            self.deployed.contract,
            sealed,
            "settlements/x.json".to_owned(),
        )
        .unwrap()
    }

    pub(crate) async fn decide(&self, spec: &SettlementSpec, status: &SettlementStatus, later: i64) -> (Step, Time) {
        let now = Time(Timestamp::from_second(Timestamp::now().as_second() + later).unwrap());
        let view = self.chain.view(spec, status).await;
        (
            advance(spec, status, &view, &self.chain.place, &Policy::default(), &now),
            now,
        )
    }

    /// One step, `later` seconds from now; whether the log changed.
    pub(crate) async fn step(&self, spec: &SettlementSpec, status: &mut SettlementStatus, later: i64) -> bool {
        let (step, now) = self.decide(spec, status, later).await;
        let next = perform(&self.chain, &self.signer, spec, status, step, now)
            .await
            .unwrap();
        let changed = next.is_some();
        *status = next.unwrap_or_else(|| status.clone());
        changed
    }

    /// Steps until nothing changes any more; returns how many were taken.
    pub(crate) async fn settle(&self, spec: &SettlementSpec, status: &mut SettlementStatus) -> usize {
        for taken in 0..20 {
            if !self.step(spec, status, 0).await {
                return taken;
            }
        }
        panic!("no rest after 20 steps: {status:?}");
    }

    /// Steps until the log says `state`: anvil mines a moment after it takes a transaction.
    pub(crate) async fn reach(&self, spec: &SettlementSpec, status: &mut SettlementStatus, state: SettlementState) {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1_000 {
            ticks.tick().await;
            self.settle(spec, status).await;
            if status.state == state {
                return;
            }
        }
        panic!("never {state:?}: {status:?}");
    }

    pub(crate) async fn posted(&self, sealed: &Sealed) -> SettlementStatus {
        let mut status = SettlementStatus::default();
        self.reach(&self.spec(sealed), &mut status, SettlementState::Included)
            .await;
        status
    }

    /// Receipt of a transaction that is about to be mined.
    pub(crate) async fn receipt(&self, hash: B256) -> TransactionReceipt {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1_000 {
            ticks.tick().await;
            if let Some(receipt) = self.anvil.provider.get_transaction_receipt(hash).await.unwrap() {
                return receipt;
            }
        }
        panic!("{hash} is never mined");
    }

    pub(crate) async fn balances(&self, account: Address) -> Balances {
        let contract = SpillwaySettlement::new(self.deployed.contract, &self.anvil.provider);
        contract.balances(account).call().await.unwrap()
    }

    pub(crate) async fn next_sequence(&self) -> u64 {
        let contract = SpillwaySettlement::new(self.deployed.contract, &self.anvil.provider);
        contract.nextSequence().call().await.unwrap()
    }
}
