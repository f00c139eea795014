//! Watch events become snapshots: lists, changes, deletions, relists, failures.

use futures::StreamExt;
use kube::runtime::watcher::Event;
use prometheus::Registry;
use spillway_process::Health;
use tokio_util::sync::CancellationToken;

use super::objects::{UID, assignment, job, listed, provider, world};
use crate::metrics::Metrics;
use crate::publish::{Published, publish};
use crate::world::{Change, World};

fn free(world: &mut World, node: &str) -> Option<u32> {
    world.snapshot().offers.get(node).map(|offer| offer.gpus_free)
}

#[test]
fn events_change_the_offers_of_their_provider() {
    let mut world = world(vec![provider("far", 1, 0)], vec![], vec![]);
    assert_eq!(free(&mut world, "spillway-far-h1"), Some(2));
    world.apply(Change::Assignment(Box::new(Event::Apply(assignment(
        "far", "a", 2, "Running",
    )))));
    assert_eq!(free(&mut world, "spillway-far-h1"), Some(0));
    assert_eq!(free(&mut world, "spillway-far-h2"), Some(4));
    world.apply(Change::Assignment(Box::new(Event::Apply(assignment(
        "far", "a", 2, "Gone",
    )))));
    assert_eq!(free(&mut world, "spillway-far-h1"), Some(2));
    world.apply(Change::Provider(Box::new(Event::Delete(provider("far", 1, 0)))));
    assert_eq!(free(&mut world, "spillway-far-h1"), None);
}

#[test]
fn assignments_seen_before_their_provider_count() {
    let mut world = world(vec![], vec![], vec![assignment("far", "a", 1, "Running")]);
    world.apply(Change::Provider(Box::new(Event::Apply(provider("far", 1, 0)))));
    assert_eq!(free(&mut world, "spillway-far-h1"), Some(1));
}

#[test]
fn a_relist_replaces_what_vanished_meanwhile_and_not_before_its_end() {
    let mut world = world(vec![provider("far", 1, 0), provider("near", 1, 0)], vec![job()], vec![]);
    let mut events: Vec<_> = listed(vec![provider("near", 1, 0)]).collect();
    let done = events.pop().unwrap();
    events
        .into_iter()
        .for_each(|event| world.apply(Change::Provider(Box::new(event))));
    assert_eq!(world.snapshot().offers.len(), 4);
    world.apply(Change::Provider(Box::new(done)));
    let snapshot = world.snapshot();
    assert_eq!(snapshot.offers.len(), 2);
    assert!(snapshot.offers.get("spillway-near-h1").is_some() && snapshot.jobs.contains_key(UID));
}

#[test]
fn a_provider_that_is_not_ready_offers_nothing_now() {
    let mut dark = provider("far", 1, 0);
    dark.status.as_mut().unwrap().conditions[0].status = "Unknown".to_owned();
    let snapshot = world(vec![dark], vec![], vec![]).snapshot();
    assert!(snapshot.offers.values().all(|offer| !offer.available));
}

#[tokio::test(start_paused = true)]
async fn ready_only_after_all_kinds_were_listed() {
    let (published, health, cancelled) = (Published::default(), Health::default(), CancellationToken::new());
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let changes = futures::stream::unfold(receiver, |mut receiver| async {
        Some((Ok(receiver.recv().await?), receiver))
    });
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let task = publish(
        changes.boxed(),
        published.clone(),
        health.clone(),
        metrics,
        cancelled.clone(),
    );
    let task = tokio::spawn(task);
    listed(vec![provider("far", 1, 0)]).for_each(|event| sender.send(Change::Provider(Box::new(event))).unwrap());
    listed(vec![job()]).for_each(|event| sender.send(Change::Job(Box::new(event))).unwrap());
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert!(published.load().is_none() && !health.is_ready());
    listed(vec![]).for_each(|event| sender.send(Change::Assignment(Box::new(event))).unwrap());
    while !health.is_ready() {
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(published.load().as_ref().unwrap().offers.len(), 2);
    cancelled.cancel();
    task.await.unwrap().unwrap();
}
