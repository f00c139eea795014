//! Default deny for a work pod, with the store it needs left open: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use spillway_crds::names::LABEL_ASSIGNMENT_UID;

use super::egress::{Destination, Host};

/// Cloud metadata and other link-local services.
const LINK_LOCAL_4: &str = "169.254.0.0/16";
const LINK_LOCAL_6: &str = "fe80::/10";
/// The metadata service of one large cloud has a unique-local address.
const METADATA_6: &str = "fd00:ec2::254/128";

pub(super) fn build(metadata: ObjectMeta, destinations: &[Destination]) -> NetworkPolicy {
    let uid = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(LABEL_ASSIGNMENT_UID))
        .cloned();
    let selector = BTreeMap::from([(LABEL_ASSIGNMENT_UID.to_owned(), uid.unwrap_or_default())]);
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selector),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            // Probes come from the host, which no policy shuts out.
            ingress: None,
            egress: Some(std::iter::once(dns()).chain(destinations.iter().map(rule)).collect()),
        }),
    }
}

/// The cluster's own resolvers.
fn dns() -> NetworkPolicyEgressRule {
    let namespace = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), "kube-system".to_owned())]);
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(LabelSelector {
                match_labels: Some(namespace),
                ..LabelSelector::default()
            }),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(vec![port("UDP", 53), port("TCP", 53)]),
    }
}

fn rule(destination: &Destination) -> NetworkPolicyEgressRule {
    let to = match &destination.host {
        Host::Address(address) => vec![block(&exactly(*address), &[])],
        // A NetworkPolicy knows no host names, and a store's addresses change while the work runs. So a name opens
        // its port to every address but the machine's own metadata service.
        Host::Name(_) => vec![
            block("0.0.0.0/0", &[LINK_LOCAL_4]),
            block("::/0", &[LINK_LOCAL_6, METADATA_6]),
        ],
    };
    NetworkPolicyEgressRule {
        to: Some(to),
        ports: Some(vec![port("TCP", destination.port)]),
    }
}

fn exactly(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except: Vec<String> = except.iter().map(|&range| range.to_owned()).collect();
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: (!except.is_empty()).then_some(except),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}
