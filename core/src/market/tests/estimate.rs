//! What a job costs and how long it takes, against sums done by hand; bounds are never below expectations.

use std::time::Duration;

use super::*;
use crate::market::{Estimate, Limit, ShardTime, Workload, checked_part, estimate};
use crate::money::MicroUsd;

const MINUTE: Duration = Duration::from_secs(60);

fn workload() -> Workload {
    Workload {
        shards: 8,
        parallelism: 4,
        max_check_share: 10_000,
        budget: MicroUsd(100_000_000),
        shard_time: None,
    }
}

fn at(node: &str, price: u64, gpus_free: u32) -> Offer {
    Offer {
        price: UnitPrice(price),
        gpus_free,
        ..offer(node)
    }
}

fn estimated(workload: &Workload, offers: &[Offer]) -> Option<Estimate> {
    within(15 * MINUTE, workload, offers)
}

fn within(work_time: Duration, workload: &Workload, offers: &[Offer]) -> Option<Estimate> {
    let fitting: Vec<&Offer> = offers.iter().collect();
    let need = Requirement {
        work_time,
        ..requirement()
    };
    estimate(&need, workload, &fitting, 16, |offer| offer.provider.clone())
}

#[test]
fn bounds_follow_from_what_is_reserved() {
    let estimate = estimated(&workload(), &[at("a", 800_000, 4), at("b", 1_200_000, 4)]).unwrap();
    // 1.20 for a quarter of an hour.
    assert_eq!(estimate.attempt_bound, MicroUsd(300_000));
    assert_eq!((estimate.shards, estimate.checks, estimate.owners), (8, 8, 2));
    assert_eq!((estimate.at_once, estimate.limited_by), (4, Limit::Parallelism));
    assert_eq!(estimate.cost_bound(), MicroUsd(16 * 300_000));
    // Two rounds of work, and the checks of the second.
    assert_eq!((estimate.rounds, estimate.time_bound), (3, 45 * MINUTE));
    assert_eq!(estimate.expected, None);
}

#[test]
fn expectations_price_each_attempt_where_it_would_run() {
    let known = Workload {
        shard_time: Some(ShardTime {
            computing: 6 * MINUTE,
            starting: MINUTE,
        }),
        ..workload()
    };
    let estimate = estimated(&known, &[at("a", 1_000_000, 2), at("b", 1_200_000, 2)]).unwrap();
    let expected = estimate.expected.unwrap();
    // Four shards on each owner, each checked by the other: 0.10 and 0.12 per attempt.
    assert_eq!((expected.work, expected.checks), (MicroUsd(880_000), MicroUsd(880_000)));
    assert_eq!(expected.time, 4 * 7 * MINUTE, "16 attempts on 4 GPUs");
}

#[test]
fn each_limit_is_named() {
    let limited = |workload: &Workload, offers: &[Offer]| {
        let estimate = estimated(workload, offers).unwrap();
        (estimate.at_once, estimate.limited_by)
    };
    let wide = [at("a", 1_200_000, 4), at("b", 1_200_000, 4)];
    let many = Workload {
        parallelism: 100,
        ..workload()
    };
    assert_eq!(limited(&many, &wide), (8, Limit::Shards));
    assert_eq!(limited(&many, &wide[..1]), (4, Limit::FreeGpus));
    let poor = Workload {
        budget: MicroUsd(1_300_000),
        ..many.clone()
    };
    assert_eq!(
        limited(&poor, &wide),
        (2, Limit::Budget),
        "each shard reserves 0.60 with its check"
    );
    let broke = Workload {
        budget: MicroUsd(599_999),
        ..many
    };
    assert_eq!(limited(&broke, &wide), (0, Limit::Budget));
}

#[test]
fn busy_gpus_count_as_if_free_and_are_said_to_be_busy() {
    let estimate = estimated(&workload(), &[at("a", 1_200_000, 0)]).unwrap();
    assert!(estimate.queued);
    assert_eq!(estimate.at_once, 4);
    assert_eq!(estimated(&workload(), &[]), None);
}

#[test]
fn checks_take_no_more_than_their_share() {
    assert_eq!([0, 2_000, 5_000, 10_000].map(checked_part), [0, 2_500, 10_000, 10_000]);
    let unchecked = Workload {
        max_check_share: 0,
        ..workload()
    };
    let estimate = estimated(&unchecked, &[at("a", 1_200_000, 4)]).unwrap();
    assert_eq!(
        (estimate.checks, estimate.rounds, estimate.checks_bound),
        (0, 2, MicroUsd::ZERO)
    );
}

#[test]
fn the_start_of_an_elastic_host_takes_time_and_money() {
    let elastic = |node| Offer {
        start_time: Some(3 * MINUTE),
        ..at(node, 1_200_000, 4)
    };
    let known = Workload {
        shards: 1,
        shard_time: Some(ShardTime {
            computing: 6 * MINUTE,
            starting: Duration::ZERO,
        }),
        ..workload()
    };
    let estimate = estimated(&known, &[elastic("a"), elastic("b")]).unwrap();
    // 1.20 for 18 of 60 minutes at most, for 9 as expected; the check after the work.
    assert_eq!(
        (estimate.attempt_bound, estimate.time_bound),
        (MicroUsd(360_000), 36 * MINUTE)
    );
    let expected = estimate.expected.unwrap();
    assert_eq!((expected.work, expected.time), (MicroUsd(180_000), 18 * MINUTE));
}

proptest! {
    #[test]
    fn what_is_expected_is_within_the_bound(
        offers in vec(any_offer(), 1..12),
        shards in 1u32..=256,
        parallelism in 0u32..300,
        max_check_share in 0u32..=10_000,
        budget: u64,
        seconds in 1u64..100_000,
        part in 0u64..=100,
    ) {
        let timeout = Duration::from_secs(seconds);
        let workload = Workload {
            shards, parallelism, max_check_share,
            budget: MicroUsd(budget),
            shard_time: Some(ShardTime { computing: timeout * u32::try_from(part).unwrap() / 100, starting: Duration::ZERO }),
        };
        let estimate = within(timeout, &workload, &offers).unwrap();
        let expected = estimate.expected.unwrap();
        prop_assert!(expected.time <= estimate.time_bound);
        prop_assert!(estimate.at_once <= shards && estimate.checks <= shards);
        if offers.len() <= 16 && offers.iter().all(|offer| offer.price <= UnitPrice(1 << 40)) {
            prop_assert!(expected.cost() <= estimate.cost_bound());
        }
    }
}
