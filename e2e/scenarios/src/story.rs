//! A job's story for whoever reads a failed test: status, pods on all clusters, assignments, events.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;
use spillway_crds::{Settlement, WorkAssignment, names};

use crate::{Ground, TENANT};

/// As much as can be found out; what cannot be asked says so.
pub async fn story(ground: &Ground, job: &str) -> String {
    let mut text = format!("\n--- InferenceJob {TENANT}/{job}\n");
    let object = ground.jobs().get_opt(job).await;
    let uid = object
        .as_ref()
        .ok()
        .and_then(|job| job.as_ref()?.uid())
        .unwrap_or_default();
    text += &match object {
        Ok(Some(job)) => yaml(&job.status),
        Ok(None) => "it is not there\n".to_owned(),
        Err(error) => format!("{error}\n"),
    };
    text += "--- pods\n";
    text += &pods("hub", &ground.hub, TENANT, |pod| pod.name_any().starts_with(job)).await;
    text += &pods("hub", &ground.hub, names::SYSTEM_NAMESPACE, |_| true).await;
    for (provider, client) in &ground.providers {
        let of_job = |pod: &Pod| pod.labels().get(names::LABEL_JOB_UID) == Some(&uid);
        text += &pods(provider, client, names::WORK_NAMESPACE, of_job).await;
        text += &pods(provider, client, "spillway", |_| true).await;
        text += &events(provider, client, names::WORK_NAMESPACE, "").await;
    }
    text += "--- assignments, settlements\n";
    text += &assignments(ground, &uid).await;
    text += &settlements(ground).await;
    text += "--- events\n";
    text += &events("hub", &ground.hub, TENANT, job).await;
    text
}

fn yaml(value: &impl Serialize) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|error| format!("{error}\n"))
}

async fn pods(cluster: &str, client: &Client, namespace: &str, wanted: impl Fn(&Pod) -> bool) -> String {
    let found = match Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await
    {
        Ok(found) => found,
        Err(error) => return format!("{cluster}: {error}\n"),
    };
    found
        .iter()
        .filter(|pod| wanted(pod))
        .map(|pod| describe(cluster, pod))
        .collect()
}

fn describe(cluster: &str, pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .unwrap_or_default();
    let mut line = format!(
        "{cluster} {} on `{node}`: {}",
        pod.name_any(),
        status.phase.unwrap_or_default()
    );
    for container in status.container_statuses.unwrap_or_default() {
        let state = serde_json::to_string(&container.state).unwrap_or_default();
        let _ = write!(
            line,
            "\n  {} restarts={} {state}",
            container.name, container.restart_count
        );
    }
    line + "\n"
}

async fn assignments(ground: &Ground, uid: &str) -> String {
    match Api::<WorkAssignment>::all(ground.hub.clone())
        .list(&ListParams::default())
        .await
    {
        Ok(found) => {
            let of_job = found.iter().filter(|assignment| assignment.spec.job.uid == uid);
            of_job
                .map(|one| format!("{}: {}", one.name_any(), yaml(&one.status)))
                .collect()
        }
        Err(error) => format!("{error}\n"),
    }
}

async fn settlements(ground: &Ground) -> String {
    let line = |settlement: &Settlement| {
        let status = settlement.status.clone().unwrap_or_default();
        let reason = status.reason.unwrap_or_default();
        format!(
            "{}: {:?} recorded={} {reason}\n",
            settlement.name_any(),
            status.state,
            status.recorded
        )
    };
    match ground.settlements().list(&ListParams::default()).await {
        Ok(found) => found.iter().map(line).collect(),
        Err(error) => format!("{error}\n"),
    }
}

async fn events(cluster: &str, client: &Client, namespace: &str, prefix: &str) -> String {
    let line = |event: &Event| {
        let (reason, note) = (
            event.reason.clone().unwrap_or_default(),
            event.message.clone().unwrap_or_default(),
        );
        format!(
            "{cluster} {}: {reason}: {note}\n",
            event.involved_object.name.clone().unwrap_or_default()
        )
    };
    let about = |event: &&Event| {
        event
            .involved_object
            .name
            .as_ref()
            .is_some_and(|name| name.starts_with(prefix))
    };
    match Api::<Event>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await
    {
        Ok(found) => found.iter().filter(about).map(line).collect(),
        Err(error) => format!("{cluster}: {error}\n"),
    }
}
