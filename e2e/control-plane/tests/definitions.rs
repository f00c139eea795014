//! The definitions in a real API server: what a newcomer writes wrong is answered with the field and the fix.

// clippy's leave for tests covers test functions, not what they call.
#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use spillway_crds::{InferenceJob, InferenceJobSpec, ServiceLevel};
use spillway_e2e_control_plane::ControlPlane;

fn job() -> Value {
    json!({
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "InferenceJob",
        "metadata": {"name": "embed-reviews"},
        "spec": {
            "engine": {"image": "registry.example/engine:1"},
            "input": {"uri": "s3://in/reviews.jsonl", "secretRef": "store"},
            "output": {"uri": "s3://out/reviews/", "secretRef": "store"},
            "price": {"maxPerGpuHour": "1.20", "budget": "5.00"}
        }
    })
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut job = job();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    job.pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .insert(key.to_owned(), value);
    job
}

#[tokio::test]
async fn a_real_api_server_accepts_refuses_and_defaults() {
    let plane = ControlPlane::start().await.unwrap();
    let namespace = plane.namespace("definitions").await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("spillway.dev", "v1alpha1", "InferenceJob"));
    let jobs: Api<DynamicObject> = Api::namespaced_with(plane.client().await.unwrap(), &namespace, &resource);
    let create = async |job: Value| {
        jobs.create(&PostParams::default(), &serde_json::from_value(job).unwrap())
            .await
    };

    let refusals = [
        (changed("/spec/engine", json!({})), "spec.engine.image"),
        (
            changed("/spec/price", json!({"maxPerGpuHour": "1,20", "budget": "5"})),
            "spec.price.maxPerGpuHour",
        ),
        (changed("/spec/resources", json!({"gpus": 0})), "spec.resources.gpus"),
        (
            changed("/spec/resources", json!({"minMemory": "24GB"})),
            "spec.resources.minMemory",
        ),
        (
            changed("/spec/placement", json!({"classes": ["Cheap"]})),
            "spec.placement.classes",
        ),
        (
            changed("/spec/execution", json!({"shards": "many"})),
            "execution.shards must be \"auto\" or a number",
        ),
        (
            changed("/spec/execution", json!({"shards": 0})),
            "execution.shards must be \"auto\" or a number",
        ),
        (
            changed("/spec/execution", json!({"deadline": "2 hours"})),
            "spec.execution.deadline",
        ),
        (changed("/spec/input", json!({})), "give exactly one of input.uri"),
        (
            changed("/spec/input", json!({"uri": "s3://in/a.jsonl"})),
            "input.secretRef must name a Secret",
        ),
        (
            changed("/spec/output", json!({"uri": "s3://out/reviews", "secretRef": "store"})),
            "spec.output.uri",
        ),
        (
            changed("/metadata/name", json!("a-name-that-is-longer-than-forty-characters")),
            "at most 40 characters",
        ),
    ];
    for (job, expected) in refusals {
        let message = create(job).await.unwrap_err().to_string();
        assert!(message.contains(expected), "expected `{expected}` in: {message}");
    }

    create(job()).await.unwrap();
    let typed: Api<InferenceJob> = Api::namespaced(plane.client().await.unwrap(), &namespace);
    let stored = typed.get("embed-reviews").await.unwrap();
    assert_eq!(stored.spec.resources.gpus, 1);
    assert_eq!(stored.spec.execution.retries, 3);
    only_what_may_change_changes(&typed, stored).await;
}

async fn only_what_may_change_changes(jobs: &Api<InferenceJob>, mut stored: InferenceJob) {
    let replace = async |changed: &InferenceJob| jobs.replace("embed-reviews", &PostParams::default(), changed).await;
    stored.spec.price.budget = "500.00".to_owned();
    stored.spec.execution.deadline = "48h".to_owned();
    stored.spec.ttl_seconds_after_finished = Some(60);
    let mut stored = replace(&stored).await.unwrap();
    stored.spec.ttl_seconds_after_finished = None;
    let stored = replace(&stored).await.unwrap();
    assert_eq!(
        (&*stored.spec.price.budget, &*stored.spec.execution.deadline),
        ("500.00", "48h")
    );
    for change in changes() {
        let mut changed = stored.clone();
        (change.make)(&mut changed.spec);
        let message = replace(&changed).await.unwrap_err().to_string();
        assert!(
            message.contains(change.refused),
            "expected `{}` in: {message}",
            change.refused
        );
    }
}

struct Change {
    make: fn(&mut InferenceJobSpec),
    refused: &'static str,
}

/// One change of each section that stays as it was applied, and the two fields that change one way only.
fn changes() -> Vec<Change> {
    let kept = |make| Change {
        make,
        refused: "spec cannot be changed",
    };
    vec![
        kept(|spec| spec.engine.image = "another".to_owned()),
        kept(|spec| spec.output.uri = "s3://elsewhere/".to_owned()),
        kept(|spec| spec.input.secret_ref = Some("another".to_owned())),
        kept(|spec| spec.resources.gpus = 2),
        kept(|spec| spec.placement.regions = vec!["eu".to_owned()]),
        kept(|spec| spec.data.secret_tier = 1),
        kept(|spec| spec.price.max_per_gpu_hour = "9.00".to_owned()),
        kept(|spec| spec.execution.parallelism = 200),
        kept(|spec| spec.execution.retries = 9),
        kept(|spec| spec.execution.shard_timeout = "3h".to_owned()),
        kept(|spec| spec.execution.shards = IntOrString::Int(7)),
        kept(|spec| spec.verification.max_share = "0.9".to_owned()),
        kept(|spec| {
            spec.sla = Some(ServiceLevel {
                completion: "1h".to_owned(),
                credit: "0.1".to_owned(),
            });
        }),
        Change {
            make: |spec| spec.price.budget = "499.99".to_owned(),
            refused: "can be raised, not lowered",
        },
        Change {
            make: |spec| spec.execution.deadline = "47h59m".to_owned(),
            refused: "can be made longer, not shorter",
        },
    ]
}
