//! From Nodes to host claims: pure.
//!
//! A claim holds what the device plugin offers (allocatable) under the labels of GPU feature discovery. GPUs that
//! are shared or cut are not offered: a buyer pays for a whole one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use spillway_crds::HostClaim;
use spillway_crds::names::GPU_RESOURCE;

use self::quantity::{mebibytes, millis};

mod quantity;

const PRODUCT: &str = "nvidia.com/gpu.product";
const MEMORY: &str = "nvidia.com/gpu.memory";
const REPLICAS: &str = "nvidia.com/gpu.replicas";
const SHARING: &str = "nvidia.com/gpu.sharing-strategy";
const MIG: &str = "nvidia.com/mig.strategy";
const COMPUTE: [&str; 2] = ["nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"];
/// Of feature discovery since 0.15, then of older ones.
const DRIVER_FULL: &str = "nvidia.com/cuda.driver-version.full";
const DRIVER: [&str; 3] = [
    "nvidia.com/cuda.driver.major",
    "nvidia.com/cuda.driver.minor",
    "nvidia.com/cuda.driver.rev",
];
/// As the API bounds them.
const MOST_HOSTS: usize = 256;
const MOST_GPUS: u32 = 64;

/// Claims in name order, and a line for each host that offers less than it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostReport {
    pub hosts: Vec<HostClaim>,
    pub notes: Vec<String>,
}

/// Hosts without `nvidia.com/gpu` are not mentioned; hosts that offer none now are claimed with 0 GPUs.
pub fn report(nodes: &[Node]) -> HostReport {
    let mut nodes: Vec<&Node> = nodes.iter().collect();
    nodes.sort_by_key(|node| name(node));
    let mut report = HostReport::default();
    for node in nodes {
        let Some(gpus) = allocatable_gpus(node) else { continue };
        match claim(node, gpus) {
            Ok((host, note)) => {
                report.hosts.push(host);
                report.notes.extend(note);
            }
            Err(note) => report.notes.push(note),
        }
    }
    if report.hosts.len() > MOST_HOSTS {
        report.notes.push(format!(
            "{} GPU hosts: only the first {MOST_HOSTS} are offered",
            report.hosts.len()
        ));
        report.hosts.truncate(MOST_HOSTS);
    }
    report
}

fn claim(node: &Node, gpus: u32) -> Result<(HostClaim, Option<String>), String> {
    let host = name(node);
    let Some(product) = label(node, PRODUCT) else {
        return Err(format!(
            "host {host} has GPUs but no label {PRODUCT}: is GPU feature discovery running there?"
        ));
    };
    let withheld = why_not(node, product);
    let note = withheld.map(|why| format!("host {host} offers 0 of {gpus} GPUs: {why}"));
    let offered = if note.is_some() { 0 } else { gpus.min(MOST_GPUS) };
    let allocatable = |resource| status(node).and_then(|status| status.allocatable.as_ref()?.get(resource));
    let claim = HostClaim {
        name: host.to_owned(),
        product: product.to_owned(),
        gpus: offered,
        memory_mebibytes: number(node, MEMORY).unwrap_or(0),
        compute_capability: joined(node, &COMPUTE),
        driver_version: label(node, DRIVER_FULL)
            .map(str::to_owned)
            .or_else(|| joined(node, &DRIVER)),
        cpu_millis: allocatable("cpu").and_then(millis).unwrap_or(0),
        main_memory_mebibytes: allocatable("memory").and_then(mebibytes).unwrap_or(0),
    };
    Ok((claim, note))
}

/// Why a host with GPUs offers none; one check per line.
fn why_not(node: &Node, product: &str) -> Option<String> {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    if !is_ready(node) {
        return Some("it is not Ready".to_owned());
    }
    if cordoned {
        return Some("it is cordoned".to_owned());
    }
    if product.ends_with("-SHARED") || number(node, REPLICAS).is_some_and(|replicas| replicas > 1) {
        return Some("its GPUs are shared by time-slicing or MPS".to_owned());
    }
    if label(node, SHARING).is_some_and(|strategy| strategy != "none") {
        return Some("its GPUs are shared by time-slicing or MPS".to_owned());
    }
    if product.contains("-MIG-") || label(node, MIG).is_some_and(|strategy| strategy == "mixed") {
        return Some("its GPUs are cut by MIG".to_owned());
    }
    if number(node, MEMORY).is_none() {
        return Some(format!("label {MEMORY} is missing or not a number of MiB"));
    }
    None
}

fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

fn status(node: &Node) -> Option<&NodeStatus> {
    node.status.as_ref()
}

/// `None` when the host never had a device plugin for GPUs; one that is gone leaves 0.
fn allocatable_gpus(node: &Node) -> Option<u32> {
    let resources: &BTreeMap<String, Quantity> = status(node)?.allocatable.as_ref()?;
    resources.get(GPU_RESOURCE)?.0.parse().ok()
}

fn is_ready(node: &Node) -> bool {
    let conditions = status(node).and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.metadata
        .labels
        .as_ref()?
        .get(key)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn number(node: &Node, key: &str) -> Option<u64> {
    label(node, key)?.parse().ok()
}

/// Label values with points between them; `None` unless all are there.
fn joined(node: &Node, keys: &[&str]) -> Option<String> {
    let parts: Option<Vec<&str>> = keys.iter().map(|key| label(node, key)).collect();
    parts.map(|parts| parts.join("."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, change: impl FnOnce(&mut Value)) -> Node {
        let mut node = json!({
            "metadata": {"name": name, "labels": {
                PRODUCT: "NVIDIA-L4", MEMORY: "23034", REPLICAS: "1", SHARING: "none",
                COMPUTE[0]: "8", COMPUTE[1]: "9", DRIVER_FULL: "570.86.15",
            }},
            "status": {
                "allocatable": {GPU_RESOURCE: "2", "cpu": "3920m", "memory": "16Gi"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        change(&mut node);
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn claims_what_the_labels_say() {
        let plain: Node = serde_json::from_value(json!({
            "metadata": {"name": "a-control-plane"},
            "status": {"allocatable": {"cpu": "4"}},
        }))
        .unwrap();
        let report = report(&[node("gpu-1", |_| ()), plain]);
        assert_eq!(report.notes, [] as [String; 0]);
        assert_eq!(
            report.hosts,
            [HostClaim {
                name: "gpu-1".to_owned(),
                product: "NVIDIA-L4".to_owned(),
                gpus: 2,
                memory_mebibytes: 23034,
                compute_capability: Some("8.9".to_owned()),
                driver_version: Some("570.86.15".to_owned()),
                cpu_millis: 3920,
                main_memory_mebibytes: 16384,
            }]
        );
    }

    #[test]
    fn withholds_gpus_with_a_reason() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 8] = [
            ("not Ready", |node| {
                node["status"]["conditions"][0]["status"] = json!("Unknown")
            }),
            ("not Ready", |node| node["status"]["conditions"] = json!([])),
            ("cordoned", |node| node["spec"] = json!({"unschedulable": true})),
            ("shared", |node| {
                node["metadata"]["labels"][PRODUCT] = json!("NVIDIA-L4-SHARED")
            }),
            ("shared", |node| node["metadata"]["labels"][REPLICAS] = json!("4")),
            ("shared", |node| node["metadata"]["labels"][SHARING] = json!("mps")),
            ("MIG", |node| {
                node["metadata"]["labels"][PRODUCT] = json!("NVIDIA-A100-MIG-1g.5gb")
            }),
            (MEMORY, |node| node["metadata"]["labels"][MEMORY] = json!("many")),
        ];
        for (why, change) in cases {
            let report = report(&[node("gpu-1", change)]);
            assert_eq!(report.hosts[0].gpus, 0, "{why}");
            assert!(report.notes[0].contains(why), "{why}: {:?}", report.notes);
        }
    }

    #[test]
    fn a_host_without_feature_discovery_is_not_claimed() {
        let report = report(&[node("gpu-1", |node| node["metadata"]["labels"] = json!({}))]);
        assert_eq!(report.hosts, []);
        assert!(report.notes[0].contains(PRODUCT));
    }

    #[test]
    fn a_host_whose_device_plugin_is_gone_stays_with_nothing_to_offer() {
        let gone = node("gpu-1", |node| node["status"]["allocatable"][GPU_RESOURCE] = json!("0"));
        assert_eq!(report(&[gone]).hosts[0].gpus, 0);
    }

    #[test]
    fn the_order_of_nodes_does_not_matter() {
        let (first, second) = (node("gpu-1", |_| ()), node("gpu-2", |_| ()));
        assert_eq!(report(&[second.clone(), first.clone()]), report(&[first, second]));
    }

    #[test]
    fn older_feature_discovery_names_the_driver_in_three_labels() {
        let old = node("gpu-1", |node| {
            let labels = node["metadata"]["labels"].as_object_mut().unwrap();
            labels.remove(DRIVER_FULL);
            DRIVER.iter().zip(["550", "54", "15"]).for_each(|(key, value)| {
                labels.insert((*key).to_owned(), json!(value));
            });
        });
        assert_eq!(report(&[old]).hosts[0].driver_version.as_deref(), Some("550.54.15"));
    }
}
