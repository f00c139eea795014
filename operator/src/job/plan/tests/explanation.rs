//! What the status says while nothing fits: what would help, and nothing new without news.

use spillway_core::latency::{HUB, LatencyMicros};
use spillway_core::market::Latencies;
use spillway_crds::{DataClass, FieldAction, FieldChange, PlacementExplanation};

use super::world::{JOB, World, offer};

fn stuck(job: &str, offers: &[(&str, u64)]) -> World {
    let offers = offers.iter().map(|(provider, price)| offer(provider, 1, *price));
    split(World::new(job, offers.collect()))
}

fn split(mut world: World) -> World {
    world.settle("accepted");
    world.splitter_writes(1);
    world.settle("split");
    world
}

fn explanation(world: &World) -> PlacementExplanation {
    let status = world.observed.job.status.clone().unwrap();
    let placeable = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Placeable")
        .unwrap();
    let explanation = status.placement.unwrap();
    assert_eq!(placeable.reason, "NoOfferFits");
    assert_eq!(placeable.message, explanation.message);
    explanation
}

#[test]
fn the_smallest_change_stands_in_condition_and_placement() {
    let explanation = explanation(&stuck(JOB, &[("a", 1_350_000), ("b", 1_350_000), ("c", 1_400_000)]));
    let message = "0 of 3 offers fit: 3 over the price cap of 1.20 per GPU-hour. \
                   Smallest change: raise spec.price.maxPerGpuHour from 1.20 to 1.35: 2 offers fit then";
    assert_eq!(explanation.message, message);
    let change = explanation.change.unwrap();
    let raise = FieldChange {
        field: "spec.price.maxPerGpuHour".to_owned(),
        action: FieldAction::Raise,
        from: Some("1.20".to_owned()),
        to: Some("1.35".to_owned()),
    };
    assert_eq!((change.fitting, change.fields), (2, vec![raise]));
}

#[test]
fn a_looser_data_class_is_proposed_only_where_the_hub_takes_it() {
    let job = JOB.replace("  execution", "  data: {class: Internal}\n  execution");
    let told = |hub: DataClass| {
        let mut world = World::new(&job, vec![offer("a", 1, 1_000_000)]);
        world.observed.default_data_class = hub;
        explanation(&split(world)).change.map(|change| change.fields)
    };
    let lower = FieldChange {
        field: "spec.data.class".to_owned(),
        action: FieldAction::Lower,
        from: Some("Internal".to_owned()),
        to: Some("Public".to_owned()),
    };
    assert_eq!(told(DataClass::Public), Some(vec![lower]));
    assert_eq!(told(DataClass::Internal), None);
}

#[test]
fn where_no_change_helps_none_is_named() {
    let mut world = stuck(JOB, &[("a", 1_350_000)]);
    world.change_offers(|offers| offers[0].available = false);
    world.settle("the provider is away");
    let explanation = explanation(&world);
    assert!(
        !explanation.message.contains("Smallest change"),
        "{}",
        explanation.message
    );
    assert_eq!(explanation.change, None);
}

#[test]
fn a_measurement_that_wobbles_is_no_news() {
    let job = JOB.replace(
        "  execution",
        "  placement: {maxLatency: {to: hub, p95: 80ms}}\n  execution",
    );
    let mut world = stuck(&job, &[("a", 1_000_000), ("b", 1_100_000)]);
    let measured = |p95| -> Latencies {
        let figure = LatencyMicros {
            median: 90_000,
            p95,
            jitter: 0,
        };
        std::iter::once((HUB.to_owned(), figure)).collect()
    };
    world.change_offers(|offers| {
        offers[0].latencies = measured(130_000);
        offers[1].latencies = measured(190_000);
    });
    world.settle("measured");
    let before = explanation(&world);
    let change = before.change.clone().unwrap().message;
    let expected = "raise spec.placement.maxLatency.p95 from 80ms to 150ms: 1 offer fits then";
    assert_eq!(change, expected);
    for p95 in [121_000, 131_500, 149_999] {
        world.change_offers(|offers| offers[0].latencies = measured(p95));
        let plan = world.plan();
        assert!(world.is_converged(&plan), "at {p95}: {:?}", plan.actions);
    }
}
