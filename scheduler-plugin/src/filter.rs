//! `/filter`: which of the given nodes the pod's job accepts.

use spillway_core::market::{Requirement, exclude};

use crate::attempt::{Unjudged, asked};
use crate::snapshot::Snapshot;
use crate::wire::{Args, FailedNodes, Failure, FilterResult, Text};

/// Splits the given nodes into those that fit and those that do not, with reasons. A pod that cannot be judged yet
/// gives an error, so that kube-scheduler tries again soon.
pub fn filter<'a>(snapshot: &Snapshot, args: &'a Args<'_>) -> FilterResult<'a> {
    let nodes = args.node_names.as_deref().unwrap_or_default();
    match asked(snapshot, &args.pod) {
        Ok(asked) => split(snapshot, &asked.requirement, nodes),
        Err(Unjudged::Never(reason)) => all_failed(nodes, &Failure::Pod(reason)),
        Err(not_yet @ Unjudged::NotYet(_)) => FilterResult {
            error: Some(not_yet.to_string()),
            ..Default::default()
        },
    }
}

fn split<'a>(snapshot: &Snapshot, requirement: &Requirement, nodes: &'a [Text<'_>]) -> FilterResult<'a> {
    let mut fitting = Vec::with_capacity(nodes.len());
    let mut failed = Vec::new();
    for node in nodes.iter().map(Text::as_str) {
        match judge(snapshot, requirement, node) {
            None => fitting.push(node),
            Some(failure) => failed.push((node, failure)),
        }
    }
    FilterResult {
        node_names: Some(fitting),
        failed_nodes: FailedNodes(failed),
        error: None,
    }
}

fn judge(snapshot: &Snapshot, requirement: &Requirement, node: &str) -> Option<Failure> {
    match snapshot.offers.get(node) {
        None => Some(Failure::NotOffered),
        Some(offer) => exclude(requirement, offer).map(Failure::Excluded),
    }
}

fn all_failed<'a>(nodes: &'a [Text<'_>], failure: &Failure) -> FilterResult<'a> {
    let failed = nodes.iter().map(|node| (node.as_str(), failure.clone())).collect();
    FilterResult {
        node_names: Some(Vec::new()),
        failed_nodes: FailedNodes(failed),
        error: None,
    }
}
