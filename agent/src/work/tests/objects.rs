//! Golden objects, and what must never be in them.

use spillway_core::knowledge::Knowledge;
use spillway_core::shard::WorkTask;
use spillway_crds::Isolation;

use super::fixture::{Fixture, observed};
use crate::work::IsolationRuntime;
use crate::work::objects::{WorkObjects, gpus_of};
use crate::work::observe::LocalWork;
use crate::work::plan::Action;

fn objects(fixture: &Fixture, egress: &[&str]) -> WorkObjects {
    let egress = egress.iter().map(|&pair| pair.to_owned()).collect();
    let assignment = fixture.assignment_where(|spec| spec.egress = egress);
    match fixture.plan(&observed([assignment], LocalWork::default())).as_slice() {
        [Action::Start { objects, .. }] => (**objects).clone(),
        other => panic!("expected one start: {other:?}"),
    }
}

#[test]
fn golden_pod() {
    insta::assert_yaml_snapshot!(objects(&Fixture::new(), &["store.example.com:443"]).pod);
}

#[test]
fn golden_network_policy() {
    insta::assert_yaml_snapshot!(objects(&Fixture::new(), &["store.example.com:443", "203.0.113.7:9000"]).policy);
}

#[test]
fn no_egress_leaves_names_alone() {
    let policy = objects(&Fixture::new(), &[]).policy;
    assert_eq!(policy.spec.unwrap().egress.unwrap().len(), 1);
}

#[test]
fn the_task_file_is_what_the_runner_reads() {
    let secret = objects(&Fixture::new(), &[]).secret;
    assert_eq!(secret.immutable, Some(true));
    let task: WorkTask = serde_json::from_slice(&secret.data.unwrap()["task.json"].0).unwrap();
    assert_eq!(task.input_url, "https://store.example.com/in?sig=1");
    assert_eq!(task.output_url, "https://store.example.com/out?sig=2");
    assert_eq!(
        (task.engine_url.as_str(), task.health_path.as_str()),
        ("http://127.0.0.1:8000", "/health")
    );
    assert_eq!((task.requests, task.gpus, task.concurrency), (25, 1, 8));
}

#[test]
fn no_secret_byte_outside_the_secret() {
    let WorkObjects { policy, pod, .. } = objects(&Fixture::new(), &["store.example.com:443"]);
    let shown = format!(
        "{}{}",
        serde_json::to_string(&pod).unwrap(),
        serde_json::to_string(&policy).unwrap()
    );
    assert!(!shown.contains("sig="), "{shown}");
    let actions = Fixture::new();
    let shown = format!(
        "{:?}",
        actions.plan(&observed([actions.assignment()], LocalWork::default()))
    );
    assert!(!shown.contains("sig="), "{shown}");
}

#[test]
fn the_pod_says_how_many_gpus_it_holds() {
    assert_eq!(gpus_of(&objects(&Fixture::new(), &[]).pod), 1);
}

#[test]
fn isolated_work_runs_under_our_runtime_class() {
    let mut fixture = Fixture::new();
    fixture.policy.pods.isolation = Some(IsolationRuntime {
        runtime_class: "kata".to_owned(),
        tier: Isolation::Sandboxed,
    });
    let runtime_class = |tier| {
        let assignment = fixture.assignment_where(|spec| spec.isolation = tier);
        match fixture.plan(&observed([assignment], LocalWork::default())).as_slice() {
            [Action::Start { objects, .. }] => Ok(objects.pod.spec.clone().unwrap().runtime_class_name),
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(runtime_class(Isolation::Standard), Ok(None));
    assert_eq!(runtime_class(Isolation::Sandboxed), Ok(Some("kata".to_owned())));
    assert!(runtime_class(Isolation::Confidential).unwrap_err().contains("Report"));
}

#[test]
fn work_for_an_elastic_host_waits_for_its_pool() {
    let mut fixture = Fixture::new();
    let pools = r#"[{"name": "burst", "product": "NVIDIA-L4", "memory": "24Gi", "gpusPerHost": 1, "maxHosts": 2,
        "startTime": "3m", "nodeSelector": {"pool": "gpu"}}]"#;
    fixture.policy.pods.elastic = pools.parse().unwrap();
    let assignment = fixture.assignment_where(|spec| spec.host = "burst-1".to_owned());
    let mut observed = observed([assignment], LocalWork::default());
    observed.hosts = Knowledge::Known(fixture.policy.pods.elastic.hosts());
    let actions = fixture.plan(&observed);
    let [Action::Start { objects, .. }] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    let spec = objects.pod.spec.clone().unwrap();
    assert_eq!(spec.affinity, None);
    assert_eq!(spec.node_selector.unwrap()["pool"], "gpu");
    assert_eq!(
        objects.pod.metadata.annotations.clone().unwrap()["spillway.dev/start-millis"],
        "180000"
    );
}
