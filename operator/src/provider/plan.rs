//! What to do about one provider: a pure function of what was observed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use spillway_crds::{
    GpuProvider, GpuProviderStatus, ProbeTarget, ProviderInventorySpec, is_status_condition_true, names,
    provider_condition,
};

use super::facts::{ClaimError, facts};
use super::heartbeat::Liveness;
use super::latency::{Judged, Paths, judge};
use super::node::VirtualNode;

/// Everything known about one provider at one instant.
#[derive(Clone, Debug)]
pub struct Observed {
    pub provider: GpuProvider,
    /// Absent until the namespace is provisioned.
    pub inventory: Option<ProviderInventorySpec>,
    pub liveness: Liveness,
    /// Virtual nodes of this provider that exist: name → digest annotation.
    pub nodes: BTreeMap<String, Option<String>>,
    /// Whether this process has applied the provider's access already.
    pub provisioned: bool,
    /// What the inventory asks the agent to measure.
    pub asked: Vec<ProbeTarget>,
    /// What others see of the provider's distances.
    pub paths: Paths,
    /// WorkAssignments still in the provider's namespace.
    pub assignments: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Namespace, identities, rights, Lease and inventory; `joined` leaves the join Secret out.
    Provision {
        joined: bool,
    },
    DeleteJoinSecret,
    ApplyNode(Box<VirtualNode>),
    DeleteNode(String),
    /// Names the probe targets in the inventory.
    AskForDistances(Vec<ProbeTarget>),
    UpdateStatus(Box<GpuProviderStatus>),
    /// Ends the agent's token within seconds.
    DeleteAgentSecret,
    DeleteNamespace,
    AddFinalizer,
    RemoveFinalizer,
}

pub const FINALIZER: &str = "spillway.dev/provider";

/// The actions, in the order in which they must be applied.
pub fn plan(observed: &Observed, now: &Time) -> Vec<Action> {
    if observed.provider.metadata.deletion_timestamp.is_some() {
        return removal(observed);
    }
    let has_finalizer = observed
        .provider
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == FINALIZER);
    let status = status(observed, now);
    let joined = is_true(&status, provider_condition::JOINED);
    let mut actions = Vec::new();
    if !has_finalizer {
        actions.push(Action::AddFinalizer);
    }
    if !observed.provisioned {
        actions.push(Action::Provision { joined });
    }
    let was_joined = observed
        .provider
        .status
        .as_ref()
        .is_some_and(|stored| is_true(stored, provider_condition::JOINED));
    if joined && !was_joined {
        actions.push(Action::DeleteJoinSecret);
    }
    let available = is_true(&status, provider_condition::READY);
    actions.extend(node_actions(observed, &status, available));
    let wanted: Vec<ProbeTarget> = observed.paths.targets.iter().map(|path| path.target.clone()).collect();
    if observed.inventory.is_some() && observed.asked != wanted {
        actions.push(Action::AskForDistances(wanted));
    }
    if observed.provider.status.as_ref() != Some(&status) {
        actions.push(Action::UpdateStatus(Box::new(status)));
    }
    actions
}

fn removal(observed: &Observed) -> Vec<Action> {
    let mut actions = vec![Action::DeleteAgentSecret];
    actions.extend(observed.nodes.keys().cloned().map(Action::DeleteNode));
    // The job controller releases assignments first; the namespace would wait for their finalizers anyway.
    if observed.assignments == 0 {
        actions.extend([Action::DeleteNamespace, Action::RemoveFinalizer]);
    }
    actions
}

fn node_actions(observed: &Observed, status: &GpuProviderStatus, available: bool) -> Vec<Action> {
    let wanted: Vec<VirtualNode> = status
        .hosts
        .iter()
        .map(|host| VirtualNode::new(&observed.provider, host, available))
        .collect();
    let names: BTreeSet<&str> = wanted.iter().map(|node| node.host.node.as_str()).collect();
    let gone = observed
        .nodes
        .keys()
        .filter(|name| !names.contains(name.as_str()))
        .cloned()
        .map(Action::DeleteNode);
    let changed = wanted.iter().filter(|node| {
        observed
            .nodes
            .get(&node.host.node)
            .is_none_or(|digest| digest.as_deref() != Some(&node.digest()))
    });
    changed
        .cloned()
        .map(|node| Action::ApplyNode(Box::new(node)))
        .chain(gone)
        .collect()
}

/// The status that follows from what was observed.
fn status(observed: &Observed, now: &Time) -> GpuProviderStatus {
    let provider = &observed.provider;
    let stored = provider.status.clone().unwrap_or_default();
    let claims = observed.inventory.as_ref().ok_or(ClaimError::Missing("agentVersion"));
    let believed = claims.and_then(|claims| facts(provider, claims));
    let heard = observed.liveness == Liveness::Fresh;
    let was_joined = is_true(&stored, provider_condition::JOINED);
    let joined = was_joined || (heard && believed.is_ok());
    let ready = readiness(observed.liveness, &believed, joined);
    let claimed = observed.inventory.as_ref().map(|claims| claims.latencies.as_slice());
    let judged = judge(claimed.unwrap_or_default(), &stored.latencies, &observed.paths, now);
    let mut status = match (&believed, joined) {
        (Ok(status), true) => status.clone(),
        _ => stored.clone(),
    };
    let distances = distances(&judged);
    status.latencies = judged.facts;
    let name = provider.metadata.name.as_deref().unwrap_or_default();
    status.observed_generation = provider.metadata.generation;
    status.namespace = Some(names::provider_namespace(name));
    status.joined_at = if joined {
        stored.joined_at.clone().or_else(|| Some(now.clone()))
    } else {
        None
    };
    let generation = provider.metadata.generation;
    let joined = if joined {
        Fact {
            status: true,
            reason: "AgentHeard",
            message: "the agent joined; its join token is gone".to_owned(),
        }
    } else {
        Fact {
            status: false,
            reason: "WaitingForAgent",
            message: "run the Helm command of `kubectl spillway join-token`".to_owned(),
        }
    };
    set(
        &mut status.conditions,
        provider_condition::JOINED,
        &joined,
        generation,
        now,
    );
    set(
        &mut status.conditions,
        provider_condition::READY,
        &ready,
        generation,
        now,
    );
    set(
        &mut status.conditions,
        provider_condition::LATENCY_KNOWN,
        &distances,
        generation,
        now,
    );
    status
}

struct Fact {
    status: bool,
    reason: &'static str,
    message: String,
}

/// Reasons of `Ready`: `Offering`, `HeartbeatSilent` (attempts are lost), `HeartbeatUnknown`, `NoGpu`, `ClaimRefused`, `WaitingForAgent`.
fn readiness(liveness: Liveness, believed: &Result<GpuProviderStatus, ClaimError>, joined: bool) -> Fact {
    let no = |reason, message: String| Fact {
        status: false,
        reason,
        message,
    };
    match (joined, liveness, believed) {
        (false, ..) => no("WaitingForAgent", "no agent has joined yet".to_owned()),
        (_, Liveness::Silent, _) => no(
            "HeartbeatSilent",
            "no heartbeat for 20 s while others are heard".to_owned(),
        ),
        (_, Liveness::Unknown, _) => no(
            "HeartbeatUnknown",
            "no fresh heartbeat, but the fault may be the hub's: nothing new is placed, nothing is ended".to_owned(),
        ),
        (_, Liveness::Fresh, Err(refused)) => no("ClaimRefused", refused.to_string()),
        (_, Liveness::Fresh, Ok(status)) if status.gpus == 0 => no("NoGpu", "the inventory offers no GPU".to_owned()),
        (_, Liveness::Fresh, Ok(status)) => Fact {
            status: true,
            reason: "Offering",
            message: format!("{} GPU(s) offered", status.gpus),
        },
    }
}

/// Reasons of `LatencyKnown`: `Confirmed`, `LatencyDisputed`, `NotMeasured`.
fn distances(judged: &Judged) -> Fact {
    let known: Vec<&str> = judged.facts.iter().map(|fact| fact.to.as_str()).collect();
    let (status, reason, message) = match (judged.disputes.first(), known.as_slice()) {
        (Some((to, dispute)), _) => (false, "LatencyDisputed", format!("to {to}: {dispute}")),
        (None, []) => (
            false,
            "NotMeasured",
            "no distance was measured and checked yet".to_owned(),
        ),
        (None, known) => (true, "Confirmed", format!("to {}", known.join(", "))),
    };
    Fact {
        status,
        reason,
        message,
    }
}

fn is_true(status: &GpuProviderStatus, kind: &str) -> bool {
    is_status_condition_true(&status.conditions, kind)
}

fn set(conditions: &mut Vec<Condition>, kind: &str, fact: &Fact, generation: Option<i64>, now: &Time) {
    let status = if fact.status { "True" } else { "False" };
    let same_status = conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == status);
    let since = same_status.map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone());
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: fact.reason.to_owned(),
        message: fact.message.clone(),
        observed_generation: generation,
        last_transition_time: since,
    });
    conditions.sort_by(|left, right| left.type_.cmp(&right.type_));
}

#[cfg(test)]
mod tests {
    use spillway_core::knowledge::Knowledge;
    use spillway_crds::{ElasticClaim, GpuProviderSpec, HostClaim, LatencyClaim, ProviderClass};

    use super::super::latency::Path;
    use super::*;

    fn time(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn provider() -> GpuProvider {
        let mut provider = GpuProvider::new(
            "a",
            GpuProviderSpec {
                class: ProviderClass::Decentralized,
                region: "eu".to_owned(),
                jurisdiction: None,
                isolation: spillway_crds::Isolation::Standard,
                qualified: None,
                payout_address: format!("0x{}", "1".repeat(40)),
                notice: None,
            },
        );
        provider.metadata.generation = Some(1);
        provider.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        provider
    }

    fn claims() -> ProviderInventorySpec {
        ProviderInventorySpec {
            agent_version: "0.1.0".to_owned(),
            receipt_signer: Some(format!("0x{}", "2".repeat(40))),
            sealing_key: Some("key".to_owned()),
            price_per_gpu_hour: Some("0.90".to_owned()),
            hosts: vec![HostClaim {
                name: "host".to_owned(),
                product: "NVIDIA-L4".to_owned(),
                gpus: 2,
                memory_mebibytes: 24576,
                compute_capability: Some("8.9".to_owned()),
                driver_version: None,
                cpu_millis: 2000,
                main_memory_mebibytes: 8192,
            }],
            elastic: Vec::new(),
            latencies: Vec::new(),
            probe_address: None,
        }
    }

    fn observed() -> Observed {
        Observed {
            provider: provider(),
            inventory: Some(claims()),
            liveness: Liveness::Fresh,
            nodes: BTreeMap::new(),
            provisioned: true,
            asked: Vec::new(),
            paths: Paths::default(),
            assignments: 0,
        }
    }

    /// What is observed once `actions` have been applied.
    fn applied(mut observed: Observed, actions: Vec<Action>) -> Observed {
        for action in actions {
            match action {
                Action::UpdateStatus(status) => observed.provider.status = Some(*status),
                Action::ApplyNode(node) => {
                    observed.nodes.insert(node.host.node.clone(), Some(node.digest()));
                }
                Action::DeleteNode(name) => {
                    observed.nodes.remove(&name);
                }
                Action::AskForDistances(targets) => observed.asked = targets,
                _ => {}
            }
        }
        observed
    }

    fn reason(observed: &Observed, kind: &str) -> String {
        let status = observed.provider.status.as_ref().unwrap();
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
            .unwrap()
            .reason
            .clone()
    }

    #[test]
    fn a_new_provider_is_provisioned_and_waits() {
        let fresh = Observed {
            inventory: None,
            liveness: Liveness::Unknown,
            provisioned: false,
            provider: GpuProvider {
                metadata: kube::api::ObjectMeta {
                    finalizers: None,
                    ..provider().metadata
                },
                ..provider()
            },
            ..observed()
        };
        let actions = plan(&fresh, &time(1));
        assert_eq!(
            actions[..2],
            [Action::AddFinalizer, Action::Provision { joined: false }]
        );
        let after = applied(fresh, actions);
        assert_eq!(reason(&after, "Joined"), "WaitingForAgent");
    }

    #[test]
    fn the_first_heartbeat_pins_keys_and_ends_the_join_token() {
        let before = observed();
        let actions = plan(&before, &time(1));
        assert!(actions.contains(&Action::DeleteJoinSecret));
        let after = applied(before, actions);
        assert_eq!(reason(&after, "Ready"), "Offering");
        assert_eq!(after.nodes.keys().collect::<Vec<_>>(), ["spillway-a-host"]);
        assert_eq!(plan(&after, &time(99)), [], "converged means no writes");
    }

    #[test]
    fn a_changed_key_is_refused_and_the_pinned_one_stays() {
        let mut joined = applied(observed(), plan(&observed(), &time(1)));
        joined.inventory.as_mut().unwrap().receipt_signer = Some(format!("0x{}", "3".repeat(40)));
        let after = applied(joined.clone(), plan(&joined, &time(2)));
        assert_eq!(reason(&after, "Ready"), "ClaimRefused");
        assert_eq!(
            after.provider.status.unwrap().receipt_signer,
            Some(format!("0x{}", "2".repeat(40)))
        );
    }

    #[test]
    fn silence_taints_the_node_and_keeps_it() {
        let mut joined = applied(observed(), plan(&observed(), &time(1)));
        for (liveness, expected) in [
            (Liveness::Silent, "HeartbeatSilent"),
            (Liveness::Unknown, "HeartbeatUnknown"),
        ] {
            joined.liveness = liveness;
            let actions = plan(&joined, &time(2));
            let tainted = actions
                .iter()
                .any(|action| matches!(action, Action::ApplyNode(node) if !node.available));
            assert!(tainted, "{actions:?}");
            let after = applied(joined.clone(), actions);
            assert_eq!(reason(&after, "Ready"), expected);
            assert_eq!(after.nodes.len(), 1);
            assert_eq!(reason(&after, "Joined"), "AgentHeard");
        }
    }

    #[test]
    fn the_offer_revision_grows_with_price_and_hosts_only() {
        let joined = applied(observed(), plan(&observed(), &time(1)));
        assert_eq!(joined.provider.status.as_ref().unwrap().offer_revision, 1);
        let mut dearer = joined.clone();
        dearer.inventory.as_mut().unwrap().price_per_gpu_hour = Some("1.00".to_owned());
        let after = applied(dearer.clone(), plan(&dearer, &time(2)));
        assert_eq!(after.provider.status.as_ref().unwrap().offer_revision, 2);
    }

    #[test]
    fn distances_are_asked_for_once_and_told_with_their_reason() {
        let mut joined = applied(observed(), plan(&observed(), &time(1)));
        assert_eq!(reason(&joined, "LatencyKnown"), "NotMeasured");
        let target = ProbeTarget {
            location: "eu".to_owned(),
            address: "b:1".to_owned(),
        };
        joined.paths.targets.push(Path {
            target: target.clone(),
            hub: Knowledge::Unknown,
            way_back: Knowledge::Unknown,
        });
        assert_eq!(plan(&joined, &time(2)), [Action::AskForDistances(vec![target])]);
        joined = applied(joined.clone(), plan(&joined, &time(2)));
        joined.inventory.as_mut().unwrap().latencies.push(LatencyClaim {
            to: "hub".to_owned(),
            target: None,
            median_micros: 40_000,
            p95_micros: 60_000,
            jitter_micros: 100,
            samples: 9,
            measured_at: time(3),
        });
        for (pinged, expected, facts) in [(45_000, "Confirmed", 1), (90_000, "LatencyDisputed", 0)] {
            joined.paths.pinged = Knowledge::Known(pinged);
            joined = applied(joined.clone(), plan(&joined, &time(4)));
            assert_eq!(reason(&joined, "LatencyKnown"), expected);
            assert_eq!(joined.provider.status.as_ref().unwrap().latencies.len(), facts);
            assert_eq!(plan(&joined, &time(5)), [], "converged means no writes");
            assert_eq!(reason(&joined, "Ready"), "Offering", "a dispute takes no offer away");
        }
    }

    #[test]
    fn an_elastic_pool_is_mirrored_host_by_host() {
        let mut joined = observed();
        joined.inventory.as_mut().unwrap().elastic = vec![ElasticClaim {
            name: "burst".to_owned(),
            product: "NVIDIA-L40S".to_owned(),
            memory_mebibytes: 49_152,
            compute_capability: None,
            gpus_per_host: 4,
            max_hosts: 2,
            start_time: "3m".to_owned(),
        }];
        let after = applied(joined.clone(), plan(&joined, &time(1)));
        let status = after.provider.status.clone().unwrap();
        assert_eq!(status.gpus, 10);
        assert_eq!(
            after.nodes.keys().collect::<Vec<_>>(),
            ["spillway-a-burst-0", "spillway-a-burst-1", "spillway-a-host"]
        );
        let elastic = &status.hosts[1];
        assert_eq!((elastic.elastic, elastic.start_time.as_deref()), (true, Some("3m")));
        let offers = spillway_crds::market::offers_of(&after.provider, &BTreeMap::new());
        let starts: Vec<_> = offers
            .iter()
            .map(|offer| offer.start_time.map(|start| start.as_secs()))
            .collect();
        assert_eq!(starts, [None, Some(180), Some(180)]);
        // A start that cannot be believed is refused, and the facts stay.
        joined = after;
        joined.inventory.as_mut().unwrap().elastic[0].start_time = "2h".to_owned();
        let refused = applied(joined.clone(), plan(&joined, &time(2)));
        assert_eq!(reason(&refused, "Ready"), "ClaimRefused");
        assert_eq!(refused.provider.status.unwrap().hosts, status.hosts);
    }

    #[test]
    fn removal_ends_the_token_first_and_waits_for_assignments() {
        let mut leaving = applied(observed(), plan(&observed(), &time(1)));
        leaving.provider.metadata.deletion_timestamp = Some(time(3));
        leaving.assignments = 1;
        let actions = plan(&leaving, &time(3));
        assert_eq!(actions[0], Action::DeleteAgentSecret);
        assert!(!actions.contains(&Action::RemoveFinalizer));
        leaving.assignments = 0;
        assert_eq!(plan(&leaving, &time(3)).last(), Some(&Action::RemoveFinalizer));
    }
}
