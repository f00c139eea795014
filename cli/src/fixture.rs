//! A small market and its objects, for golden texts.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spillway_core::knowledge::Knowledge;
use spillway_crds::{GpuProvider, InferenceJob, names};

use crate::market::{Holding, Market};

pub(crate) fn parse<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A provider with one host of two GPUs; `digit` makes its payout address.
pub(crate) fn provider(name: &str, digit: char, micro: u64, ready: bool) -> GpuProvider {
    let (status, reason, message) = if ready {
        ("True", "Offering", "2 GPUs are offered")
    } else {
        ("False", "HeartbeatSilent", "no heartbeat for 42 s")
    };
    parse(json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider", "metadata": {"name": name},
        "spec": {"class": "Decentralized", "region": "eu", "payoutAddress": format!("0x{}", digit.to_string().repeat(40))},
        "status": {
            "gpus": 2, "unitPriceMicro": micro, "offerRevision": 1, "reputation": {"accepted": 10, "rejected": 0},
            "hosts": [{"name": "host", "node": names::virtual_node(name, "host"), "product": "NVIDIA-L4", "gpus": 2,
                "memoryMebibytes": 23034, "computeCapability": "8.9"}],
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    }))
}

/// Three owners: a at 0.90, b at 1.10, c at 0.50 and silent; team-b holds both GPUs of a.
pub(crate) fn market() -> Market {
    Market {
        providers: vec![
            provider("a", '1', 900_000, true),
            provider("b", '2', 1_100_000, true),
            provider("c", '3', 500_000, false),
        ],
        holdings: Knowledge::Known(vec![Holding {
            provider: "a".to_owned(),
            host: "host".to_owned(),
            gpus: 2,
            job: "team-b/embed".to_owned(),
        }]),
    }
}

/// A job of 60 requests under a price cap, with this status.
pub(crate) fn job(cap: &str, status: &Value) -> InferenceJob {
    let line = |id: u32| format!(r#"{{"custom_id":"r{id}","method":"POST","url":"/v1/embeddings","body":{{}}}}"#);
    let lines: Vec<String> = (0..60).map(line).collect();
    parse(json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob",
        "metadata": {"name": "hello", "namespace": "team-a", "uid": "uid-1"},
        "spec": {
            "engine": {"image": "engine:1"}, "input": {"inline": lines.join("\n")}, "output": {"uri": "s3://out/"},
            "price": {"maxPerGpuHour": cap, "budget": "5.00"}, "execution": {"shardTimeout": "10m"},
        },
        "status": status,
    }))
}
