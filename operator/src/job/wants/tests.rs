//! What a job would begin, and who else would.

use serde_json::{Value, json};

use super::*;

fn job(spec: &Value, status: &Value) -> InferenceJob {
    let mut job = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "metadata": {"name": "embed"},
        "spec": {"engine": {"image": "e"}, "input": {"inline": "{}"}, "output": {"uri": "s3://o/"},
            "price": {"maxPerGpuHour": "1", "budget": "1"}, "execution": {"shards": 40, "parallelism": 30}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        job["spec"][field] = value.clone();
    }
    if !status.is_null() {
        job["status"] = status.clone();
    }
    serde_json::from_value(job).unwrap()
}

fn wanted_of(spec: &Value, status: &Value) -> usize {
    let job = job(spec, status);
    wanted(&job, job.status.as_ref())
}

fn shard(index: u32, state: &str, attempts: &Value) -> Value {
    json!({"index": index, "state": state, "inputDigest": "", "inputBytes": 1, "requests": 1, "attempts": attempts})
}

fn attempt(state: &str) -> Value {
    json!([{"number": 0, "kind": "Work", "state": state, "upperBoundMicro": 1}])
}

#[test]
fn a_new_job_might_begin_what_it_asks_for() {
    assert_eq!(wanted_of(&json!({}), &Value::Null), 30);
    assert_eq!(wanted_of(&json!({}), &json!({"shards": []})), 30);
    let auto = json!({"execution": {"shards": "auto", "parallelism": 30}});
    assert_eq!(wanted_of(&auto, &Value::Null), 1, "nobody has counted them yet");
}

#[test]
fn a_split_job_begins_the_shards_that_have_nothing_running() {
    let shards = json!([
        shard(0, "Pending", &json!([])),
        shard(1, "Pending", &attempt("Failed")),
        shard(2, "Pending", &attempt("Expected")),
        shard(3, "Running", &attempt("Running")),
        shard(4, "Running", &attempt("Completed")),
        shard(5, "Accepted", &attempt("Completed")),
    ]);
    assert_eq!(wanted_of(&json!({}), &json!({ "shards": shards })), 2);
    let narrow = json!({"execution": {"shards": 6, "parallelism": 3}});
    assert_eq!(wanted_of(&narrow, &json!({ "shards": shards })), 1);
}

#[test]
fn a_job_that_something_else_holds_up_begins_nothing() {
    for (type_, status, wanted) in [
        ("Accepted", "False", 0),
        ("Placeable", "False", 0),
        ("Failed", "True", 0),
        ("Complete", "True", 0),
        ("Placeable", "True", 1),
    ] {
        let condition = json!({"type": type_, "status": status, "reason": "R", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"conditions": [condition], "shards": [shard(0, "Pending", &json!([]))]});
        assert_eq!(wanted_of(&json!({}), &status), wanted, "{type_}");
    }
}

#[test]
fn equal_needs_are_one_party_and_few_are_looked_at() {
    let party = |cap: usize, attempts| {
        let spec = json!({"price": {"maxPerGpuHour": cap.to_string(), "budget": "1"}});
        let needs = Needs::of(&job(&spec, &Value::Null), DataClass::Public).unwrap();
        Party {
            needs: Arc::new(needs),
            attempts,
        }
    };
    let found = parties([party(1, 3), party(2, 4), party(1, 2), party(3, 0)].into_iter());
    assert_eq!(found.iter().map(|party| party.attempts).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(parties((1..90).map(|cap| party(cap, 1))).len(), MOST_KINDS);
}

#[test]
fn a_bursting_job_waits_for_its_own_class_first() {
    let spec = json!({"placement": {"burst": {"order": ["Private", "Cloud"], "after": "1m"}}});
    let needs = Needs::of(&job(&spec, &Value::Null), DataClass::Public).unwrap();
    assert_eq!(
        needs.requirement.classes,
        [spillway_core::market::ProviderClass::Private]
    );
    assert!(!needs.yields(), "nothing is kept for it in the classes that follow");
    let plain = Needs::of(&job(&json!({}), &Value::Null), DataClass::Public).unwrap();
    assert!(plain.yields());
}
