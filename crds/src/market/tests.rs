//! Specs as users write them, and what is said about those that cannot be honoured.

use std::time::Duration;

use serde_json::{Value, json};
use spillway_core::market::{ComputeCapability, ProviderClass};
use spillway_core::memory::Bytes;
use spillway_core::money::{MicroUsd, UnitPrice};
use spillway_core::shard::ShardCount;

use super::*;
use crate::{AttemptKind, InferenceJobSpec, ShardStatus};

fn spec(path: &str, value: Value) -> InferenceJobSpec {
    let mut spec = json!({
        "engine": {"image": "engine:1"},
        "input": {"inline": "{}"},
        "output": {"uri": "s3://out/"},
        "resources": {"gpus": 1, "models": ["NVIDIA-L4"], "minMemory": "24Gi", "minComputeCapability": "8.9"},
        "placement": {"policy": "Cost", "classes": ["Private", "Decentralized"], "regions": ["eu"],
            "maxLatency": {"to": "hub", "p95": "80ms"}, "burst": {"after": "5m"}},
        "data": {"class": "Internal", "secretTier": 1},
        "price": {"maxPerGpuHour": "1.20", "budget": "5.00"},
        "execution": {"shards": "auto", "parallelism": 8, "retries": 3, "deadline": "2h", "shardTimeout": "10m"},
        "verification": {"maxShare": "0.2"},
        "sla": {"completion": "1h", "credit": "0.1"},
    });
    if !path.is_empty() {
        let (parent, field) = path.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[field] = value;
    }
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_whole_spec_becomes_typed_values() {
    let job = validate(&spec("", Value::Null)).unwrap();
    let needs = &job.requirement;
    assert_eq!(
        (needs.gpus, needs.min_memory, needs.max_price),
        (1, Some(Bytes(24 << 30)), UnitPrice(1_200_000))
    );
    assert_eq!(
        needs.min_compute_capability,
        Some(ComputeCapability { major: 8, minor: 9 })
    );
    assert_eq!(
        (needs.latency_to.as_str(), needs.max_latency_p95),
        ("hub", Some(80_000))
    );
    assert_eq!(needs.classes, [ProviderClass::Private, ProviderClass::Decentralized]);
    assert_eq!(
        (job.budget, job.shards, job.parallelism, job.retries),
        (MicroUsd(5_000_000), ShardCount::Auto, 8, 3)
    );
    assert_eq!(
        (job.deadline, job.shard_timeout),
        (Duration::from_secs(7_200), Duration::from_secs(600))
    );
    assert_eq!(
        (job.max_check_share, needs.work_time),
        (2_000, Duration::from_secs(600))
    );
    // Internal data may not go to a stranger, whatever the classes say.
    let burst = BurstTerms {
        after: Some(Duration::from_secs(300)),
        queue_length: None,
        max_price: UnitPrice(1_200_000),
        classes: vec![ProviderClass::Private],
    };
    assert_eq!(job.burst, Some(burst));
    assert_eq!(
        job.service,
        Some(ServiceTerms {
            completion: Duration::from_secs(3_600),
            credit: 1_000
        })
    );
}

#[test]
fn a_job_names_the_location_that_latency_counts_to() {
    let needs = |bound| validate(&spec("/placement/maxLatency", bound)).unwrap().requirement;
    let near = needs(json!({"to": "paris", "p95": "1500ms"}));
    assert_eq!(
        (near.latency_to.as_str(), near.max_latency_p95),
        ("paris", Some(1_500_000))
    );
    let anywhere = needs(Value::Null);
    assert_eq!((anywhere.latency_to.as_str(), anywhere.max_latency_p95), ("hub", None));
}

#[test]
fn what_cannot_be_honoured_is_named() {
    let cases = [
        ("/price/maxPerGpuHour", json!("1,20"), "spec.price.maxPerGpuHour"),
        ("/price/budget", json!("99999999999999999999"), "spec.price.budget"),
        ("/resources/minMemory", json!("24GB"), "spec.resources.minMemory"),
        (
            "/resources/minComputeCapability",
            json!("8"),
            "spec.resources.minComputeCapability",
        ),
        ("/resources/gpus", json!(0), "spec.resources.gpus"),
        (
            "/placement/maxLatency",
            json!({"to": "hub", "p95": "soon"}),
            "spec.placement.maxLatency.p95",
        ),
        ("/placement/burst", json!({"after": "5"}), "spec.placement.burst.after"),
        ("/placement/burst", json!({}), "spec.placement.burst"),
        (
            "/placement/burst",
            json!({"queueLength": 3, "maxPerGpuHour": "1,20"}),
            "spec.placement.burst.maxPerGpuHour",
        ),
        ("/placement/weights", json!({}), "spec.placement.weights"),
        ("/placement/minReputation", json!("1.5"), "spec.placement.minReputation"),
        (
            "/placement/minReputation",
            json!("half"),
            "spec.placement.minReputation",
        ),
        ("/placement/classes", json!(["Decentralized"]), "spec.placement.classes"),
        ("/data/secretTier", json!(2), "spec.data.secretTier"),
        ("/execution/deadline", json!("0s"), "spec.execution.deadline"),
        ("/execution/shardTimeout", json!(""), "spec.execution.shardTimeout"),
        ("/execution/parallelism", json!(0), "spec.execution.parallelism"),
        ("/execution/shards", json!(257), "spec.execution.shards"),
        ("/execution/shards", json!(-1), "spec.execution.shards"),
        ("/execution/shards", json!("many"), "spec.execution.shards"),
        ("/verification/maxShare", json!("1.1"), "spec.verification.maxShare"),
        ("/sla/credit", json!("0.00001"), "spec.sla.credit"),
    ];
    for (path, value, field) in cases {
        let error = validate(&spec(path, value)).unwrap_err();
        assert_eq!(error.field, field);
        assert!(
            error.to_string().starts_with(field) && error.message.len() > 10,
            "{error}"
        );
    }
}

#[test]
fn shards_are_auto_or_a_number() {
    assert_eq!(
        validate(&spec("/execution/shards", json!(256))).unwrap().shards,
        ShardCount::Count(256)
    );
}

fn shard() -> ShardStatus {
    let attempt = |number: u16, kind: &str, state: &str, provider: Option<&str>| json!({"number": number, "kind": kind, "state": state, "provider": provider, "upperBoundMicro": 0});
    serde_json::from_value(json!({
        "index": 0, "state": "Verifying", "inputDigest": "sha256:00", "inputBytes": 1, "requests": 1,
        "attempts": [
            attempt(0, "Work", "Lost", Some("a")),
            attempt(1, "Work", "Completed", Some("b")),
            attempt(2, "Check", "Cancelled", Some("c")),
            attempt(3, "Check", "Expected", None),
            attempt(4, "Check", "Running", Some("d")),
        ],
    }))
    .unwrap()
}

#[test]
fn checks_go_to_owners_without_a_result_of_the_shard() {
    let job = validate(&spec("", Value::Null)).unwrap();
    let owners = |kind| {
        job.requirement_for(kind, &shard(), 3)
            .excluded_providers
            .into_iter()
            .collect::<Vec<_>>()
    };
    // `a` went silent and left no result, `c` never began.
    assert_eq!(owners(AttemptKind::Check), ["b", "d"]);
    assert_eq!(owners(AttemptKind::Arbitrate), ["b", "d"]);
    assert!(owners(AttemptKind::Work).is_empty());
}

#[test]
fn burst_goes_through_the_allowed_classes_own_capacity_first() {
    use ProviderClass::{Cloud, Decentralized, Private};
    let classes = |listed: Value, data: &str| {
        let mut spec = spec("/placement/classes", listed);
        spec.data.class = serde_json::from_value(json!(data)).unwrap();
        validate(&spec).unwrap().burst.unwrap().classes
    };
    assert_eq!(classes(json!([]), "Public"), [Private, Cloud, Decentralized]);
    assert_eq!(
        classes(json!(["Decentralized", "Private"]), "Public"),
        [Private, Decentralized]
    );
    assert_eq!(classes(json!(["Cloud"]), "Internal"), [Cloud]);
    assert_eq!(classes(json!([]), "Restricted"), [Private]);
}

#[test]
fn beyond_own_capacity_the_bursts_cap_holds() {
    let burst = json!({"queueLength": 2, "maxPerGpuHour": "2.50"});
    let mut spec = spec("/placement/burst", burst);
    spec.data.class = None;
    let job = validate(&spec).unwrap();
    let narrowed = |class| {
        let needs = job.narrowed_to(job.requirement.clone(), class);
        (needs.classes, needs.max_price)
    };
    let (own, beyond) = (ProviderClass::Private, ProviderClass::Decentralized);
    assert_eq!(narrowed(own), (vec![own], UnitPrice(1_200_000)));
    assert_eq!(narrowed(beyond), (vec![beyond], UnitPrice(2_500_000)));
    // An attempt keeps the class that it was planned for.
    let mut shard = shard();
    shard.attempts[4].class = Some(crate::ProviderClass::Decentralized);
    assert_eq!(job.requirement_for(AttemptKind::Check, &shard, 4).classes, [beyond]);
    assert_eq!(
        job.requirement_for(AttemptKind::Work, &shard, 0).classes,
        job.requirement.classes
    );
}

#[test]
fn weights_replace_the_policy() {
    let weights = |value| validate(&spec("/placement/weights", value)).unwrap().weights;
    assert_eq!(
        weights(json!({"price": 2, "latency": 1, "reputation": 1})),
        weights(json!({"price": 100, "latency": 50, "reputation": 50}))
    );
    assert_ne!(weights(json!({"latency": 1})), weights(Value::Null));
}

#[test]
fn a_job_may_tighten_the_hubs_data_class_never_loosen_it() {
    use DataClass::{Internal, Public, Restricted};
    let of = |class: Option<DataClass>, least| {
        let mut spec = spec("", Value::Null);
        spec.data.class = class;
        spec.placement.classes = Vec::new();
        validate_under(&spec, least).map(|job| job.requirement.data_class)
    };
    assert_eq!(of(None, Public), Ok(Public.into()));
    assert_eq!(of(None, Restricted), Ok(Restricted.into()));
    assert_eq!(of(Some(Restricted), Internal), Ok(Restricted.into()));
    // The fix is one that the job can make.
    let abroad = |class: Option<DataClass>| {
        let mut spec = spec("/placement/classes", json!(["Decentralized"]));
        spec.data.class = class;
        validate_under(&spec, Internal).unwrap_err().message
    };
    assert!(abroad(None).contains("this hub sets for every job: add Private"));
    assert!(abroad(Some(Restricted)).contains("or lower spec.data.class"));
    let refused = of(Some(Public), Internal).unwrap_err();
    assert_eq!(refused.field, "spec.data.class");
    assert!(refused.message.contains("leave it out"), "{refused}");
}
