//! API objects and requests, written as users and kube-scheduler write them.

use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use spillway_crds::{GpuProvider, InferenceJob, WorkAssignment};

use crate::snapshot::Snapshot;
use crate::world::{Change, World};

pub(super) const UID: &str = "7f1c7a4e-6a55-4a3e-9d4b-0d5a5f3d2b11";

/// A ready provider with hosts `h1` (2 GPUs) and `h2` (4 GPUs).
pub(super) fn provider(name: &str, price_micro: u64, accepted: u64) -> GpuProvider {
    let host = |host: &str, gpus: u32| {
        json!({"name": host, "node": format!("spillway-{name}-{host}"), "product": "NVIDIA-L4", "gpus": gpus,
            "memoryMebibytes": 24 << 10, "computeCapability": "8.9"})
    };
    from_json(json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider", "metadata": {"name": name},
        "spec": {"class": "Decentralized", "region": "eu", "payoutAddress": "0x0000000000000000000000000000000000000001"},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "Fresh", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "unitPriceMicro": price_micro, "offerRevision": 3, "gpus": 6, "hosts": [host("h1", 2), host("h2", 4)],
            "latencies": [{"to": "hub", "medianMicros": 4000, "p95Micros": 9000, "jitterMicros": 500, "samples": 20,
                "measuredAt": "2026-01-01T00:00:00Z"}],
            "reputation": {"accepted": accepted, "rejected": 0},
        },
    }))
}

/// A job with a cap of 1.20 and one shard: attempt 0 ran at `near`, attempt 1 is a check that was not placed yet.
pub(super) fn job() -> InferenceJob {
    job_with(json!({}))
}

/// The job with fields of its spec replaced.
pub(super) fn job_with(fields: Value) -> InferenceJob {
    let mut job = json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob",
        "metadata": {"name": "embed", "namespace": "team-a", "uid": UID},
        "spec": {
            "engine": {"image": "engine:1"}, "input": {"inline": "{}"}, "output": {"uri": "s3://out/"},
            "price": {"maxPerGpuHour": "1.20", "budget": "5.00"}, "placement": {"policy": "Cost"},
        },
        "status": {"dataClass": "Public", "shards": [{
            "index": 0, "state": "Verifying", "inputDigest": "sha256:00", "inputBytes": 2, "requests": 1,
            "attempts": [
                {"number": 0, "kind": "Work", "state": "Completed", "provider": "near", "upperBoundMicro": 1},
                {"number": 1, "kind": "Check", "state": "Expected", "upperBoundMicro": 1},
            ],
        }], "summary": {"total": 1, "pending": 0, "running": 0, "verifying": 1, "accepted": 0, "failed": 0},
            "usage": {"requests": 0, "failedRequests": 0, "promptTokens": 0, "completionTokens": 0, "gpuMillis": 0},
            "cost": {"reservedMicro": 0, "workMicro": 0, "checksMicro": 0}},
    });
    for (field, value) in fields.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    from_json(job)
}

/// An assignment of `gpus` GPUs on `h1` of a provider.
pub(super) fn assignment(provider: &str, name: &str, gpus: u32, state: &str) -> WorkAssignment {
    from_json(json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "WorkAssignment",
        "metadata": {"name": name, "namespace": format!("spillway-provider-{provider}")},
        "spec": {
            "job": {"namespace": "team-a", "name": "embed", "uid": UID}, "shard": 0, "attempt": 0, "kind": "Work",
            "host": "h1", "engine": {"image": "engine:1"}, "gpus": gpus, "cpu": "1", "memory": "1Gi",
            "input": {"digest": "sha256:00", "bytes": 2, "requests": 1},
            "order": {"chainId": 1, "contract": "0x", "payer": "0x", "provider": "0x", "unitPriceMicro": 1,
                "upperBoundMicro": 1, "expiry": 1, "signature": "0x"},
            "sealed": {"encapsulatedKey": "", "ciphertext": ""}, "egress": [], "notAfter": "2026-01-01T00:00:00Z",
        },
        "status": {"state": state},
    }))
}

/// `far`: cheap, no checks yet. `near`: dearer. `dear`: over the cap.
pub(super) fn snapshot() -> Snapshot {
    world(
        vec![
            provider("far", 800_000, 0),
            provider("near", 1_000_000, 0),
            provider("dear", 1_300_000, 90),
        ],
        vec![job()],
        vec![],
    )
    .snapshot()
}

pub(super) fn world(providers: Vec<GpuProvider>, jobs: Vec<InferenceJob>, assignments: Vec<WorkAssignment>) -> World {
    let mut world = World::default();
    listed(providers).for_each(|event| world.apply(Change::Provider(Box::new(event))));
    listed(jobs).for_each(|event| world.apply(Change::Job(Box::new(event))));
    listed(assignments).for_each(|event| world.apply(Change::Assignment(Box::new(event))));
    world
}

pub(super) fn listed<K>(objects: Vec<K>) -> impl Iterator<Item = Event<K>> {
    let objects = objects.into_iter().map(Event::InitApply);
    std::iter::once(Event::Init)
        .chain(objects)
        .chain(std::iter::once(Event::InitDone))
}

/// ExtenderArgs for an attempt of the job.
pub(super) fn request(kind: &str, attempt: u16, nodes: &[&str]) -> Value {
    json!({
        "Pod": {
            "metadata": {
                "name": format!("embed-0-{attempt}"), "namespace": "team-a", "uid": "p", "creationTimestamp": null,
                "labels": {"spillway.dev/shard": "0", "spillway.dev/attempt": attempt.to_string(), "spillway.dev/kind": kind},
                "ownerReferences": [{"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "name": "embed",
                    "uid": UID, "controller": true, "blockOwnerDeletion": true}],
            },
            "spec": {"containers": [{"name": "work", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
            "status": {},
        },
        "Nodes": null,
        "NodeNames": nodes,
    })
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
