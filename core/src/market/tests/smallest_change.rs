//! Tables of what is proposed, and the promises of a proposal: it helps as stated, and nothing smaller helps.

use super::*;
use crate::market::{Cap, Capacity, Need, Relaxation, SmallestChange, smallest_change};

fn change(requirement: &Requirement, offers: &[Offer]) -> Option<SmallestChange> {
    smallest_change(|_| requirement.into(), offers, Capacity::Free)
}

fn words(requirement: &Requirement, offers: &[Offer]) -> Option<String> {
    change(requirement, offers).map(|change| change.to_string())
}

/// One change of the requirement or of the offer, and what must be proposed.
type Proposal = (fn(&mut Requirement, &mut Offer), Option<&'static str>);

const PROPOSALS: &[Proposal] = &[
    (|_, _| {}, None),
    (
        |_, offer| offer.price = UnitPrice(1_350_000),
        Some("raise spec.price.maxPerGpuHour from 1.20 to 1.35: 1 offer fits then"),
    ),
    (
        |need, _| need.max_price = UnitPrice(0),
        Some("raise spec.price.maxPerGpuHour from 0.00 to 0.90: 1 offer fits then"),
    ),
    (
        |need, _| need.min_memory = Some(Bytes(40 * GIB)),
        Some("lower spec.resources.minMemory from 40Gi to 24Gi: 1 offer fits then"),
    ),
    (
        |need, _| need.min_compute_capability = "9.0".parse().ok(),
        Some("lower spec.resources.minComputeCapability from 9.0 to 8.9: 1 offer fits then"),
    ),
    (
        |need, offer| {
            need.min_compute_capability = "9.0".parse().ok();
            offer.compute_capability = Knowledge::Unknown;
        },
        Some("remove spec.resources.minComputeCapability: 1 offer fits then"),
    ),
    (
        |need, _| need.gpus = 8,
        Some("lower spec.resources.gpus from 8 to 2: 1 offer fits then"),
    ),
    (
        |need, _| need.gpus = 3,
        Some("lower spec.resources.gpus from 3 to 2: 1 offer fits then"),
    ),
    (
        |need, _| need.models = vec!["NVIDIA-H100".to_owned()],
        Some("add NVIDIA-L4 to spec.resources.models: 1 offer fits then"),
    ),
    (
        |_, offer| offer.product = "NVIDIA-L4-SHARED".to_owned(),
        Some("add NVIDIA-L4-SHARED to spec.resources.models: 1 offer fits then"),
    ),
    (
        |need, _| need.regions = vec!["eu".to_owned()],
        Some("add eu-west to spec.placement.regions: 1 offer fits then"),
    ),
    (
        |need, _| need.classes = vec![ProviderClass::Private],
        Some("add Decentralized to spec.placement.classes: 1 offer fits then"),
    ),
    (
        |need, _| need.jurisdictions = vec!["FR".to_owned()],
        Some("add DE to spec.placement.jurisdictions: 1 offer fits then"),
    ),
    (
        |need, offer| {
            need.jurisdictions = vec!["FR".to_owned()];
            offer.jurisdiction = None;
        },
        Some("remove spec.placement.jurisdictions: 1 offer fits then"),
    ),
    (
        |need, _| need.max_latency_p95 = Some(8_000),
        Some("raise spec.placement.maxLatency.p95 from 8ms to 9ms: 1 offer fits then"),
    ),
    (
        |need, offer| {
            need.max_latency_p95 = Some(80_000);
            offer.latencies = latency_to(HUB, 101_000);
        },
        Some("raise spec.placement.maxLatency.p95 from 80ms to 120ms: 1 offer fits then"),
    ),
    (
        |need, offer| {
            need.max_latency_p95 = Some(80_000);
            offer.latencies = Latencies::default();
        },
        Some("remove spec.placement.maxLatency: 1 offer fits then"),
    ),
    (
        |need, offer| {
            need.data_class = DataClass::Restricted;
            offer.class = ProviderClass::Cloud;
        },
        Some("lower spec.data.class from Restricted to Internal: 1 offer fits then"),
    ),
    (
        |need, _| {
            need.data_class = DataClass::Restricted;
            need.classes = vec![ProviderClass::Private];
        },
        Some(
            "add Decentralized to spec.placement.classes and lower spec.data.class from Restricted to Public: 1 offer fits then",
        ),
    ),
    (
        |need, offer| {
            need.regions = vec!["eu".to_owned()];
            need.min_memory = Some(Bytes(40 * GIB));
            offer.price = UnitPrice(2_400_000);
        },
        Some(
            "raise spec.price.maxPerGpuHour from 1.20 to 2.40, lower spec.resources.minMemory from 40Gi to 24Gi and \
             add eu-west to spec.placement.regions: 1 offer fits then",
        ),
    ),
    (
        |need, _| need.min_reputation = Some(9_000),
        Some("lower spec.placement.minReputation from 0.9 to 0.7615: 1 offer fits then"),
    ),
    (
        |need, offer| {
            need.min_reputation = Some(9_000);
            offer.reputation = Knowledge::Unknown;
        },
        Some("remove spec.placement.minReputation: 1 offer fits then"),
    ),
    (
        |need, _| need.isolation = Isolation::Confidential,
        Some("lower spec.data.isolation from Confidential to Standard: 1 offer fits then"),
    ),
    // What no change of the job cures.
    (|_, offer| offer.qualified = Knowledge::Known(false), None),
    (|_, offer| offer.stake_headroom = Knowledge::Known(MicroUsd(0)), None),
    (|_, offer| offer.available = false, None),
    (|_, offer| offer.gpus_free = 0, None),
    (
        |need, offer| {
            need.excluded_providers.insert(offer.provider.clone());
        },
        None,
    ),
];

#[test]
fn each_missed_need_has_its_cure() {
    for (change, expected) in PROPOSALS {
        let (mut requirement, mut offer) = (requirement(), offer("a"));
        change(&mut requirement, &mut offer);
        assert_eq!(words(&requirement, &[offer]).as_deref(), *expected);
    }
    assert_eq!(words(&requirement(), &[]), None);
}

fn dear(node: &str, price: u64) -> Offer {
    Offer {
        price: UnitPrice(price),
        ..offer(node)
    }
}

#[test]
fn the_smallest_raise_counts_all_that_fit_then() {
    let offers = [
        dear("a", 1_500_000),
        dear("b", 1_350_000),
        dear("c", 1_350_000),
        dear("d", 1_300_001),
    ];
    let one = "raise spec.price.maxPerGpuHour from 1.20 to 1.300001: 1 offer fits then";
    assert_eq!(words(&requirement(), &offers).as_deref(), Some(one));
    let two = "raise spec.price.maxPerGpuHour from 1.20 to 1.35: 2 offers fit then";
    assert_eq!(words(&requirement(), &offers[..3]).as_deref(), Some(two));
}

#[test]
fn one_field_comes_before_two() {
    let mut need = requirement();
    need.regions = vec!["eu".to_owned()];
    let near_in_price_elsewhere = dear("a", 1_210_000);
    let far_in_price_here = Offer {
        region: "eu".to_owned(),
        ..dear("b", 12_000_000)
    };
    let expected = "raise spec.price.maxPerGpuHour from 1.20 to 12.00: 1 offer fits then";
    assert_eq!(
        words(&need, &[near_in_price_elsewhere, far_in_price_here]).as_deref(),
        Some(expected)
    );
}

#[test]
fn protection_of_data_is_given_up_last() {
    let mut need = requirement();
    need.data_class = DataClass::Internal;
    let cheap_stranger = offer("a");
    let dear_cloud_elsewhere = Offer {
        class: ProviderClass::Cloud,
        product: "NVIDIA-L4-SHARED".to_owned(),
        ..dear("b", 9_600_000)
    };
    let expected = "raise spec.price.maxPerGpuHour from 1.20 to 9.60 and add NVIDIA-L4-SHARED to spec.resources.models: 1 offer fits then";
    assert_eq!(
        words(&need, &[cheap_stranger, dear_cloud_elsewhere]).as_deref(),
        Some(expected)
    );
}

#[test]
fn jitter_of_a_measurement_moves_no_proposal() {
    let mut need = requirement();
    need.max_latency_p95 = Some(80_000);
    let measured = |p95| Offer {
        latencies: latency_to(HUB, p95),
        ..offer("a")
    };
    let first = words(&need, &[measured(121_000)]);
    assert!(first.is_some());
    for p95 in (121_000..=150_000).step_by(500) {
        assert_eq!(words(&need, &[measured(p95)]), first);
    }
}

type Change<'a> = Box<dyn Fn(&mut Requirement) + 'a>;

/// Every single change worth trying: each field loosened to each value that some offer has.
fn single_changes(offers: &[Offer]) -> Vec<Change<'_>> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for offer in offers {
        changes.push(Box::new(|need| need.max_price = need.max_price.max(offer.price)));
        changes.push(Box::new(|need| {
            need.min_memory = need.min_memory.map(|least| least.min(offer.gpu_memory));
        }));
        changes.push(Box::new(|need| need.gpus = need.gpus.min(offer.gpus_free)));
        changes.push(Box::new(|need| need.max_latency_p95 = None));
        changes.push(Box::new(|need| need.min_compute_capability = None));
        changes.push(Box::new(|need| need.regions.clear()));
        changes.push(Box::new(|need| need.classes.clear()));
    }
    changes
}

fn fitting(need: &Requirement, offers: &[Offer]) -> usize {
    offers.iter().filter(|offer| exclude(need, offer).is_none()).count()
}

/// The same change with one number one unit less far; `None` when it has no number to hold back.
fn held_back(change: &SmallestChange) -> Option<SmallestChange> {
    let mut less = change.clone();
    less.relaxations.iter_mut().find_map(|relaxation| {
        match relaxation {
            Relaxation::MaxPrice { from, to, .. } if to.0 > from.0 + 1 => to.0 -= 1,
            Relaxation::MinMemory { from, to } if to.0 + 1 < from.0 => to.0 += 1,
            Relaxation::Gpus { from, to } if *to + 1 < *from => *to += 1,
            _ => return None,
        }
        Some(())
    })?;
    Some(less)
}

#[test]
fn busy_gpus_count_once_everybody_is_done() {
    let mut need = requirement();
    need.gpus = 3;
    let busy = offer("a");
    let idle = |need: &Requirement| {
        smallest_change(|_| need.into(), std::slice::from_ref(&busy), Capacity::Idle).map(|change| change.to_string())
    };
    assert_eq!(idle(&need), None, "four GPUs are there");
    need.gpus = 8;
    assert_eq!(
        idle(&need).as_deref(),
        Some("lower spec.resources.gpus from 8 to 4: 1 offer fits then")
    );
    let free = words(&need, std::slice::from_ref(&busy));
    assert_eq!(
        free.as_deref(),
        Some("lower spec.resources.gpus from 8 to 2: 1 offer fits then")
    );
}

/// Own capacity under the job's cap, everybody else under the burst's.
#[test]
fn data_stays_where_the_hub_keeps_it() {
    let internal = Requirement {
        data_class: DataClass::Internal,
        ..requirement()
    };
    let stranger = Offer {
        class: ProviderClass::Decentralized,
        ..dear("a", 1_000_000)
    };
    let words = |least_data_class| {
        let need = Need {
            least_data_class,
            ..Need::from(&internal)
        };
        smallest_change(|_| need, std::slice::from_ref(&stranger), Capacity::Idle).map(|change| change.to_string())
    };
    let expected = "lower spec.data.class from Internal to Public: 1 offer fits then";
    assert_eq!(words(DataClass::Public).as_deref(), Some(expected));
    assert_eq!(words(DataClass::Internal), None, "such a job would be refused");
}

#[test]
fn beyond_own_capacity_the_bursts_cap_is_the_one_to_raise() {
    let (own, beyond) = (
        requirement(),
        Requirement {
            max_price: UnitPrice(2_000_000),
            ..requirement()
        },
    );
    let need = |offer: &Offer| match offer.class {
        ProviderClass::Private => Need::from(&own),
        _ => Need {
            requirement: &beyond,
            cap: Cap::Burst,
            ..Need::from(&own)
        },
    };
    let private = Offer {
        class: ProviderClass::Private,
        ..dear("a", 2_400_000)
    };
    let offers = [
        private,
        dear("b", 2_200_000),
        dear("c", 2_200_000),
        dear("d", 1_900_000),
    ];
    let words = |offers: &[Offer]| smallest_change(need, offers, Capacity::Idle).map(|change| change.to_string());
    let expected = "raise spec.placement.burst.maxPerGpuHour from 2.00 to 2.20: 2 offers fit then";
    assert_eq!(words(&offers[..3]).as_deref(), Some(expected));
    let expected = "raise spec.price.maxPerGpuHour from 1.20 to 2.40: 1 offer fits then";
    assert_eq!(words(&offers[..1]).as_deref(), Some(expected));
    assert_eq!(words(&offers), None, "one fits");
}

proptest! {
    #[test]
    fn an_idle_market_is_one_with_all_gpus_free(need in any_requirement(), offers in vec(any_offer(), 0..12)) {
        let idle: Vec<Offer> = offers.iter().map(|offer| Offer { gpus_free: offer.gpus_total, ..offer.clone() }).collect();
        prop_assert_eq!(smallest_change(|_| (&need).into(), &offers, Capacity::Idle), change(&need, &idle));
    }

    #[test]
    fn a_proposal_helps_as_stated(need in any_requirement(), offers in vec(any_offer(), 0..12)) {
        if let Some(change) = change(&need, &offers) {
            prop_assert_eq!(fitting(&need, &offers), 0);
            prop_assert!(change.fitting >= 1 && !change.relaxations.is_empty());
            prop_assert_eq!(fitting(&change.applied_to((&need).into()), &offers), change.fitting as usize);
            prop_assert!(change.to_string().len() < 1_024, "{}", change);
        }
    }

    #[test]
    fn each_part_of_a_proposal_is_needed(need in any_requirement(), offers in vec(any_offer(), 0..12)) {
        if let Some(change) = change(&need, &offers) {
            for position in 0..change.relaxations.len() {
                let mut less = change.clone();
                less.relaxations.remove(position);
                prop_assert_eq!(fitting(&less.applied_to((&need).into()), &offers), 0, "{}", change);
            }
            if let Some(less) = held_back(&change) {
                prop_assert_eq!(fitting(&less.applied_to((&need).into()), &offers), 0, "{}", change);
            }
        }
    }

    #[test]
    fn two_fields_are_named_only_where_one_does_not_help(need in any_requirement(), offers in vec(any_offer(), 0..12)) {
        let change = change(&need, &offers);
        let singles = single_changes(&offers).into_iter().any(|single| {
            let mut changed = need.clone();
            single(&mut changed);
            changed.gpus > 0 && fitting(&changed, &offers) > 0
        });
        if let Some(change) = change.filter(|change| change.relaxations.len() > 1) {
            prop_assert!(!singles, "{}", change);
        }
    }

    #[test]
    fn nothing_is_proposed_only_where_nothing_helps(need in any_requirement(), offers in vec(any_offer(), 0..12)) {
        if change(&need, &offers).is_none() && fitting(&need, &offers) == 0 {
            let anything = Requirement {
                gpus: 1,
                models: Vec::new(),
                excluded_providers: need.excluded_providers.clone(),
                max_price: UnitPrice(u64::MAX),
                ..requirement()
            };
            // A job that asks for no GPU at all is refused before it is placed.
            prop_assert!(need.gpus == 0 || fitting(&anything, &offers) == 0);
        }
    }

    #[test]
    fn the_order_of_offers_moves_no_proposal(need in any_requirement(), offers in vec(any_offer(), 0..12).prop_shuffle()) {
        let backward: Vec<Offer> = offers.iter().rev().cloned().collect();
        prop_assert_eq!(change(&need, &offers), change(&need, &backward));
    }

    #[test]
    fn a_proposed_value_is_one_that_a_manifest_takes(need in any_requirement(), offers in vec(any_offer(), 0..12)) {
        for relaxation in change(&need, &offers).into_iter().flat_map(|change| change.relaxations) {
            let to = relaxation.to().unwrap_or_default();
            match relaxation {
                Relaxation::MaxPrice { to: price, .. } => prop_assert_eq!(to.parse(), Ok(price)),
                Relaxation::MinMemory { to: memory, .. } => prop_assert_eq!(to.parse(), Ok(memory)),
                Relaxation::MaxLatency { to: bound, .. } => {
                    let read = crate::duration::parse(&to).unwrap();
                    prop_assert!(read.as_micros() == u128::from(bound) || bound == u64::MAX);
                }
                _ => {}
            }
        }
    }
}
