//! Real API server, real anvil, the real accrual and poster: a hub without faults shows no drift, each fault shows its
//! own, what cannot be asked shows none, and what was earned is claimed when that is worth its gas; in both modes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use alloy::providers::{Provider, ProviderBuilder};
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use spillway_bench_receipts::{chain, hub};
use spillway_core::earnings::GasShare;
use spillway_core::money::MicroUsd;
use spillway_core::reconcile::Report;
use spillway_crds::names::SYSTEM_NAMESPACE;
use spillway_crds::{Condition, Settlement, SettlementState, SpendPolicy, StoredVouchers, is_status_condition_true};
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_settlement::chain::Earned;
use spillway_settlement::claimer::{Claimer, Terms};
use spillway_settlement::claims::Claims;
use spillway_settlement::collector::Collector;
use spillway_settlement::contract::{SpillwaySettlement, Totals};
use spillway_settlement::deploy::Mode;
use spillway_settlement::payers::Payers;
use spillway_settlement::rebuild::{RebuildError, rebuild};
use spillway_settlement::reconcile::{Documents, Metrics, Reconciler};

const LIMIT: Duration = Duration::from_secs(180);
const RECEIPTS: u32 = 12;

fn anvil() -> PathBuf {
    let installed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../settlement/contracts/node_modules/.bin/anvil"
    );
    std::env::var_os("ANVIL").map_or_else(|| installed.into(), PathBuf::from)
}

struct World {
    chain: chain::Ground,
    hub: hub::Ground,
    settlements: Api<Settlement>,
    registry: prometheus::Registry,
    reconciler: Reconciler,
    plane: ControlPlane,
}

impl World {
    /// All receipts are final and marked in two batches.
    async fn settled(mode: Mode) -> Self {
        let chain = chain::Ground::start(&anvil(), mode).await.unwrap();
        let plane = ControlPlane::start().await.unwrap();
        let hub = hub::Ground::prepare(&plane, &chain, RECEIPTS, 2).await.unwrap();
        let running = hub.run(&plane, &chain, 6).await.unwrap();
        let settlements: Api<Settlement> = Api::namespaced(plane.client().await.unwrap(), SYSTEM_NAMESPACE);
        eventually("all final", LIMIT, || async {
            let listed = settlements.list(&ListParams::default()).await.ok()?;
            let done = listed.iter().filter(|one| {
                let status = one.status.clone().unwrap_or_default();
                status.state == SettlementState::Final && status.recorded
            });
            (done.map(|one| one.spec.count).sum::<u32>() == RECEIPTS).then_some(())
        })
        .await
        .unwrap();
        drop(running);
        let registry = prometheus::Registry::new();
        let reconciler = Reconciler::new(
            plane.chart_client("spillway-settlement").await.unwrap(),
            SYSTEM_NAMESPACE,
            chain.direct().unwrap(),
            Some(Documents::new(hub.objects.clone(), Path::default())),
            0,
            Metrics::new(&registry).unwrap(),
        );
        Self {
            chain,
            hub,
            settlements,
            registry,
            reconciler,
            plane,
        }
    }

    async fn compare(&mut self) -> Report {
        self.reconciler.pass(Timestamp::now()).await.unwrap()
    }

    async fn condition(&self, sequence: u64) -> Option<Condition> {
        let settlement = self.settlements.get(&format!("settlement-{sequence}")).await.unwrap();
        let conditions = settlement.status.unwrap_or_default().conditions;
        conditions.into_iter().find(|one| one.type_ == "Reconciled")
    }

    fn documents(&self) -> Documents {
        Documents::new(self.hub.objects.clone(), Path::default())
    }

    fn claims(&self) -> Claims {
        Claims::by(
            &self.chain.url,
            0,
            self.chain.place(),
            Address::ZERO,
            Some(self.documents()),
        )
        .unwrap()
    }

    async fn earned(&self, provider: Address) -> Earned {
        self.claims().of(provider).await.known().unwrap().earned
    }

    async fn collector(&self) -> Collector {
        Collector::new(
            self.plane.chart_client("spillway-collector").await.unwrap(),
            SYSTEM_NAMESPACE,
            self.chain.direct().unwrap(),
            self.documents(),
            self.chain.url.clone(),
            self.chain.poster.clone(),
        )
    }

    async fn totals(&self) -> Totals {
        let node = ProviderBuilder::new().connect_http(self.chain.url.parse().unwrap());
        let contract = SpillwaySettlement::new(self.chain.deployed.contract, node);
        contract.totals().call().await.unwrap()
    }

    /// Until everything that was posted has matured, and that block is final.
    async fn pass_windows(&self) {
        let node = ProviderBuilder::new().connect_http(self.chain.url.parse().unwrap());
        let _: serde_json::Value = node.raw_request("evm_increaseTime".into(), (200,)).await.unwrap();
        let _: serde_json::Value = node.raw_request("anvil_mine".into(), (3,)).await.unwrap();
    }

    fn drifts(&self) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|one| one.name() == "spillway_settlement_drifts");
        family
            .unwrap()
            .get_metric()
            .iter()
            .map(|metric| metric.get_gauge().get_value())
            .sum()
    }
}

fn names(report: &Report) -> Vec<&'static str> {
    report.drifts.iter().map(|drift| drift.meaning().name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drift_is_found_told_and_taken_back_and_never_mended() {
    let mut world = World::settled(Mode::Ledger).await;
    let clean = world.compare().await;
    assert_eq!((names(&clean), clean.unknown.as_slice()), (vec![], &[] as &[String]));
    assert_eq!(
        (clean.compared.posted, clean.compared.receipts, clean.compared.documents),
        (2, RECEIPTS as usize, 2)
    );
    assert!(
        world.condition(1).await.is_none(),
        "agreement is not written everywhere"
    );

    payers_facts_are_those_of_the_contract(&world).await;
    a_document_goes_and_comes_back(&mut world).await;

    // A Settlement goes: the chain still knows of it, and the jobs that it paid do too.
    let lost = world.settlements.get("settlement-2").await.unwrap();
    world
        .settlements
        .delete("settlement-2", &DeleteParams::default())
        .await
        .unwrap();
    let found = names(&world.compare().await);
    assert!(found.contains(&"NoObject"), "{found:?}");

    a_silent_chain_is_no_drift(&world).await;
    a_lost_settlement_is_made_again(&mut world, lost).await;
}

/// From the leaves document, and without one from the calldata of its post.
async fn a_lost_settlement_is_made_again(world: &mut World, lost: Settlement) {
    let chain = world.chain.direct().unwrap();
    chain.check().await.unwrap();
    let (documents, empty) = (
        world.documents(),
        Documents::new(Arc::new(InMemory::new()), Path::default()),
    );
    for source in [Some(&documents), Some(&empty), None] {
        assert_eq!(rebuild(&chain, source, 2).await.unwrap(), lost.spec);
    }
    let never = rebuild(&chain, Some(&documents), 3).await.unwrap_err();
    assert!(matches!(never, RebuildError::NotPosted), "{never}");

    let again = Settlement::new("settlement-2", rebuild(&chain, None, 2).await.unwrap());
    world.settlements.create(&PostParams::default(), &again).await.unwrap();
    assert_eq!(names(&world.compare().await), [] as [&str; 0]);
    // The processes go on from there.
    let running = world.hub.run(&world.plane, &world.chain, 6).await.unwrap();
    eventually("final and recorded again", LIMIT, || async {
        let status = world.settlements.get("settlement-2").await.ok()?.status?;
        (status.state == SettlementState::Final && status.recorded).then_some(())
    })
    .await
    .unwrap();
    drop(running);
    assert_eq!(names(&world.compare().await), [] as [&str; 0]);
}

async fn payers_facts_are_those_of_the_contract(world: &World) {
    let process = world.plane.chart_client("spillway-settlement").await.unwrap();
    Payers::new(process, world.chain.direct().unwrap())
        .pass(Timestamp::now())
        .await
        .unwrap();
    let policies: Api<SpendPolicy> = Api::all(world.plane.client().await.unwrap());
    let said = policies.get("bench").await.unwrap().status.unwrap();
    let facts = said.chain.unwrap();
    assert_eq!(facts.payer, world.chain.deployed.payer.to_string());
    let spent: u64 = world
        .settlements
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(|one| one.spec.total_micro)
        .sum();
    assert_eq!(
        (facts.spent_today_micro, facts.deposit_micro),
        (spent, chain::DEPOSIT - spent)
    );
    assert!(is_status_condition_true(&said.conditions, "Payable"), "left alone");
}

async fn a_document_goes_and_comes_back(world: &mut World) {
    let settlement = world.settlements.get("settlement-1").await.unwrap();
    let key = Path::from(settlement.spec.data_key.as_str());
    let document = world.hub.objects.get(&key).await.unwrap().bytes().await.unwrap();
    world.hub.objects.delete(&key).await.unwrap();
    assert_eq!(names(&world.compare().await), ["DocumentMissing"]);
    let told = world.condition(1).await.unwrap();
    assert_eq!(
        (told.status.as_str(), told.reason.as_str()),
        ("False", "DocumentMissing")
    );
    assert!(world.drifts() > 0.5);
    assert!(world.hub.objects.get(&key).await.is_err(), "nothing is mended");
    world.hub.objects.put(&key, document.into()).await.unwrap();
    assert!(world.compare().await.drifts.is_empty());
    assert_eq!(world.condition(1).await.unwrap().reason, "Agree");
    assert!(world.drifts() < 0.5);
}

async fn a_silent_chain_is_no_drift(world: &World) {
    let silent = world.chain.reach("http://127.0.0.1:9").unwrap();
    let mut blind = Reconciler::new(
        world.plane.chart_client("spillway-settlement").await.unwrap(),
        SYSTEM_NAMESPACE,
        silent,
        None,
        0,
        Metrics::new(&prometheus::Registry::new()).unwrap(),
    );
    let report = blind.pass(Timestamp::now()).await.unwrap();
    assert!(
        !names(&report).contains(&"NoObject") && !report.unknown.is_empty(),
        "{report:?}"
    );
    assert_eq!(
        world.condition(1).await.unwrap().status,
        "False",
        "what was found stays while the chain is silent"
    );
}

/// One claimer, told what a coin costs.
fn claimer(world: &World, provider: Address, coin: u64) -> Claimer {
    Claimer {
        claims: world.claims(),
        rpc_url: world.chain.url.clone(),
        provider,
        signer: world.chain.poster.clone(),
        terms: Terms {
            coin: MicroUsd(coin),
            share: GasShare::default(),
        },
        every: Duration::from_secs(1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matured_is_claimed_when_it_is_worth_its_gas() {
    let world = World::settled(Mode::Ledger).await;
    let provider = hub::payout(0);
    assert_eq!(
        claimer(&world, provider, 1).pass().await.unwrap(),
        None,
        "nothing has matured"
    );
    world.pass_windows().await;
    let matured = world.earned(provider).await;
    assert!(matured.claimable > 0 && matured.in_window == 0);
    let dear = claimer(&world, provider, 3_000_000_000_000_000).pass().await.unwrap();
    assert_eq!(dear, None, "gas would take it all");
    let paid = claimer(&world, provider, 1).pass().await.unwrap().unwrap();
    assert_eq!(paid.paid_micro, matured.claimable);
    assert_eq!(world.earned(provider).await.claimed, matured.claimable);
}

/// Root mode from accepted receipts to money: batches are roots, payers pay by vouchers, providers claim with proofs.
#[tokio::test(flavor = "multi_thread")]
async fn in_root_mode_vouchers_are_collected_and_every_provider_is_paid_to_the_unit() {
    let mut world = World::settled(Mode::Root).await;
    let clean = world.compare().await;
    assert_eq!((names(&clean), clean.unknown.as_slice()), (vec![], &[] as &[String]));
    let total: u128 = world.totals().await.cumulative.into();
    assert!(total > 0);

    world.pass_windows().await;
    let before = world.earned(hub::payout(0)).await;
    assert!(
        before.claimable == 0 && before.in_window > 0,
        "no voucher brought anything"
    );
    an_altered_voucher_brings_nothing(&world).await;
    let mut seldom = world.collector().await;
    assert!(seldom.check().await.unwrap_err().to_string().contains("every 900 s"));
    seldom.every = Duration::from_secs(900);
    seldom.check().await.unwrap();
    assert_eq!(world.collector().await.pass().await.unwrap(), total);
    assert_eq!(world.collector().await.pass().await.unwrap(), 0, "once");

    let mut paid = 0;
    for provider in [hub::payout(0), hub::payout(1)] {
        let earned = world.earned(provider).await;
        assert!(earned.claimable > 0 && earned.in_window == 0, "{earned:?}");
        let claimed = claimer(&world, provider, 1).pass().await.unwrap().unwrap();
        assert_eq!(claimed.paid_micro, earned.claimable);
        assert_eq!(claimer(&world, provider, 1).pass().await.unwrap(), None, "once");
        paid += claimed.paid_micro;
    }
    assert_eq!(paid, total);
    let totals = world.totals().await;
    assert_eq!((u128::from(totals.collected), u128::from(totals.paid)), (total, total));
    assert_eq!(names(&world.compare().await), [] as [&str; 0]);
}

/// A signature of somebody else: the contract refuses it, and nobody is the poorer.
async fn an_altered_voucher_brings_nothing(world: &World) {
    let newest = world.settlements.get("settlement-2").await.unwrap();
    let key = Path::from(StoredVouchers::key(&newest.spec.header_hash));
    let stored = world.hub.objects.get(&key).await.unwrap().bytes().await.unwrap();
    let mut altered: StoredVouchers = serde_json::from_slice(&stored).unwrap();
    altered.vouchers[0].cumulative_micro += 1;
    let altered = serde_json::to_vec(&altered).unwrap();
    world.hub.objects.put(&key, altered.into()).await.unwrap();
    assert_eq!(world.collector().await.pass().await.unwrap(), 0);
    assert_eq!(world.totals().await.collected, 0);
    world.hub.objects.put(&key, stored.into()).await.unwrap();
}
