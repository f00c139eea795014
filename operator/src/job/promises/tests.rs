//! Many jobs, few GPUs: nobody is promised what another was promised before.

use std::collections::BTreeMap as Map;

use proptest::prelude::*;
use serde_json::{Value, json};
use spillway_core::market::Offer;
use spillway_core::money::UnitPrice;

use super::*;

/// Offers of one node each, cheapest first; positions are those of this list.
fn market(gpus: &[u32]) -> Market {
    let offer = |(index, gpus): (usize, &u32)| Offer {
        node: format!("n{index:03}"),
        gpus_total: *gpus,
        gpus_free: *gpus,
        price: UnitPrice(u64::try_from(index).unwrap() + 1),
        ..crate::job::plan::tests::offer("p", 1, 1)
    };
    Market::from(gpus.iter().enumerate().map(offer).collect::<Vec<_>>())
}

fn attempt(state: &str, candidates: &[&str], node: Option<&str>) -> Value {
    let mut attempt =
        json!({"number": 0, "kind": "Work", "state": state, "candidates": candidates, "upperBoundMicro": 1});
    if let Some(node) = node {
        attempt["node"] = json!(node);
        attempt["provider"] = json!("p");
    }
    attempt
}

fn job(uid: &str, version: u64, attempts: Vec<Value>) -> Arc<InferenceJob> {
    let shard = |(attempt, index): (Value, u32)| json!({"index": index, "state": "Pending", "inputDigest": "", "inputBytes": 1, "requests": 1, "attempts": [attempt]});
    let shards: Vec<Value> = attempts.into_iter().zip(0..).map(shard).collect();
    let job = json!({"apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob",
        "metadata": {"name": uid, "namespace": "team-a", "uid": uid, "resourceVersion": version.to_string()},
        "spec": {"engine": {"image": "e"}, "input": {"inline": "{}"}, "output": {"uri": "s3://o/"},
            "price": {"maxPerGpuHour": "1", "budget": "1"}},
        "status": {"shards": shards}});
    Arc::new(serde_json::from_value(job).unwrap())
}

#[test]
fn an_attempt_is_promised_the_first_candidate_with_room() {
    let (market, held) = (market(&[1, 2, 1]), Held::default());
    let one = job("one", 1, vec![attempt("Expected", &["n000", "n001"], None)]);
    let two = job(
        "two",
        1,
        vec![
            attempt("Expected", &["n000", "n001"], None),
            attempt("Expected", &["n000", "n002"], Some("n002")),
            attempt("Running", &[], Some("n001")),
            attempt("Cancelled", &["n001"], None),
        ],
    );
    let jobs = [one, two];
    let mut ledger = Ledger::default();
    assert_eq!(
        ledger.by_others("three", &jobs, &market, &held, DataClass::Public),
        [1, 1, 1]
    );
    assert_eq!(
        ledger.by_others("one", &jobs, &market, &held, DataClass::Public),
        [1, 0, 1]
    );
    assert_eq!(
        ledger.by_others("two", &jobs, &market, &held, DataClass::Public),
        [1, 0, 0]
    );
}

#[test]
fn what_was_handed_over_counts_as_held_and_not_as_promised() {
    let (market, held) = (market(&[2]), Held::default());
    let jobs = [job("one", 1, vec![attempt("Expected", &[], Some("n000"))])];
    let mut ledger = Ledger::default();
    assert_eq!(ledger.by_others("two", &jobs, &market, &held, DataClass::Public), [1]);
    let assignment = crate::job::held::tests::assignment_in(
        "spillway-provider-p",
        &names::assignment("one", 0, 0),
        "h",
        1,
        "Pending",
    );
    held.note(&kube::runtime::watcher::Event::Apply(assignment));
    assert_eq!(ledger.by_others("two", &jobs, &market, &held, DataClass::Public), [0]);
}

#[test]
fn a_plan_counts_from_the_moment_it_was_made() {
    let (market, held) = (market(&[1, 1]), Held::default());
    let jobs = |version, attempts| [job("one", version, attempts)];
    let mut ledger = Ledger::default();
    let before = jobs(5, vec![]);
    assert_eq!(
        ledger.by_others("two", &before, &market, &held, DataClass::Public),
        [0, 0]
    );
    let planned = job("one", 5, vec![attempt("Expected", &["n001"], None)]);
    ledger.plan(&planned, planned.status.as_ref().unwrap());
    assert_eq!(
        ledger.by_others("two", &before, &market, &held, DataClass::Public),
        [0, 1]
    );
    ledger.settle("one", Some(7));
    assert_eq!(
        ledger.by_others("two", &before, &market, &held, DataClass::Public),
        [0, 1],
        "not shown yet"
    );
    let shown = jobs(8, vec![attempt("Cancelled", &["n001"], None)]);
    assert_eq!(
        ledger.by_others("two", &shown, &market, &held, DataClass::Public),
        [0, 0],
        "the watch has the last word"
    );

    ledger.plan(&planned, planned.status.as_ref().unwrap());
    ledger.settle("one", None);
    assert_eq!(
        ledger.by_others("two", &shown, &market, &held, DataClass::Public),
        [0, 0],
        "it was not written"
    );
    assert_eq!(
        ledger.by_others("two", &[], &market, &held, DataClass::Public),
        [0, 0],
        "a job that is gone"
    );
}

#[test]
fn names_that_nobody_is_promised_are_forgotten() {
    let (market, held) = (market(&[1, 1]), Held::default());
    let mut ledger = Ledger::default();
    let jobs = ["one", "two"].map(|uid| job(uid, 1, vec![attempt("Expected", &["n000", "n001"], None)]));
    ledger.by_others("three", &jobs, &market, &held, DataClass::Public);
    assert_eq!(ledger.names.0.len(), 2, "one copy each");
    ledger.by_others("three", &jobs[1..], &market, &held, DataClass::Public);
    assert_eq!(ledger.names.0.len(), 2);
    ledger.by_others("three", &[], &market, &held, DataClass::Public);
    assert!(ledger.names.0.is_empty());
}

proptest! {
    /// Jobs pin attempts one after the other, each to its best nodes with room, as placement does: as long as there are
    /// GPUs, no node is promised more than it has, and a ledger made anew (a restart) promises the same.
    #[test]
    fn no_node_is_promised_beyond_its_gpus(
        gpus in prop::collection::vec(1u32..4, 1..12),
        wants in prop::collection::vec(0usize..5, 1..8),
        pins in 1usize..5,
    ) {
        let (market, held) = (market(&gpus), Held::default());
        let mut jobs: Vec<Arc<InferenceJob>> = Vec::new();
        let mut ledger = Ledger::default();
        let mut placed = 0;
        for (index, wanted) in wants.iter().enumerate() {
            let uid = format!("job-{index}");
            let promised = ledger.by_others(&uid, &jobs, &market, &held, DataClass::Public);
            let mut room = Room::of(&market, &promised);
            let mut attempts = Vec::new();
            for _ in 0..*wanted {
                let open: Vec<usize> = (0..market.len()).filter(|at| room.has(*at, 1)).take(pins).collect();
                if room.take_first(open.iter().copied(), 1).is_some() {
                    let nodes: Vec<&str> = open.iter().map(|at| market[*at].node.as_str()).collect();
                    attempts.push(attempt("Expected", &nodes, None));
                    placed += 1;
                }
            }
            jobs.push(job(&uid, 1, attempts));
        }
        let promised = ledger.by_others("nobody", &jobs, &market, &held, DataClass::Public);
        let sum: u32 = promised.iter().sum();
        prop_assert_eq!(sum, placed, "each attempt has a GPU of its own");
        prop_assert_eq!(placed, u32::try_from(wants.iter().sum::<usize>()).unwrap().min(gpus.iter().sum()));
        for (at, count) in promised.iter().enumerate() {
            prop_assert!(*count <= market[at].gpus_total);
        }
        prop_assert_eq!(&promised, &Ledger::default().by_others("nobody", &jobs, &market, &held, DataClass::Public));
        let mut firsts = Map::<&str, u32>::new();
        for job in &jobs {
            for shard in &job.status.as_ref().unwrap().shards {
                *firsts.entry(&shard.attempts[0].candidates[0]).or_default() += 1;
            }
        }
        for (node, count) in firsts {
            prop_assert!(count <= market.get(node).unwrap().gpus_total, "a herd on {node}");
        }
    }
}
