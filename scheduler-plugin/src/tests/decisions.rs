//! `filter` and `prioritize` over the snapshot of three providers.

use serde_json::{Value, json};

use super::objects::{UID, assignment, job, job_with, provider, request, snapshot, world};
use crate::snapshot::Snapshot;
use crate::wire::Args;
use crate::{filter, prioritize};

const NODES: [&str; 4] = [
    "spillway-dear-h1",
    "spillway-far-h1",
    "spillway-near-h1",
    "someone-elses-node",
];

fn filtered(snapshot: &Snapshot, request: &Value) -> Value {
    let body = request.to_string();
    let args: Args<'_> = serde_json::from_str(&body).unwrap();
    serde_json::to_value(filter(snapshot, &args)).unwrap()
}

fn prioritized(snapshot: &Snapshot, request: &Value) -> Result<Value, String> {
    let body = request.to_string();
    let args: Args<'_> = serde_json::from_str(&body).unwrap();
    prioritize(snapshot, &args)
        .map(|scores| serde_json::to_value(scores).unwrap())
        .map_err(|error| error.to_string())
}

#[test]
fn filter_keeps_what_fits_and_says_why_not() {
    let expected = json!({
        "NodeNames": ["spillway-far-h1", "spillway-near-h1"],
        "FailedNodes": {
            "spillway-dear-h1": "over the price cap of 1.20 per GPU-hour",
            "someone-elses-node": "no provider offers this node",
        },
    });
    assert_eq!(filtered(&snapshot(), &request("work", 0, &NODES)), expected);
}

#[test]
fn prioritize_ranks_cheap_first_and_gives_nothing_to_the_rest() {
    let expected = json!([
        {"Host": "spillway-dear-h1", "Score": 0},
        {"Host": "spillway-far-h1", "Score": 10},
        {"Host": "spillway-near-h1", "Score": 9},
        {"Host": "someone-elses-node", "Score": 0},
    ]);
    assert_eq!(prioritized(&snapshot(), &request("work", 0, &NODES)), Ok(expected));
}

#[test]
fn scores_end_at_zero_after_ten_nodes() {
    let names: Vec<String> = (0..7).map(|number| format!("p{number}")).collect();
    let providers = names
        .iter()
        .zip(1..)
        .map(|(name, cents)| provider(name, cents * 10_000, 0))
        .collect();
    let snapshot = world(providers, vec![job()], vec![]).snapshot();
    let nodes: Vec<String> = names
        .iter()
        .flat_map(|name| ["h1", "h2"].map(|host| format!("spillway-{name}-{host}")))
        .collect();
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let scores = prioritized(&snapshot, &request("work", 0, &nodes)).unwrap();
    let scores: Vec<i64> = scores
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["Score"].as_i64().unwrap())
        .collect();
    assert_eq!(scores, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0]);
}

/// kube-scheduler adds up the scores of a host that is named twice.
#[test]
fn a_node_that_is_named_twice_counts_once() {
    let nodes = [
        "spillway-near-h1",
        "nobody",
        "spillway-far-h1",
        "spillway-near-h1",
        "nobody",
        "spillway-far-h1",
    ];
    let answer = filtered(&snapshot(), &request("work", 0, &nodes));
    assert_eq!(answer["NodeNames"], json!(["spillway-near-h1", "spillway-far-h1"]));
    assert_eq!(answer["FailedNodes"], json!({"nobody": "no provider offers this node"}));
    let expected = json!([
        {"Host": "spillway-near-h1", "Score": 9},
        {"Host": "nobody", "Score": 0},
        {"Host": "spillway-far-h1", "Score": 10},
    ]);
    assert_eq!(prioritized(&snapshot(), &request("work", 0, &nodes)), Ok(expected));
}

#[test]
fn a_check_goes_to_another_owner() {
    let answer = filtered(&snapshot(), &request("check", 1, &NODES));
    assert_eq!(answer["NodeNames"], json!(["spillway-far-h1"]));
    assert_eq!(
        answer["FailedNodes"]["spillway-near-h1"],
        "of an owner who already ran this shard"
    );
    let scores = prioritized(&snapshot(), &request("check", 1, &NODES)).unwrap();
    assert_eq!(scores[2], json!({"Host": "spillway-near-h1", "Score": 0}));
}

#[test]
fn what_the_snapshot_lacks_is_asked_again() {
    let mut unknown_job = request("work", 0, &NODES);
    unknown_job["Pod"]["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let unknown_attempt = request("check", 7, &NODES);
    for (request, error) in [
        (unknown_job, "InferenceJob another is not known yet"),
        (unknown_attempt, "attempt 7 of shard 0 is not known yet"),
    ] {
        assert_eq!(
            filtered(&snapshot(), &request),
            json!({"NodeNames": null, "FailedNodes": {}, "Error": error})
        );
        assert_eq!(prioritized(&snapshot(), &request), Err(error.to_owned()));
    }
}

#[test]
fn a_pod_of_nobody_fits_nowhere() {
    let reference = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": UID, "controller": true});
    let not_controlling =
        json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob", "name": "embed", "uid": UID});
    let foreign_group =
        json!({"apiVersion": "other.dev/v1", "kind": "InferenceJob", "name": "x", "uid": UID, "controller": true});
    for owners in [
        json!(null),
        json!([]),
        json!([reference]),
        json!([not_controlling]),
        json!([foreign_group]),
    ] {
        let mut request = request("work", 0, &["spillway-far-h1"]);
        request["Pod"]["metadata"]["ownerReferences"] = owners;
        let answer = filtered(&snapshot(), &request);
        assert_eq!(answer["NodeNames"], json!([]));
        assert_eq!(
            answer["FailedNodes"]["spillway-far-h1"],
            "no InferenceJob controls this pod"
        );
    }
}

#[test]
fn a_job_of_another_namespace_lends_nothing() {
    let mut request = request("work", 0, &["spillway-far-h1"]);
    request["Pod"]["metadata"]["namespace"] = json!("team-b");
    let reason = "its InferenceJob lives in another namespace than team-b";
    assert_eq!(
        filtered(&snapshot(), &request)["FailedNodes"]["spillway-far-h1"],
        reason
    );
}

#[test]
fn a_spec_that_cannot_be_honoured_is_named() {
    let bad = job_with(json!({"data": {"secretTier": 3}}));
    let snapshot = world(vec![provider("far", 800_000, 0)], vec![bad], vec![]).snapshot();
    let reason =
        "its InferenceJob cannot be honoured: spec.data.secretTier: tier 3 is not offered by this hub: use 0 or 1";
    let answer = filtered(&snapshot, &request("work", 0, &["spillway-far-h1"]));
    assert_eq!(answer["FailedNodes"]["spillway-far-h1"], reason);
}

#[test]
fn gpus_of_living_assignments_are_taken() {
    let held = vec![
        assignment("far", "a", 1, "Running"),
        assignment("far", "b", 1, "Pending"),
    ];
    let ended = vec![
        assignment("far", "a", 1, "Completed"),
        assignment("far", "b", 1, "Running"),
    ];
    let nodes = ["spillway-far-h1", "spillway-far-h2"];
    let fitting = |assignments| {
        let snapshot = world(vec![provider("far", 800_000, 0)], vec![job()], assignments).snapshot();
        filtered(&snapshot, &request("work", 0, &nodes))["NodeNames"].clone()
    };
    assert_eq!(fitting(held), json!(["spillway-far-h2"]));
    assert_eq!(fitting(ended), json!(nodes));
}
