use serde_json::json;
use spillway_crds::{InferenceJobStatus, ShardState, ShardStatus};

use super::*;
use crate::pods::tests::job;

fn pod(uid: &str, bound: bool) -> SlimPod {
    let owner = crate::pods::owner(&crate::pods::job_reference(&job()).unwrap());
    serde_json::from_value(json!({
        "metadata": {
            "namespace": "team-a", "name": "embed-0-1", "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": bound.then_some("spillway-a-gpu0"), "containers": []},
        "status": {"phase": "Pending"},
    }))
    .unwrap()
}

fn job_with(attempts: Vec<AttemptStatus>) -> InferenceJob {
    let shard = ShardStatus {
        index: 0,
        state: ShardState::Pending,
        input_digest: String::new(),
        input_bytes: 0,
        requests: 1,
        attempts,
        accepted_attempt: None,
    };
    InferenceJob {
        status: Some(InferenceJobStatus {
            shards: vec![shard],
            ..Default::default()
        }),
        ..job()
    }
}

fn attempt(state: AttemptState, pod_uid: Option<&str>) -> AttemptStatus {
    AttemptStatus {
        number: 1,
        state,
        pod_uid: pod_uid.map(str::to_owned),
        ..AttemptStatus::default()
    }
}

fn expected(pod: &SlimPod, job: Option<&InferenceJob>) -> bool {
    is_expected(&Candidate::of(pod).unwrap(), job)
}

#[test]
fn only_the_pod_of_a_written_attempt_is_expected() {
    let ours = pod("u", true);
    assert!(expected(
        &ours,
        Some(&job_with(vec![attempt(AttemptState::Expected, None)]))
    ));
    assert!(expected(
        &ours,
        Some(&job_with(vec![attempt(AttemptState::Failed, Some("u"))]))
    ));
    assert!(!expected(
        &ours,
        Some(&job_with(vec![attempt(AttemptState::Running, Some("other"))]))
    ));
    assert!(!expected(
        &ours,
        Some(&job_with(vec![attempt(AttemptState::Cancelled, None)]))
    ));
    assert!(!expected(&ours, Some(&job_with(vec![]))));
    assert!(!expected(&ours, Some(&job())), "a job without status asked for nothing");
    assert!(!expected(&ours, None), "no such job");
}

#[test]
fn a_namesake_of_the_job_does_not_help() {
    let mut namesake = job_with(vec![attempt(AttemptState::Expected, None)]);
    namesake.metadata.uid = Some("another".to_owned());
    assert!(!expected(&pod("u", true), Some(&namesake)));
    let mut orphan = pod("u", true);
    orphan.metadata.owner_references = None;
    assert!(!expected(
        &orphan,
        Some(&job_with(vec![attempt(AttemptState::Expected, None)]))
    ));
}

#[test]
fn a_pod_is_due_once_bound_or_after_a_while_and_judged_once() {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut ledger = Ledger::default();
    ledger.note(Event::InitApply(pod("unbound", false)));
    ledger.note(Event::Apply(pod("bound", true)));
    let due = |ledger: &Ledger, seconds| {
        let now = start + SignedDuration::from_secs(seconds);
        let mut uids: Vec<_> = ledger.due(now).into_iter().map(|pod| pod.uid).collect();
        uids.sort();
        uids
    };
    assert_eq!(due(&ledger, 30), ["bound"]);
    assert_eq!(due(&ledger, 31), ["bound", "unbound"]);
    ledger.settle("bound");
    ledger.note(Event::Apply(pod("bound", true)));
    assert_eq!(due(&ledger, 31), ["unbound"]);
    ledger.note(Event::Delete(pod("unbound", false)));
    assert!(due(&ledger, 31).is_empty());
    ledger.note(Event::Delete(pod("bound", true)));
    assert!(ledger.judged.is_empty());
}

#[test]
fn golden_event() {
    let candidate = Candidate::of(&pod("0b0e8e3c-0000-4000-8000-000000000002", true)).unwrap();
    insta::assert_yaml_snapshot!("event", event(&candidate, "2026-01-01T00:00:31Z".parse().unwrap()));
}
