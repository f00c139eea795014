//! A deployed contract with a funded payer, and the poster's chain half with a variable as its log.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::providers::Provider;
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::signers::local::PrivateKeySigner;
use k8s_openapi::jiff::Timestamp;
use spillway_core::batch::{Leaf, Sealed, seal};
use spillway_core::knowledge::Knowledge;
use spillway_crds::{Settlement, SettlementSpec, SettlementState, SettlementStatus, Time};
use spillway_settlement::advance::{Account, Entry, Facts, Moment, Policy, Step, advance};
use spillway_settlement::chain::{Chain, ChainView, Place, Reach};
use spillway_settlement::contract::{Balances, SpillwaySettlement, post_calldata};
use spillway_settlement::deploy::{Deployed, Mode, Plan, deploy};
use spillway_settlement::perform::perform;
use spillway_settlement::signer::PosterKey;

use crate::node::{Anvil, CHAIN_ID};

pub const WINDOW: u64 = 60;
/// Seconds in which a challenge must be answered.
pub const ANSWER_TIME: u64 = 600;

/// Steps that lead nowhere else than to rest.
const STEPS_MAX: usize = 20;

pub struct World {
    pub anvil: Anvil,
    pub deployed: Deployed,
    pub chain: Chain,
    pub key: PosterKey,
    pub owner: PrivateKeySigner,
    pub payer: PrivateKeySigner,
    /// Signs the payer's orders.
    pub order_key: PrivateKeySigner,
    pub policy: Policy,
    /// The logs as the whole poster's journal knows them.
    pub logs: Mutex<BTreeMap<u64, Entry>>,
}

/// Place on the way from Sealed to Final; Failed lies on no way.
fn place(state: SettlementState) -> Option<usize> {
    use SettlementState::{Broadcast, Final, Included, Safe, Sealed, Signed};
    [Sealed, Signed, Broadcast, Included, Safe, Final]
        .iter()
        .position(|way| *way == state)
}

impl World {
    pub async fn new(deposit_micro: u64, cap_per_day_micro: u64) -> Self {
        Self::on(Anvil::start().await, deposit_micro, cap_per_day_micro).await
    }

    pub async fn on(anvil: Anvil, deposit_micro: u64, cap_per_day_micro: u64) -> Self {
        Self::in_mode(Mode::Ledger, anvil, deposit_micro, cap_per_day_micro).await
    }

    pub async fn in_mode(mode: Mode, anvil: Anvil, deposit_micro: u64, cap_per_day_micro: u64) -> Self {
        let (owner, payer) = (anvil.account().await, anvil.account().await);
        let (signer, order_key) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        let plan = Plan {
            chain_id: CHAIN_ID,
            mode,
            poster: signer.address(),
            order_key: order_key.address(),
            deposit_micro,
            cap_per_day_micro,
            order_key_expiry: 4_000_000_000,
            window: WINDOW,
            withdraw_delay: 3600,
            answer_time: ANSWER_TIME,
        };
        let deployed = deploy(&anvil.url, plan, owner.clone(), payer.clone()).await.unwrap();
        let place = Place {
            chain_id: CHAIN_ID,
            contract: deployed.contract,
        };
        let chain = Chain::new(reach([&anvil.url]), place, signer.address()).unwrap();
        chain.check().await.unwrap();
        Self {
            anvil,
            deployed,
            chain,
            key: signer.into(),
            owner,
            payer,
            order_key,
            policy: Policy::default(),
            logs: Mutex::default(),
        }
    }

    /// The same chain by other ways.
    pub async fn through<'a>(mut self, urls: impl IntoIterator<Item = &'a String>) -> Self {
        self.chain = self.reached(urls);
        self.chain.check().await.unwrap();
        self
    }

    pub fn reached<'a>(&self, urls: impl IntoIterator<Item = &'a String>) -> Chain {
        Chain::new(reach(urls), self.chain.place, self.key.address()).unwrap()
    }

    /// A batch of `shards` shards, each worth `amount`, all earned by `provider`.
    pub fn batch(&self, sequence: u64, previous: B256, provider: Address, shards: u32, amount: u128) -> Sealed {
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
        let leaves = (0..shards).map(leaf).collect();
        seal(CHAIN_ID, self.deployed.contract, sequence, previous, leaves).unwrap()
    }

    pub fn spec(&self, sealed: &Sealed) -> SettlementSpec {
        let key = "settlements/x.json".to_owned();
        SettlementSpec::from_sealed(CHAIN_ID, self.deployed.contract, sealed, key).unwrap()
    }

    pub async fn view(&self, spec: &SettlementSpec, status: &SettlementStatus) -> ChainView {
        self.chain.view(spec, status).await
    }

    /// What would be done `waited` seconds after the last attempt was first seen.
    pub async fn decide(&self, spec: &SettlementSpec, status: &SettlementStatus, waited: u64) -> Step {
        let view = self.view(spec, status).await;
        self.decide_on(spec, status, &view, waited)
    }

    pub fn decide_on(&self, spec: &SettlementSpec, status: &SettlementStatus, view: &ChainView, waited: u64) -> Step {
        self.log(spec, status);
        let time = match view.head {
            Knowledge::Known(head) => head.timestamp,
            Knowledge::Unknown => 0,
        };
        let account = Account::of(self.key.address(), self.logs.lock().unwrap().values(), time);
        let facts = Facts {
            view,
            account: &account,
            place: &self.chain.place,
            policy: &self.policy,
            moment: &Moment {
                now: Time(Timestamp::now()),
                waited_seconds: waited,
            },
        };
        advance(spec, status, &facts)
    }

    fn log(&self, spec: &SettlementSpec, status: &SettlementStatus) {
        let mut settlement = Settlement::new("settlement", spec.clone());
        settlement.status = Some(status.clone());
        self.logs.lock().unwrap().insert(spec.sequence, Entry::of(&settlement));
    }

    /// One step; whether the log changed.
    pub async fn step(&self, spec: &SettlementSpec, status: &mut SettlementStatus, waited: u64) -> bool {
        let step = self.decide(spec, status, waited).await;
        let now = Time(Timestamp::now());
        let next = perform(&self.chain, &self.key, spec, status, step, &now).await.unwrap();
        let changed = next.is_some();
        *status = next.unwrap_or_else(|| status.clone());
        self.log(spec, status);
        changed
    }

    /// Steps until nothing changes any more; returns how many were taken.
    pub async fn settle(&self, spec: &SettlementSpec, status: &mut SettlementStatus) -> usize {
        for taken in 0..STEPS_MAX {
            if !self.step(spec, status, 0).await {
                return taken;
            }
        }
        panic!("no rest after {STEPS_MAX} steps: {status:?}");
    }

    /// Steps until `is_there`: anvil mines a moment after it takes a transaction.
    pub async fn until(
        &self,
        what: &str,
        spec: &SettlementSpec,
        status: &mut SettlementStatus,
        is_there: impl Fn(&SettlementStatus) -> bool,
    ) {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1_000 {
            ticks.tick().await;
            self.settle(spec, status).await;
            if is_there(status) {
                return;
            }
        }
        let view = self.view(spec, status).await;
        panic!("never {what}: {status:?}, {view:?}");
    }

    /// Steps until the log is at `state` or past it: anvil may mine one more block for a transaction it is given by
    /// several ways at once, and what was to be Included is then Safe.
    pub async fn reach(&self, spec: &SettlementSpec, status: &mut SettlementStatus, state: SettlementState) {
        let wanted = place(state);
        self.until(&format!("{state:?}"), spec, status, |status| {
            place(status.state) >= wanted
        })
        .await;
    }

    pub async fn posted(&self, sealed: &Sealed) -> SettlementStatus {
        let mut status = SettlementStatus::default();
        self.reach(&self.spec(sealed), &mut status, SettlementState::Included)
            .await;
        status
    }

    /// Sends from an account of anvil's, and waits until it is mined; whether it succeeded.
    pub async fn send_as(&self, from: Address, to: Address, input: Bytes) -> bool {
        let hash = self.submit_as(from, to, input).await;
        self.receipt(hash).await.status()
    }

    /// Sends from any account, without its key. With gas to spare: anvil estimates at the time of the latest block, and what
    /// is mined in the contract's next epoch takes a little more.
    pub async fn submit_as(&self, from: Address, to: Address, input: Bytes) -> B256 {
        self.anvil
            .rpc("anvil_impersonateAccount", serde_json::json!([from]))
            .await;
        let request = TransactionRequest::default()
            .from(from)
            .to(to)
            .gas_limit(1_000_000)
            .input(input.into());
        let sent = self
            .anvil
            .provider
            .raw_request("eth_sendTransaction".into(), (request,));
        sent.await.unwrap()
    }

    /// Posts without the poster, as its key.
    pub async fn post_unlogged(&self, sealed: &Sealed) -> bool {
        let input = self.post_input(sealed);
        self.send_as(self.key.address(), self.deployed.contract, input).await
    }

    pub fn post_input(&self, sealed: &Sealed) -> Bytes {
        let (debits, credits) = (sealed.debits.clone(), sealed.credits.clone());
        post_calldata(&sealed.header, debits, credits)
    }

    /// Receipt of a transaction that is about to be mined.
    pub async fn receipt(&self, hash: B256) -> TransactionReceipt {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1_000 {
            ticks.tick().await;
            if let Some(receipt) = self.anvil.provider.get_transaction_receipt(hash).await.unwrap() {
                return receipt;
            }
        }
        panic!("{hash} is never mined");
    }

    /// Mined transactions of the poster's key.
    pub async fn transactions(&self) -> u64 {
        let poster = self.key.address();
        self.anvil.provider.get_transaction_count(poster).await.unwrap()
    }

    pub async fn is_in_pool(&self, hash: &str) -> bool {
        let hash: B256 = hash.parse().unwrap();
        let found = self.anvil.provider.get_transaction_by_hash(hash).await.unwrap();
        found.is_some_and(|found| found.block_hash.is_none())
    }

    pub async fn balances(&self, account: Address) -> Balances {
        let contract = SpillwaySettlement::new(self.deployed.contract, &self.anvil.provider);
        contract.balances(account).call().await.unwrap()
    }

    pub async fn next_sequence(&self) -> u64 {
        let contract = SpillwaySettlement::new(self.deployed.contract, &self.anvil.provider);
        contract.nextSequence().call().await.unwrap()
    }

    /// Unix seconds.
    pub async fn paused_until(&self) -> u64 {
        let contract = SpillwaySettlement::new(self.deployed.contract, &self.anvil.provider);
        contract.pausedUntil().call().await.unwrap()
    }

    pub async fn coins(&self) -> U256 {
        self.anvil.provider.get_balance(self.key.address()).await.unwrap()
    }
}

/// Chains of tests stand still between transactions and go back at will.
pub fn reach<'a>(urls: impl IntoIterator<Item = &'a String>) -> Reach {
    Reach {
        urls: urls.into_iter().cloned().collect(),
        head_age_max: Duration::ZERO,
        lag: Duration::ZERO,
        requests_per_second: 2_000,
        ..Reach::default()
    }
}
