//! `runner split`: the tenant's input in, one object per shard and a manifest out.

use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use object_store::ObjectStoreExt;
use reqwest::Client;
use spillway_core::shard::{ShardManifest, SplitPlan, split};

use crate::{store, transfer};

/// Larger inputs are refused: shards are cut in memory.
const INPUT_LIMIT: u64 = 1 << 30;

/// Reads the plan file, cuts the input, writes the shards, then the manifest.
///
/// # Errors
/// What is wrong with the input (line and reason), or which transfer failed.
pub async fn run(plan_file: &Path) -> anyhow::Result<ShardManifest> {
    let plan = std::fs::read(plan_file).with_context(|| format!("read {}", plan_file.display()))?;
    let plan: SplitPlan = serde_json::from_slice(&plan).context("the plan file is not a split plan")?;
    let input = read_input(&plan.input_uri).await?;
    let (manifest, bodies) = split(&input, plan.shards)?;
    write(&Client::new(), &plan, &manifest, bodies).await?;
    Ok(manifest)
}

async fn read_input(uri: &str) -> anyhow::Result<bytes::Bytes> {
    let (store, key) = store::open(uri)?;
    let object = match store.get(&key).await {
        Err(object_store::Error::NotFound { .. }) => bail!("input.uri {uri} does not exist"),
        // Its own words hold those of its causes already.
        other => other.map_err(|error| anyhow!("input.uri {uri} cannot be read: {error}"))?,
    };
    let size = object.meta.size;
    ensure!(
        size <= INPUT_LIMIT,
        "input.uri {uri} has {size} bytes; at most {INPUT_LIMIT} are split"
    );
    object.bytes().await.with_context(|| format!("read input.uri {uri}"))
}

async fn write(
    client: &Client,
    plan: &SplitPlan,
    manifest: &ShardManifest,
    bodies: Vec<Vec<u8>>,
) -> anyhow::Result<()> {
    let places = plan.shard_urls.len();
    ensure!(
        bodies.len() <= places,
        "the input makes {} shards, the plan has room for {places}",
        bodies.len()
    );
    for (body, url) in bodies.into_iter().zip(&plan.shard_urls) {
        transfer::put(client, "write a shard", url, body.into()).await?;
    }
    let manifest = serde_json::to_vec(manifest)?;
    transfer::put(client, "write the shard manifest", &plan.manifest_url, manifest.into()).await?;
    Ok(())
}
