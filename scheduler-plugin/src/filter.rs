//! `/filter`: which of the given nodes the pod's job accepts.

use spillway_core::market::{Offer, Requirement, exclude};

use crate::attempt::{Unjudged, asked};
use crate::given::given;
use crate::snapshot::Snapshot;
use crate::wire::{Args, FailedNodes, Failure, FilterResult, Text};

/// Splits the given nodes into those that fit and those that do not, with reasons. A pod that cannot be judged yet
/// gives an error, so that kube-scheduler tries again soon.
pub fn filter<'a>(snapshot: &Snapshot, args: &'a Args<'_>) -> FilterResult<'a> {
    let nodes = args.node_names.as_deref().unwrap_or_default();
    match asked(snapshot, &args.pod) {
        Ok(asked) => split(snapshot, nodes, |offer| judge(&asked.requirement, offer)),
        Err(Unjudged::Never(reason)) => split(snapshot, nodes, |_| Some(Failure::Pod(reason.clone()))),
        Err(not_yet @ Unjudged::NotYet(_)) => FilterResult {
            error: Some(not_yet.to_string()),
            ..Default::default()
        },
    }
}

fn split<'a>(
    snapshot: &Snapshot,
    nodes: &'a [Text<'_>],
    judge: impl Fn(Option<&Offer>) -> Option<Failure>,
) -> FilterResult<'a> {
    let mut fitting = Vec::with_capacity(nodes.len());
    let mut failed = FailedNodes::default();
    for (node, offer) in given(snapshot, nodes) {
        match judge(offer) {
            None => fitting.push(node),
            Some(failure) => failed.push(node, failure),
        }
    }
    FilterResult {
        node_names: Some(fitting),
        failed_nodes: failed,
        error: None,
    }
}

fn judge(requirement: &Requirement, offer: Option<&Offer>) -> Option<Failure> {
    match offer {
        None => Some(Failure::NotOffered),
        Some(offer) => exclude(requirement, offer).map(Failure::Excluded),
    }
}
