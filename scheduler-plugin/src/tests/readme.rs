//! The KubeSchedulerConfiguration in the README is the one that works with this server.

use serde_json::{Value, json};
use spillway_crds::names;

use crate::server::{FILTER, PRIORITIZE};

#[test]
fn the_documented_configuration_fits_this_server() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```yaml\n").unwrap();
    let (yaml, _) = rest.split_once("```").unwrap();
    let configuration: Value = serde_yaml::from_str(yaml).unwrap();
    let extender = &configuration["extenders"][0];
    assert_eq!(
        (&extender["filterVerb"], &extender["prioritizeVerb"]),
        (&json!(FILTER), &json!(PRIORITIZE))
    );
    assert_eq!(extender["nodeCacheCapable"], json!(true));
    assert_eq!(extender["managedResources"][0]["name"], json!(names::GPU_RESOURCE));
    assert_eq!(
        configuration["profiles"][0]["schedulerName"],
        json!(names::SCHEDULER_NAME)
    );
    assert_eq!(
        configuration["leaderElection"]["resourceNamespace"],
        json!(names::SYSTEM_NAMESPACE)
    );
}
