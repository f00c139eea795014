//! The KubeSchedulerConfiguration in the README is the one that works with this server.

use serde_json::{Value, json};
use spillway_crds::names;

use crate::server::{FILTER, PRIORITIZE};

/// YAML blocks of the README, in order.
fn documented() -> Vec<Value> {
    let blocks = include_str!("../../README.md").split("```yaml\n").skip(1);
    let yaml = blocks.map(|block| block.split_once("```").unwrap().0);
    yaml.map(|yaml| serde_yaml::from_str(yaml).unwrap()).collect()
}

#[test]
fn the_documented_configuration_fits_this_server() {
    let configuration = &documented()[0];
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

#[test]
fn in_different_pods_only_address_and_certificates_differ() {
    let [one_pod, two_pods] = [0, 1].map(|block| documented()[block]["extenders"][0].clone());
    let tls = &two_pods["tlsConfig"];
    assert_eq!(
        (&two_pods["enableHTTPS"], &tls["insecure"]),
        (&json!(true), &json!(false))
    );
    assert!(
        ["caFile", "certFile", "keyFile"]
            .iter()
            .all(|file| tls[file].is_string())
    );
    for (field, value) in one_pod.as_object().unwrap() {
        if !["urlPrefix", "enableHTTPS"].contains(&field.as_str()) {
            assert_eq!(&two_pods[field], value, "{field}");
        }
    }
}
