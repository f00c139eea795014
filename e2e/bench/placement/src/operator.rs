//! The part of the operator that places: its job controller.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::Address;
use anyhow::Context;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use spillway_crds::{DataClass, names};
use spillway_operator::accrual::SealedAttempts;
use spillway_operator::dispatch::ChainPlace;
use spillway_operator::job;
use spillway_operator::store::HubStore;
use tokio_util::sync::CancellationToken;

/// Runs until it is killed.
pub(crate) async fn run() -> anyhow::Result<()> {
    spillway_process::init_telemetry();
    let client = spillway_process::client("spillway-operator").await?;
    let settings = job::Settings {
        namespace: names::SYSTEM_NAMESPACE.to_owned(),
        runner_image: "runner".to_owned(),
        place: ChainPlace {
            chain_id: 31337,
            contract: Address::repeat_byte(0xcc),
        },
        default_data_class: DataClass::Public,
        sealed: Arc::new(SealedAttempts::default()),
    };
    let folder = std::env::var_os("STORE_FOLDER").context("STORE_FOLDER is not set")?;
    let store = hub_store(Path::new(&folder))?;
    job::run(client, settings, store, CancellationToken::new()).await
}

/// Objects in files, so that they do not count as the operator's memory; URLs signed as the real store's are.
fn hub_store(folder: &Path) -> anyhow::Result<HubStore> {
    let signer = AmazonS3Builder::new()
        .with_bucket_name("spillway")
        .with_region("us-east-1")
        .with_endpoint("http://127.0.0.1:9")
        .with_allow_http(true)
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .build()?;
    let egress = "127.0.0.1:9".to_owned();
    Ok(HubStore::new(
        Arc::new(LocalFileSystem::new_with_prefix(folder)?),
        Arc::new(signer),
        object_store::path::Path::default(),
        egress,
    ))
}
