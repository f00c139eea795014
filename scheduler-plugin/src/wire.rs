//! Wire types of `k8s.io/kube-scheduler/extender/v1`. Its Go types carry no JSON tags, so Go field names travel.
//!
//! Only what is needed is read; text is borrowed from the body. Works with `nodeCacheCapable: true` alone: nodes come
//! and go as names.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use spillway_core::market::Exclusion;

/// `ExtenderArgs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Args<'a> {
    #[serde(borrow)]
    pub pod: Pod<'a>,
    /// Null unless `nodeCacheCapable` is set.
    #[serde(borrow, default)]
    pub node_names: Option<Vec<Text<'a>>>,
}

/// The part of a pod that says which attempt it is. Written by whoever made the pod, so never proof of anything.
#[derive(Debug, Default, Deserialize)]
pub struct Pod<'a> {
    #[serde(borrow, default)]
    pub metadata: Metadata<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    #[serde(borrow, default)]
    pub namespace: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub labels: Option<Labels<'a>>,
    #[serde(borrow, default)]
    pub owner_references: Option<Vec<OwnerReference<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Labels<'a> {
    #[serde(borrow, default, rename = "spillway.dev/shard")]
    pub shard: Option<Text<'a>>,
    #[serde(borrow, default, rename = "spillway.dev/attempt")]
    pub attempt: Option<Text<'a>>,
    #[serde(borrow, default, rename = "spillway.dev/kind")]
    pub kind: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference<'a> {
    #[serde(borrow)]
    pub api_version: Text<'a>,
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub uid: Text<'a>,
    #[serde(default)]
    pub controller: Option<bool>,
}

/// A string, borrowed where JSON needed no escape; as a type of its own it is borrowed inside lists too.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `ExtenderFilterResult`. With an error, kube-scheduler tries the pod again after its backoff (1 s, 2 s … 10 s); a pod
/// whose nodes all failed waits for a change in the cluster instead.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FilterResult<'a> {
    pub node_names: Option<Vec<&'a str>>,
    pub failed_nodes: FailedNodes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Node names and reasons, a JSON object on the wire. Few reasons hold for many nodes, so each is put into words once.
#[derive(Debug, Default, PartialEq)]
pub struct FailedNodes<'a> {
    /// Node and place of its reason.
    nodes: Vec<(&'a str, usize)>,
    reasons: Vec<(Failure, String)>,
}

impl<'a> FailedNodes<'a> {
    pub fn push(&mut self, node: &'a str, failure: Failure) {
        // The last reason is likeliest to come again; there are some twenty at most.
        let known = self.reasons.iter().rposition(|(known, _)| *known == failure);
        let place = known.unwrap_or_else(|| {
            let words = failure.to_string();
            self.reasons.push((failure, words));
            self.reasons.len() - 1
        });
        self.nodes.push((node, place));
    }

    /// Nodes with their reasons, in the order in which they were given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &str)> {
        let words = |place: usize| self.reasons.get(place).map_or("", |(_, words)| words.as_str());
        self.nodes.iter().map(move |(node, place)| (*node, words(*place)))
    }
}

impl Serialize for FailedNodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Why a node cannot take a pod, as plain words on the wire.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("no provider offers this node")]
    NotOffered,
    #[error("{0}")]
    Excluded(Exclusion),
    /// Holds for the pod, so for every node.
    #[error("{0}")]
    Pod(std::sync::Arc<str>),
}

/// `HostPriority`; scores from 0 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPriority<'a> {
    pub host: &'a str,
    pub score: usize,
}
