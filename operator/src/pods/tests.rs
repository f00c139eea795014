use serde_json::json;
use spillway_core::shard::{PublishedShard, ShardCount};
use spillway_crds::InferenceJobSpec;

use super::*;

pub(crate) fn job() -> InferenceJob {
    let spec: InferenceJobSpec = serde_json::from_value(json!({
        "engine": {"image": "engine@sha256:00", "port": 8000, "healthPath": "/health"},
        "input": {"uri": "s3://in/reviews.jsonl", "secretRef": "in-store"},
        "output": {"uri": "s3://out/reviews/", "secretRef": "out-store"},
        "resources": {"gpus": 2},
        "price": {"maxPerGpuHour": "1.20", "budget": "5.00"},
    }))
    .unwrap();
    let mut job = InferenceJob::new("embed", spec);
    job.metadata.namespace = Some("team-a".to_owned());
    job.metadata.uid = Some("7c0f2f3e-0000-4000-8000-000000000001".to_owned());
    job
}

fn attempt() -> AttemptStatus {
    AttemptStatus {
        number: 1,
        kind: AttemptKind::Check,
        candidates: vec!["spillway-a-gpu0".to_owned(), "spillway-b-gpu1".to_owned()],
        ..AttemptStatus::default()
    }
}

#[test]
fn golden_pods() {
    insta::assert_yaml_snapshot!("attempt", attempt_pod(&job(), 3, &attempt()).unwrap());
    insta::assert_yaml_snapshot!("split", split_pod(&job(), "spillway/runner:dev").unwrap());
    insta::assert_yaml_snapshot!("publish", publish_pod(&job(), "spillway/runner:dev").unwrap());
}

#[test]
fn plan_files_travel_in_owned_secrets() {
    let plan = SplitPlan {
        input_uri: "s3://in/reviews.jsonl".to_owned(),
        shards: ShardCount::Count(2),
        shard_urls: vec!["http://put0".to_owned(), "http://put1".to_owned()],
        manifest_url: "http://put".to_owned(),
    };
    let secret = split_secret(&job(), &plan).unwrap();
    assert_eq!(secret.metadata.name.as_deref(), Some("embed-split"));
    assert_eq!(
        secret.metadata.owner_references.unwrap()[0].uid,
        job().metadata.uid.unwrap()
    );
    let file: SplitPlan = serde_json::from_slice(&secret.data.unwrap()["plan.json"].0).unwrap();
    assert_eq!(file, plan);
    let publish = PublishPlan {
        output_uri: "s3://out/".to_owned(),
        shards: vec![PublishedShard {
            url: "http://get".to_owned(),
            digest: "sha256:0".to_owned(),
        }],
        unfinished: None,
        report_url: "http://put".to_owned(),
    };
    assert_eq!(
        publish_secret(&job(), &publish).unwrap().metadata.name.as_deref(),
        Some("embed-publish")
    );
}

#[test]
fn every_pod_fits_the_restricted_profile() {
    let pods = [
        attempt_pod(&job(), 0, &attempt()).unwrap(),
        split_pod(&job(), "image").unwrap(),
        publish_pod(&job(), "image").unwrap(),
    ];
    for pod in pods {
        let spec = pod.spec.unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        let security = spec.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in spec.containers {
            let security = container.security_context.unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
        }
    }
}

#[test]
fn a_job_without_identity_is_refused() {
    let mut stranger = job();
    stranger.metadata.uid = None;
    assert!(attempt_pod(&stranger, 0, &attempt()).is_err());
}

/// Our pod as the API server gives it back, bound.
fn stored() -> serde_json::Value {
    let mut pod = serde_json::to_value(attempt_pod(&job(), 3, &attempt()).unwrap()).unwrap();
    pod["metadata"]["uid"] = json!("pod-uid");
    let spec = &mut pod["spec"];
    for (key, value) in [
        ("nodeName", json!("spillway-a-gpu0")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("serviceAccountName", json!("default")),
        ("serviceAccount", json!("default")),
        ("priority", json!(0)),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("terminationGracePeriodSeconds", json!(30)),
    ] {
        spec[key] = value;
    }
    let container = &mut spec["containers"][0];
    container["resources"]["requests"] = container["resources"]["limits"].clone();
    container["imagePullPolicy"] = json!("Always");
    container["terminationMessagePath"] = json!("/dev/termination-log");
    pod
}

fn adopted(found: serde_json::Value) -> bool {
    same_attempt_pod(
        &attempt_pod(&job(), 3, &attempt()).unwrap(),
        &serde_json::from_value(found).unwrap(),
    )
}

#[test]
fn our_own_pod_is_adopted() {
    assert!(adopted(stored()));
}

#[test]
fn a_pod_that_merely_bears_our_name_is_not() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 9] = [
        ("no owner", |pod| pod["metadata"]["ownerReferences"] = json!([])),
        ("owner is no controller", |pod| {
            pod["metadata"]["ownerReferences"][0]["controller"] = json!(false)
        }),
        ("another job", |pod| {
            pod["metadata"]["ownerReferences"][0]["uid"] = json!("other")
        }),
        ("being deleted", |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")
        }),
        ("more GPUs", |pod| {
            pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = json!("4")
        }),
        ("a second container", |pod| {
            let container = pod["spec"]["containers"][0].clone();
            pod["spec"]["containers"].as_array_mut().unwrap().push(container);
        }),
        ("an init container", |pod| {
            pod["spec"]["initContainers"] = json!([{"name": "x", "image": "y"}])
        }),
        ("other candidates", |pod| {
            let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
            pod.pointer_mut(terms).unwrap().as_array_mut().unwrap().pop();
        }),
        ("another scheduler", |pod| {
            pod["spec"]["schedulerName"] = json!("default-scheduler")
        }),
    ];
    for (name, change) in changes {
        let mut pod = stored();
        change(&mut pod);
        assert!(!adopted(pod), "{name}");
    }
}
