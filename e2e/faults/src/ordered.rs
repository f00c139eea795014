//! Batches of which every line was really ordered: signed orders, stored as the hub stores them, and a shower of orders
//! that reads them.

use std::sync::Arc;

use alloy::primitives::{Address, B256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use spillway_core::batch::{Leaf, Sealed, seal, seal_root};
use spillway_core::order::{Kind, Order, domain, job_id};
use spillway_crds::{AttemptKind, Receipt, SettlementSpec, SignedOrder, StoredReceipt};
use spillway_settlement::orders::{Evidence, OrderShower};
use spillway_settlement::reconcile::Documents;

use crate::ground::{Ground, PROVIDER};
use crate::node::CHAIN_ID;
use crate::world::World;

/// The hub's object store.
#[derive(Clone, Default)]
pub struct Store(Arc<InMemory>);

impl Store {
    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.0.put(&Path::from(key), bytes.into()).await.unwrap();
    }

    /// As the settlement process reads it.
    pub fn documents(&self) -> Documents {
        let objects: Arc<dyn ObjectStore> = self.0.clone();
        Documents::new(objects, Path::default())
    }

    /// As somebody deletes what must never be deleted.
    pub async fn lose(&self, key: &str) {
        self.0.delete(&Path::from(key)).await.unwrap();
    }
}

pub fn uid(sequence: u64) -> String {
    format!("job-{sequence}")
}

/// A line that was really ordered; amounts are micro-USD.
#[derive(Clone, Copy)]
pub struct Ordered {
    /// Sequence whose job it is of, see [`uid`].
    pub job: u64,
    pub shard: u32,
    pub attempt: u16,
    pub provider: Address,
    /// What is paid, and what the order allows.
    pub amount: u64,
    pub upper_bound: u64,
    /// By the payer's order key; otherwise by one that nobody knows.
    pub is_signed: bool,
}

/// Lines of [`PROVIDER`] with nothing wrong.
fn good_lines(job: u64, shards: u32, amount: u64) -> impl Iterator<Item = Ordered> {
    (0..shards).map(move |shard| Ordered {
        job,
        shard,
        attempt: 0,
        provider: PROVIDER,
        amount,
        upper_bound: amount,
        is_signed: true,
    })
}

/// An order as the operator signs it.
fn order(world: &World, line: Ordered) -> SignedOrder {
    let order = Order {
        job: job_id(&uid(line.job)),
        shard: line.shard,
        attempt: line.attempt,
        kind: Kind::Work.code(),
        payer: world.deployed.payer,
        provider: line.provider,
        unitPrice: 3_600_000,
        upperBound: line.upper_bound.into(),
        expiry: 4_000_000_000,
    };
    let digest = order.signing_hash(&domain(CHAIN_ID, world.deployed.contract));
    let stranger = PrivateKeySigner::random();
    let key = if line.is_signed { &world.order_key } else { &stranger };
    let signature = key.sign_hash_sync(&digest).unwrap();
    SignedOrder::new(CHAIN_ID, world.deployed.contract, &order, &signature.as_bytes()).unwrap()
}

fn receipt() -> Receipt {
    let digest = format!("sha256:{}", "0".repeat(64));
    Receipt {
        input_digest: digest.clone(),
        output_digest: digest,
        output_bytes: 1,
        requests: 1,
        failed_requests: 0,
        started: 1,
        finished: 2,
        metered_millis: 1000,
        prompt_tokens: 1,
        completion_tokens: 1,
        signature: format!("0x{}", "0".repeat(130)),
    }
}

impl Ground<'_> {
    /// Seals a batch of `shards` ordered shards as accrual does: receipts, document, then the Settlement.
    pub async fn seal_ordered(&self, store: &Store, sequence: u64, previous: B256, shards: u32, amount: u64) -> Sealed {
        let leaves = self.order(store, good_lines(sequence, shards, amount)).await;
        let sealed = seal(CHAIN_ID, self.world.deployed.contract, sequence, previous, leaves).unwrap();
        self.publish(store, &sealed).await;
        sealed
    }

    /// The same in root mode, after `previous`.
    pub async fn seal_ordered_root(
        &self,
        store: &Store,
        previous: Option<&Sealed>,
        shards: u32,
        amount: u64,
    ) -> Sealed {
        let (sequence, hash) = previous.map_or((1, B256::ZERO), |one| (one.header.sequence + 1, one.header_hash));
        let before = previous.and_then(|one| one.totals.clone()).unwrap_or_default();
        let leaves = self.order(store, good_lines(sequence, shards, amount)).await;
        let contract = self.world.deployed.contract;
        let sealed = seal_root(CHAIN_ID, contract, sequence, hash, &before, leaves).unwrap();
        self.publish(store, &sealed).await;
        sealed
    }

    /// Stores orders and receipts; their leaves.
    pub async fn order(&self, store: &Store, lines: impl IntoIterator<Item = Ordered>) -> Vec<Leaf> {
        let mut leaves = vec![];
        for line in lines {
            let stored = StoredReceipt {
                version: StoredReceipt::VERSION,
                job_uid: uid(line.job),
                shard: line.shard,
                attempt: line.attempt,
                kind: AttemptKind::Work,
                provider: "one".to_owned(),
                order: order(&self.world, line),
                receipt: receipt(),
                amount_micro: line.amount,
            };
            leaves.push(stored.leaf(CHAIN_ID, self.world.deployed.contract).unwrap());
            let key = StoredReceipt::key(&uid(line.job), line.shard, line.attempt);
            store.put(&key, serde_json::to_vec(&stored).unwrap()).await;
        }
        leaves
    }

    /// Stores a batch's document, then its Settlement, whatever they say.
    pub async fn publish(&self, store: &Store, sealed: &Sealed) {
        let key = format!("settlements/{}.json", keccak256(&sealed.document));
        store.put(&key, sealed.document.clone()).await;
        let spec = SettlementSpec::from_sealed(CHAIN_ID, self.world.deployed.contract, sealed, key).unwrap();
        self.store_spec(sealed.header.sequence, spec).await;
    }

    /// As `main` makes it.
    pub fn order_shower(&self, store: &Store, signer: PrivateKeySigner) -> OrderShower {
        let evidence = Evidence::new(store.documents());
        let (url, chain) = (&self.world.anvil.url, self.world.reached([&self.world.anvil.url]));
        OrderShower::new(
            self.client.clone(),
            &self.namespace,
            chain,
            url.clone(),
            signer,
            evidence,
        )
    }
}

/// Mints what a challenger needs and lets the disputes contract take it.
pub async fn endow(world: &World, challenger: Address) {
    use alloy::primitives::U256;
    use alloy::sol_types::SolCall;
    use spillway_settlement::contract::TestToken;

    let amount = U256::from(100_000_000_u64);
    let (token, disputes) = (world.deployed.token, world.deployed.disputes);
    let mint = TestToken::mintCall { to: challenger, amount }.abi_encode();
    let approve = TestToken::approveCall {
        spender: disputes,
        value: amount,
    }
    .abi_encode();
    assert!(world.send_as(challenger, token, mint.into()).await);
    assert!(world.send_as(challenger, token, approve.into()).await);
}
