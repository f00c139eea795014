//! Tables for each exclusion, properties for scores and rankings.

mod estimate;
mod share;
mod smallest_change;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::knowledge::Knowledge;
use crate::latency::HUB;
use crate::memory::Bytes;
use crate::money::{MicroUsd, UnitPrice};
use crate::reputation::Reputation;

const GIB: u64 = 1 << 30;

fn latency_to(location: &str, p95: u64) -> Latencies {
    let figure = LatencyMicros {
        p95,
        ..LatencyMicros::default()
    };
    std::iter::once((location.to_owned(), figure)).collect()
}

fn offer(node: &str) -> Offer {
    Offer {
        node: node.to_owned(),
        provider: format!("owner-of-{node}"),
        host: "host".to_owned(),
        class: ProviderClass::Decentralized,
        region: "eu-west".to_owned(),
        jurisdiction: Some("DE".to_owned()),
        isolation: Isolation::Standard,
        qualified: Knowledge::Unknown,
        stake_headroom: Knowledge::Unknown,
        product: "NVIDIA-L4".to_owned(),
        gpu_memory: Bytes(24 * GIB),
        compute_capability: Knowledge::Known(ComputeCapability { major: 8, minor: 9 }),
        gpus_total: 4,
        gpus_free: 2,
        price: UnitPrice(900_000),
        start_time: None,
        revision: 1,
        latencies: latency_to(HUB, 9_000),
        reputation: Reputation::of(10, 0),
        available: true,
    }
}

fn requirement() -> Requirement {
    Requirement {
        gpus: 1,
        models: Vec::new(),
        min_memory: None,
        min_compute_capability: None,
        classes: Vec::new(),
        regions: Vec::new(),
        jurisdictions: Vec::new(),
        latency_to: HUB.to_owned(),
        max_latency_p95: None,
        max_price: UnitPrice(1_200_000),
        data_class: DataClass::Public,
        isolation: Isolation::Standard,
        min_reputation: None,
        work_time: Duration::from_secs(900),
        excluded_providers: BTreeSet::new(),
    }
}

/// One change of the requirement or of the offer, and the reason that it must give.
type Case = (&'static str, fn(&mut Requirement, &mut Offer));

const CASES: &[Case] = &[
    ("DataClass", |need, _| need.data_class = DataClass::Internal),
    ("DataClass", |need, offer| {
        (need.data_class, offer.class) = (DataClass::Restricted, ProviderClass::Cloud)
    }),
    ("Class", |need, _| {
        need.classes = vec![ProviderClass::Private, ProviderClass::Cloud]
    }),
    ("Isolation", |need, _| need.isolation = Isolation::Sandboxed),
    ("Isolation", |need, offer| {
        (need.isolation, offer.isolation) = (Isolation::Confidential, Isolation::Sandboxed);
    }),
    ("Unqualified", |_, offer| offer.qualified = Knowledge::Known(false)),
    ("Region", |need, _| need.regions = vec!["eu".to_owned()]),
    ("Jurisdiction", |need, _| need.jurisdictions = vec!["FR".to_owned()]),
    ("JurisdictionUnknown", |need, offer| {
        (need.jurisdictions, offer.jurisdiction) = (vec!["DE".to_owned()], None);
    }),
    ("Model", |need, _| need.models = vec!["NVIDIA-H100".to_owned()]),
    ("Model", |need, offer| {
        need.models = vec!["NVIDIA-L4".to_owned()];
        offer.product = "NVIDIA-L4-SHARED".to_owned();
    }),
    ("SharedGpu", |_, offer| offer.product = "NVIDIA-L4-SHARED".to_owned()),
    ("Memory", |need, _| need.min_memory = Some(Bytes(24 * GIB + 1))),
    ("ComputeCapability", |need, _| {
        need.min_compute_capability = "8.10".parse().ok()
    }),
    ("ComputeCapabilityUnknown", |need, offer| {
        need.min_compute_capability = "7.0".parse().ok();
        offer.compute_capability = Knowledge::Unknown;
    }),
    ("HostTooSmall", |need, _| need.gpus = 5),
    ("OwnerExcluded", |need, offer| {
        need.excluded_providers.insert(offer.provider.clone());
    }),
    ("Price", |need, _| need.max_price = UnitPrice(899_999)),
    ("Reputation", |need, _| need.min_reputation = Some(7_700)),
    ("ReputationUnknown", |need, offer| {
        (need.min_reputation, offer.reputation) = (Some(0), Knowledge::Unknown);
    }),
    // 0.90 per GPU-hour for a quarter of an hour.
    ("StakeHeadroom", |_, offer| {
        offer.stake_headroom = Knowledge::Known(MicroUsd(224_999))
    }),
    ("Latency", |need, _| need.max_latency_p95 = Some(8_999)),
    ("LatencyUnknown", |need, offer| {
        (need.max_latency_p95, offer.latencies) = (Some(u64::MAX), Latencies::default());
    }),
    ("LatencyUnknown", |need, _| {
        (need.max_latency_p95, need.latency_to) = (Some(u64::MAX), "elsewhere".to_owned());
    }),
    ("Unavailable", |_, offer| offer.available = false),
    ("NoFreeGpus", |need, _| need.gpus = 3),
];

#[test]
fn each_missed_need_gives_its_reason() {
    assert_eq!(exclude(&requirement(), &offer("a")), None);
    for (reason, change) in CASES {
        let (mut requirement, mut offer) = (requirement(), offer("a"));
        change(&mut requirement, &mut offer);
        let actual = exclude(&requirement, &offer).map(|exclusion| exclusion.reason());
        assert_eq!(actual, Some(*reason));
    }
}

#[test]
fn a_met_need_excludes_nothing() {
    let mut need = requirement();
    need.gpus = 2;
    need.models = vec!["NVIDIA-L4".to_owned()];
    need.min_memory = Some(Bytes(24 * GIB));
    need.min_compute_capability = "8.9".parse().ok();
    need.classes = vec![ProviderClass::Decentralized];
    need.regions = vec!["eu-west".to_owned()];
    need.jurisdictions = vec!["DE".to_owned()];
    need.max_latency_p95 = Some(9_000);
    need.max_price = UnitPrice(900_000);
    need.min_reputation = Some(7_600);
    let mut met = offer("a");
    met.qualified = Knowledge::Known(true);
    met.stake_headroom = Knowledge::Known(MicroUsd(450_000));
    assert_eq!(exclude(&need, &met), None);
    (need.isolation, met.isolation) = (Isolation::Sandboxed, Isolation::Confidential);
    assert_eq!(exclude(&need, &met), None);
}

#[test]
fn data_class_decides_how_far_data_travels() {
    use ProviderClass::{Cloud, Decentralized, Private};
    let allowed = |data: DataClass| [Private, Cloud, Decentralized].map(|class| data.allows(class));
    assert_eq!(allowed(DataClass::Public), [true, true, true]);
    assert_eq!(allowed(DataClass::Internal), [true, true, false]);
    assert_eq!(allowed(DataClass::Restricted), [true, false, false]);
}

#[test]
fn explicit_classes_never_widen_the_data_class() {
    let mut need = requirement();
    need.data_class = DataClass::Restricted;
    need.classes = vec![ProviderClass::Decentralized];
    assert_eq!(
        exclude(&need, &offer("a")).map(|exclusion| exclusion.reason()),
        Some("DataClass")
    );
}

#[test]
fn explains_in_plain_words() {
    let mut need = requirement();
    need.min_memory = Some(Bytes(24 * GIB));
    need.max_latency_p95 = Some(80_000);
    let dear = |node| Offer {
        price: UnitPrice(2_000_000),
        ..offer(node)
    };
    let offers = [
        dear("a"),
        dear("b"),
        dear("c"),
        Offer {
            gpu_memory: Bytes(16 * GIB),
            ..offer("d")
        },
        Offer {
            gpu_memory: Bytes(16 * GIB),
            ..offer("e")
        },
        Offer {
            latencies: Latencies::default(),
            ..offer("f")
        },
    ];
    let ranking = rank(&need, &Weights::of(Policy::Balanced), &offers);
    let expected = "0 of 6 offers fit: 3 over the price cap of 1.20 per GPU-hour, 2 below 24Gi of GPU memory, 1 of unknown latency";
    assert_eq!(ranking.explain(), expected);
    assert_eq!(
        ranking.excluded_by_reason().into_iter().collect::<Vec<_>>(),
        [
            ("LatencyUnknown".to_owned(), 1),
            ("Memory".to_owned(), 2),
            ("Price".to_owned(), 3)
        ]
    );
    assert_eq!(
        Ranking::default().explain(),
        "there are no offers: no provider offers GPUs"
    );
}

#[test]
fn a_decision_names_its_terms() {
    let newcomer = Offer {
        reputation: Knowledge::Unknown,
        ..offer("a")
    };
    let slow = Offer {
        latencies: Latencies::default(),
        price: UnitPrice(1_100_000),
        ..offer("b")
    };
    let ranking = rank(&requirement(), &Weights::of(Policy::Cost), &[slow, newcomer]);
    let decision = "price 0.90, latency 9 ms, reputation unknown, score 0.51, best of 2";
    assert_eq!(ranking.decision("a").as_deref(), Some(decision));
    let decision = "price 1.10, latency unknown, reputation 0.76, score 0.49, number 2 of 2";
    assert_eq!(ranking.decision("b").as_deref(), Some(decision));
    assert_eq!(ranking.decision("c"), None);
    assert_eq!(ranking.dearest(1), Some(UnitPrice(900_000)));
    assert_eq!(ranking.dearest(16), Some(UnitPrice(1_100_000)));
}

#[test]
fn the_policy_decides_between_cheap_and_near() {
    let cheap = Offer {
        latencies: latency_to(HUB, 300_000),
        ..offer("cheap")
    };
    let near = Offer {
        price: UnitPrice(1_100_000),
        ..offer("near")
    };
    let best = |policy| {
        rank(&requirement(), &Weights::of(policy), &[cheap.clone(), near.clone()]).candidates[0]
            .node
            .clone()
    };
    assert_eq!(best(Policy::Cost), "cheap");
    assert_eq!(best(Policy::Latency), "near");
}

#[test]
fn near_the_user_means_the_location_that_the_job_names() {
    let near = |node, hub, user| Offer {
        latencies: [(HUB, hub), ("paris", user)]
            .map(|(location, p95)| {
                (
                    location.to_owned(),
                    LatencyMicros {
                        p95,
                        ..Default::default()
                    },
                )
            })
            .into_iter()
            .collect(),
        ..offer(node)
    };
    let offers = [near("hub", 1_000, 90_000), near("user", 90_000, 1_000)];
    let ranked = |to: &str, bound| {
        let need = Requirement {
            latency_to: to.to_owned(),
            max_latency_p95: bound,
            ..requirement()
        };
        let ranking = rank(&need, &Weights::of(Policy::Latency), &offers);
        let nodes = ranking.candidates.into_iter().map(|candidate| candidate.node);
        nodes.collect::<Vec<String>>()
    };
    assert_eq!(ranked(HUB, None), ["hub", "user"]);
    assert_eq!(ranked("paris", None), ["user", "hub"]);
    assert_eq!(ranked("paris", Some(80_000)), ["user"]);
    assert!(ranked("tokyo", Some(80_000)).is_empty());
}

#[test]
fn unknown_is_pessimistic() {
    let unmeasured = Offer {
        latencies: Latencies::default(),
        ..offer("a")
    };
    assert!(
        (Terms::of(&requirement(), &Weights::of(Policy::Cost), &unmeasured).latency - UNKNOWN_LATENCY_TERM).abs()
            < 1e-12
    );
    // One accepted check is worth more than none.
    let checked = Reputation::of(1, 0).known().unwrap().lower_bound();
    assert!(checked > UNKNOWN_REPUTATION_TERM);
}

#[test]
fn compute_capabilities_are_ordered_as_numbers() {
    let parse = |text: &str| text.parse::<ComputeCapability>();
    assert!(parse("8.10").unwrap() > parse("8.9").unwrap());
    assert_eq!(parse("8.9").unwrap().to_string(), "8.9");
    for text in ["", "8", "8.", ".9", "8.9.1", "+8.9", "8.-1", "300.0", "a.b"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

fn any_latency() -> impl Strategy<Value = Latencies> {
    option::of(any::<u64>()).prop_map(|p95| p95.map_or_else(Latencies::default, |p95| latency_to(HUB, p95)))
}

fn any_reputation() -> impl Strategy<Value = Knowledge<Reputation>> {
    (0..1_000_u64, 0..1_000_u64).prop_map(|(accepted, rejected)| Reputation::of(accepted, rejected))
}

fn any_price() -> impl Strategy<Value = UnitPrice> {
    prop_oneof![0..3_000_000_u64, any::<u64>()].prop_map(UnitPrice)
}

fn any_class() -> impl Strategy<Value = ProviderClass> {
    select(vec![
        ProviderClass::Private,
        ProviderClass::Cloud,
        ProviderClass::Decentralized,
    ])
}

prop_compose! {
    fn any_offer()(
        node in "[a-d]{1,2}",
        provider in "[p-r]",
        class in any_class(),
        region in select(vec!["eu", "us"]),
        jurisdiction in option::of(select(vec!["DE", "US"])),
        gib in select(vec![16_u64, 24, 80]),
        (gpus_total, gpus_free) in (0..9_u32, 0..9_u32),
        price in any_price(),
        latencies in any_latency(),
        reputation in any_reputation(),
        available in any::<bool>(),
    ) -> Offer {
        Offer {
            class, gpus_total, gpus_free, price, latencies, reputation, available,
            provider,
            region: region.to_owned(),
            jurisdiction: jurisdiction.map(str::to_owned),
            gpu_memory: Bytes(gib * GIB),
            ..offer(&node)
        }
    }
}

prop_compose! {
    fn any_requirement()(
        gpus in 0..4_u32,
        min_memory in option::of(select(vec![Bytes(16 * GIB), Bytes(40 * GIB)])),
        classes in vec(any_class(), 0..3),
        regions in vec(select(vec!["eu".to_owned(), "us".to_owned()]), 0..2),
        jurisdictions in vec(select(vec!["DE".to_owned(), "US".to_owned()]), 0..2),
        max_latency_p95 in option::of(any::<u64>()),
        max_price in any_price(),
        data_class in select(vec![DataClass::Public, DataClass::Internal, DataClass::Restricted]),
        excluded_providers in option::of("[p-r]"),
    ) -> Requirement {
        Requirement {
            gpus, min_memory, classes, regions, jurisdictions, max_latency_p95, max_price, data_class,
            excluded_providers: excluded_providers.into_iter().collect(),
            ..requirement()
        }
    }
}

/// Of a policy or custom, exploring or not.
fn any_weights() -> impl Strategy<Value = Weights> {
    let policies = select(vec![Policy::Cost, Policy::Latency, Policy::Balanced]).prop_map(Weights::of);
    let custom = (0..=100_u32, 0..=100_u32, 0..=100_u32).prop_filter_map("all 0", |(price, latency, reputation)| {
        Weights::relative(price, latency, reputation)
    });
    (prop_oneof![policies, custom], 0..40_u32).prop_map(|(weights, shard)| weights.for_attempt("uid", shard, 0))
}

proptest! {
    #[test]
    fn scores_are_numbers_between_zero_and_one(need in any_requirement(), weights in any_weights(), offer in any_offer()) {
        let score = score(&need, &weights, &offer);
        prop_assert!((0.0..=1.0).contains(&score), "{score}");
        let terms = Terms::of(&need, &weights, &offer);
        for term in [terms.price, terms.latency, terms.reputation] {
            prop_assert!((0.0..=1.0).contains(&term), "{terms:?}");
        }
    }

    #[test]
    fn a_lower_price_never_lowers_the_score(need in any_requirement(), weights in any_weights(), offer in any_offer(), other in any_price()) {
        let cheaper = Offer { price: offer.price.min(other), ..offer.clone() };
        prop_assert!(score(&need, &weights, &cheaper) >= score(&need, &weights, &offer));
    }

    #[test]
    fn a_lower_latency_never_lowers_the_score(need in any_requirement(), weights in any_weights(), offer in any_offer(), p95: (u64, u64)) {
        let with = |p95| Offer { latencies: latency_to(HUB, p95), ..offer.clone() };
        let (near, far) = (with(p95.0.min(p95.1)), with(p95.0.max(p95.1)));
        prop_assert!(score(&need, &weights, &near) >= score(&need, &weights, &far));
    }

    #[test]
    fn one_more_accepted_check_never_lowers_the_score(
        need in any_requirement(), weights in any_weights(), offer in any_offer(), accepted in 0..500_u64, rejected in 0..500_u64,
    ) {
        let with = |accepted, rejected| Offer { reputation: Reputation::of(accepted, rejected), ..offer.clone() };
        let (before, better) = (score(&need, &weights, &with(accepted, rejected)), score(&need, &weights, &with(accepted + 1, rejected)));
        prop_assert!(better >= before);
        prop_assert!(score(&need, &weights, &with(accepted, rejected + 1)) <= before);
    }

    #[test]
    fn a_cheaper_equal_offer_never_loses(need in any_requirement(), weights in any_weights(), offer in any_offer(), others in vec(any_offer(), 0..6), other in any_price()) {
        // The dearer one has every other advantage left: its name comes first.
        let dear = Offer { node: "0".to_owned(), price: offer.price.max(other), ..offer.clone() };
        let cheap = Offer { node: "zz".to_owned(), price: offer.price.min(other), ..offer };
        prop_assume!(cheap.price < dear.price);
        let mut offers = others;
        offers.extend([dear, cheap]);
        let ranking = rank(&need, &weights, &offers);
        let place = |node: &str| ranking.candidates.iter().position(|candidate| candidate.node == node);
        if let Some(dear) = place("0") {
            prop_assert!(place("zz").is_some_and(|cheap| cheap < dear));
        }
    }

    #[test]
    fn every_offer_is_either_a_candidate_or_counted(need in any_requirement(), weights in any_weights(), offers in vec(any_offer(), 0..12)) {
        let ranking = rank(&need, &weights, &offers);
        let fitting = offers.iter().filter(|offer| exclude(&need, offer).is_none()).count();
        prop_assert_eq!(ranking.candidates.len(), fitting);
        prop_assert_eq!(ranking.excluded.values().sum::<u32>() as usize, offers.len() - fitting);
        prop_assert_eq!(ranking.offers as usize, offers.len());
    }

    #[test]
    fn no_candidate_misses_a_hard_need(need in any_requirement(), weights in any_weights(), offers in vec(any_offer(), 0..12)) {
        for candidate in rank(&need, &weights, &offers).candidates {
            let matching = offers.iter().filter(|offer| offer.node == candidate.node && offer.provider == candidate.provider);
            prop_assert!(matching.clone().any(|offer| offer.available && offer.price <= need.max_price && offer.gpus_free >= need.gpus));
            prop_assert!(!need.excluded_providers.contains(&candidate.provider));
        }
    }

    #[test]
    fn the_order_of_offers_does_not_matter(need in any_requirement(), weights in any_weights(), offers in vec(any_offer(), 0..12).prop_shuffle()) {
        // Nodes are unique in the market.
        let unique: std::collections::BTreeMap<_, _> = offers.into_iter().map(|offer| (offer.node.clone(), offer)).collect();
        let forward: Vec<Offer> = unique.values().cloned().collect();
        let backward: Vec<Offer> = unique.values().rev().cloned().collect();
        let ranking = rank(&need, &weights, &forward);
        prop_assert_eq!(&ranking, &rank(&need, &weights, &backward));
        prop_assert!(ranking.candidates.windows(2).all(|pair| pair[0].score >= pair[1].score));
        prop_assert!(!ranking.explain().is_empty());
    }

    #[test]
    fn the_first_offers_stand_as_ranked(need in any_requirement(), weights in any_weights(), offers in vec(any_offer(), 0..12), most in 0..14_usize) {
        let fitting: Vec<&Offer> = offers.iter().filter(|offer| exclude(&need, offer).is_none()).collect();
        let sorted = best_offers_first(&need, &weights, fitting, most);
        let sorted: Vec<&str> = sorted.into_iter().map(|offer| offer.node.as_str()).collect();
        let ranking = rank(&need, &weights, &offers);
        let ranked: Vec<&str> = ranking.candidates.iter().take(most).map(|candidate| candidate.node.as_str()).collect();
        prop_assert_eq!(sorted, ranked);
    }
}

mod optimum;

#[test]
fn the_cap_does_not_change_the_order() {
    let cheap = Offer {
        price: UnitPrice(800_000),
        reputation: Knowledge::Unknown,
        ..offer("cheap")
    };
    let offers = [offer("dear"), cheap];
    for cap in [900_000, 1_200_000, 50_000_000] {
        let need = Requirement {
            max_price: UnitPrice(cap),
            ..requirement()
        };
        for policy in [Policy::Cost, Policy::Latency, Policy::Balanced] {
            let weights = Weights::of(policy);
            let nodes = |need| rank(need, &weights, &offers).candidates.into_iter().map(|one| one.node);
            assert!(nodes(&need).eq(nodes(&requirement())), "{cap} {policy:?}");
        }
    }
}

#[test]
fn the_start_of_an_elastic_host_is_paid() {
    let start = |minutes: u64| Offer {
        start_time: Some(Duration::from_secs(60 * minutes)),
        ..offer("a")
    };
    let need = requirement();
    assert_eq!(start(5).effective_price(need.work_time), UnitPrice(1_200_000));
    assert_eq!(start(0).effective_price(need.work_time), UnitPrice(900_000));
    assert_eq!(start(5).effective_price(Duration::ZERO).0, 900_000 * 300_001);
    // A quarter of an hour of work and five minutes of start at 0.90.
    assert_eq!(need.upper_bound(&start(5)), MicroUsd(300_000));
    assert_eq!(need.upper_bound(&offer("a")), MicroUsd(225_000));
    let forever = Offer {
        start_time: Some(Duration::MAX),
        price: UnitPrice(u64::MAX),
        ..offer("a")
    };
    assert_eq!(forever.effective_price(Duration::from_millis(1)), UnitPrice(u64::MAX));
    // The cap is about what an hour costs, and that did not change.
    let capped = Requirement {
        max_price: UnitPrice(900_000),
        ..need
    };
    assert_eq!(exclude(&capped, &start(5)), None);
}

#[test]
fn one_attempt_in_sixteen_explores() {
    let drawn = (0..16_000).filter(|shard| explores("uid", *shard, 0)).count();
    assert!((900..1_100).contains(&drawn), "{drawn}");
    assert_eq!(explores("uid", 7, 1), explores("uid", 7, 1));
}

#[test]
fn a_newcomer_wins_exploring_attempts_against_its_equals_only() {
    let shard = (0..).find(|shard| explores("uid", *shard, 0)).unwrap();
    let exploring = Weights::of(Policy::Balanced).for_attempt("uid", shard, 0);
    assert!(exploring.explore());
    let newcomer = Offer {
        reputation: Knowledge::Unknown,
        price: UnitPrice(899_999),
        ..offer("newcomer")
    };
    let known = |accepted, rejected| Offer {
        reputation: Reputation::of(accepted, rejected),
        ..offer("known")
    };
    let best = |weights: &Weights, offers: &[Offer]| rank(&requirement(), weights, offers).candidates[0].node.clone();
    assert_eq!(
        best(&Weights::of(Policy::Balanced), &[newcomer.clone(), known(500, 0)]),
        "known"
    );
    assert_eq!(best(&exploring, &[newcomer.clone(), known(500, 0)]), "newcomer");
    assert!(Terms::of(&requirement(), &exploring, &newcomer).reputation > 0.999);
    // A bad record is not a new one.
    let dearer = Offer {
        price: UnitPrice(950_000),
        ..newcomer
    };
    assert_eq!(best(&exploring, &[dearer, known(0, 3)]), "newcomer");
}
