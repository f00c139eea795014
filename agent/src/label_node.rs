//! `label-node`: carries the features file of GPU feature discovery to the labels of this node, and nothing else.
//!
//! In: the features file, our Node. Out: `nvidia.com/*` labels of our Node, applied under a field manager of their own,
//! so that labels which leave the file leave the node, and nobody else's are touched. Needs `get` and `patch` on nodes.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::core::PartialObjectMetaExt;
use spillway_process::{Tasks, init_telemetry};
use tokio_util::sync::CancellationToken;

use crate::PROGRAM;
use crate::request::{RequestError, within};

/// First argument of the process.
pub const COMMAND: &str = "label-node";
const FIELD_MANAGER: &str = "spillway-label-node";
const PREFIX: &str = "nvidia.com/";
/// Changes at every start of feature discovery and says nothing about the GPUs.
const TIMESTAMP: &str = "nvidia.com/gfd.timestamp";
const PERIOD: Duration = Duration::from_secs(5);
const LARGEST_FILE: usize = 64 * 1024;

/// Puts the features that GPU feature discovery found on the labels of this node.
#[derive(Clone, Debug, Parser)]
#[command(name = "spillway-agent label-node", version)]
pub struct Settings {
    /// Name of the node that this process runs on.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// File that GPU feature discovery writes: lines of KEY=VALUE.
    #[arg(
        long,
        env = "FEATURES_FILE",
        default_value = "/etc/kubernetes/node-feature-discovery/features.d/gfd"
    )]
    pub features_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    #[error("features file {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("features file {path}: {bytes} bytes, more than the {LARGEST_FILE} that are read")]
    TooLarge { path: PathBuf, bytes: usize },
    #[error("node {node}: {source}")]
    Node { node: String, source: RequestError },
}

type Labels = BTreeMap<String, String>;

/// Runs until SIGTERM. `arguments` starts with [`COMMAND`].
///
/// # Errors
/// When this cluster's client cannot be made.
pub async fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    init_telemetry();
    let settings = Settings::parse_from(arguments);
    let nodes = Api::all(spillway_process::client(PROGRAM).await?);
    let mut tasks = Tasks::default();
    let cancelled = tasks.token();
    tasks.spawn(COMMAND, follow(settings, nodes, cancelled));
    tasks.run().await
}

async fn follow(settings: Settings, nodes: Api<Node>, cancelled: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            _ = ticks.tick() => {},
        }
        if let Err(error) = pass(&settings, &nodes).await {
            tracing::warn!(%error, "labels not looked at; the next pass tries again");
        }
    }
}

/// No file is not "no GPU": feature discovery may not have started yet, so the labels stay as they are.
async fn pass(settings: &Settings, nodes: &Api<Node>) -> Result<(), LabelError> {
    let Some(text) = read(&settings.features_file).await? else {
        return Ok(());
    };
    let wanted = parse(&text);
    let failed = |source| LabelError::Node {
        node: settings.node_name.clone(),
        source,
    };
    let node = within(nodes.get_metadata(&settings.node_name)).await.map_err(failed)?;
    if holds(&node.metadata, &wanted) {
        return Ok(());
    }
    let count = wanted.len();
    let patch = ObjectMeta {
        labels: Some(wanted),
        ..ObjectMeta::default()
    }
    .into_request_partial::<Node>();
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    within(nodes.patch_metadata(&settings.node_name, &parameters, &Patch::Apply(&patch)))
        .await
        .map_err(failed)?;
    tracing::info!(node = settings.node_name, labels = count, "labelled the node");
    Ok(())
}

async fn read(path: &Path) -> Result<Option<String>, LabelError> {
    match tokio::fs::read(path).await {
        Ok(bytes) if bytes.len() > LARGEST_FILE => Err(LabelError::TooLarge {
            path: path.to_owned(),
            bytes: bytes.len(),
        }),
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LabelError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The lines that may become labels of this node; everything else is left out, so that one odd line harms no other.
fn parse(text: &str) -> Labels {
    let lines = text.lines().map(str::trim).filter_map(|line| line.split_once('='));
    let ours = lines.filter(|(key, value)| *key != TIMESTAMP && is_key(key) && is_value(value));
    ours.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn is_key(key: &str) -> bool {
    key.strip_prefix(PREFIX)
        .is_some_and(|name| !name.is_empty() && is_value(name))
}

/// A label value as the API server takes it.
fn is_value(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

/// Whether the node has every wanted label, and none that we set before and no longer want.
fn holds(node: &ObjectMeta, wanted: &Labels) -> bool {
    let labels = node.labels.as_ref();
    let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
    wanted.iter().all(has) && owned(node).iter().all(|key| wanted.contains_key(key))
}

/// Label keys that our field manager owns.
fn owned(node: &ObjectMeta) -> Vec<String> {
    let entries = node.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    let labels = ours.filter_map(|entry| entry.fields_v1.as_ref()?.0.pointer("/f:metadata/f:labels")?.as_object());
    let keys = labels.flat_map(|labels| labels.keys());
    keys.filter_map(|field| field.strip_prefix("f:").map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use serde_json::json;

    use super::*;

    const FILE: &str =
        "nvidia.com/gfd.timestamp=1700000000\nnvidia.com/gpu.product=NVIDIA-L4\nnvidia.com/gpu.memory=23034\n";

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn node(pairs: &[(&str, &str)], owned: &[&str]) -> ObjectMeta {
        let fields: serde_json::Map<_, _> = owned.iter().map(|key| (format!("f:{key}"), json!({}))).collect();
        serde_json::from_value(json!({
            "labels": labels(pairs),
            "managedFields": [
                {"manager": "kubelet", "fieldsV1": {"f:metadata": {"f:labels": {"f:kubernetes.io/os": {}}}}},
                {"manager": FIELD_MANAGER, "fieldsV1": {"f:metadata": {"f:labels": fields}}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn takes_only_labels_of_nvidia_and_not_the_timestamp() {
        let text =
            format!("{FILE}kubernetes.io/os=windows\nnvidia.com/=x\nnvidia.com/gpu.family=ada lovelace\nnonsense\n");
        let wanted = labels(&[
            ("nvidia.com/gpu.product", "NVIDIA-L4"),
            ("nvidia.com/gpu.memory", "23034"),
        ]);
        assert_eq!(parse(&text), wanted);
    }

    #[test]
    fn an_unchanged_node_is_not_written() {
        let wanted = parse(FILE);
        let pairs = [
            ("nvidia.com/gpu.product", "NVIDIA-L4"),
            ("nvidia.com/gpu.memory", "23034"),
            ("other", "x"),
        ];
        let keys = ["nvidia.com/gpu.product", "nvidia.com/gpu.memory"];
        assert!(holds(&node(&pairs, &keys), &wanted));
    }

    #[test]
    fn a_lost_label_a_wrong_one_and_a_stale_one_are_mended() {
        let wanted = parse(FILE);
        let keys = ["nvidia.com/gpu.product", "nvidia.com/gpu.memory"];
        let product = ("nvidia.com/gpu.product", "NVIDIA-L4");
        let memory = ("nvidia.com/gpu.memory", "23034");
        let stale = ("nvidia.com/mig.strategy", "none");
        assert!(!holds(&node(&[product], &keys), &wanted));
        assert!(!holds(
            &node(&[product, ("nvidia.com/gpu.memory", "1")], &keys),
            &wanted
        ));
        assert!(!holds(
            &node(&[product, memory, stale], &[keys[0], keys[1], stale.0]),
            &wanted
        ));
        assert!(
            holds(&node(&[product, memory, stale], &keys), &wanted),
            "a label of somebody else stays"
        );
    }

    #[test]
    fn values_are_those_that_the_api_server_takes() {
        for good in ["", "NVIDIA-L4", "8", "a_b.c", &"x".repeat(63)] {
            assert!(is_value(good), "{good}");
        }
        for bad in ["-a", "a-", "a b", "é", &"x".repeat(64)] {
            assert!(!is_value(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_no_fact_and_a_large_one_is_refused() {
        let missing = std::env::temp_dir().join("spillway-label-node-missing");
        assert!(matches!(read(&missing).await, Ok(None)));
        let large = std::env::temp_dir().join(format!("spillway-label-node-{}", std::process::id()));
        std::fs::write(&large, vec![b'x'; LARGEST_FILE + 1]).unwrap();
        let outcome = read(&large).await;
        std::fs::remove_file(&large).unwrap();
        assert!(matches!(outcome, Err(LabelError::TooLarge { .. })));
    }
}
