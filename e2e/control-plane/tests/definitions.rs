//! The definitions in a real API server: what a newcomer writes wrong is answered with the field and the fix.

// clippy's leave for tests covers test functions, not what they call.
#![allow(clippy::unwrap_used)]

use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use spillway_crds::InferenceJob;
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
    let mut stored = typed.get("embed-reviews").await.unwrap();
    assert_eq!(stored.spec.resources.gpus, 1);
    assert_eq!(stored.spec.execution.retries, 3);
    stored.spec.price.budget = "500.00".to_owned();
    let message = typed
        .replace("embed-reviews", &PostParams::default(), &stored)
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("spec cannot be changed"), "{message}");
}
