//! Watches that hurry the next pass. They carry no facts: a lost event costs at most one period.

use std::convert::Infallible;
use std::sync::Arc;

use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use spillway_crds::names::LABEL_ASSIGNMENT_UID;
use tokio::sync::Notify;

use crate::hub::HubLink;

/// Notifies `wake` at every change of our pods and of our assignments; follows the hub's client as it is replaced.
pub(super) async fn follow(pods: Api<PartialObjectMeta<Pod>>, mut hub: HubLink, wake: Arc<Notify>) -> Infallible {
    let ours = watcher::Config::default().labels(LABEL_ASSIGNMENT_UID);
    let local = notify_all(watcher(pods, ours).default_backoff(), &wake);
    let remote = async {
        loop {
            let assignments = hub.ready().await.assignment_metadata();
            let events = watcher(assignments, watcher::Config::default()).default_backoff();
            tokio::select! {
                () = notify_all(events, &wake) => {},
                () = hub.replaced() => {},
            }
        }
    };
    tokio::join!(local, remote).1
}

async fn notify_all<T>(events: impl Stream<Item = Result<T, watcher::Error>>, wake: &Notify) {
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => wake.notify_one(),
            Err(error) => tracing::debug!(%error, "watch interrupted"),
        }
    }
}
