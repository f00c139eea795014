//! `runner publish`: accepted results in, one `results.jsonl` in the tenant's store out.

use std::path::Path;

use anyhow::{Context, ensure};
use object_store::{ObjectStoreExt, WriteMultipart};
use reqwest::Client;
use sha2::{Digest, Sha256};
use spillway_core::shard::{PublishPlan, PublishedReport, digest};

use crate::{store, transfer};

/// Reads the plan file and publishes shard after shard.
///
/// # Errors
/// When a shard's bytes are not the accepted ones, or a transfer failed; nothing is published then.
pub async fn run(plan_file: &Path) -> anyhow::Result<PublishedReport> {
    let plan = std::fs::read(plan_file).with_context(|| format!("read {}", plan_file.display()))?;
    let plan: PublishPlan = serde_json::from_slice(&plan).context("the plan file is not a publish plan")?;
    let client = Client::new();
    let uri = format!("{}results.jsonl", plan.output_uri);
    let (store, key) = store::open(&uri)?;
    let upload = store
        .put_multipart(&key)
        .await
        .with_context(|| format!("write output.uri {uri}"))?;
    let mut writer = WriteMultipart::new(upload);
    let report = match copy(&client, &plan, &mut writer, &uri).await {
        Ok(report) => report,
        Err(error) => {
            writer.abort().await.context("give up the upload")?;
            return Err(error);
        }
    };
    writer
        .finish()
        .await
        .with_context(|| format!("write output.uri {uri}"))?;
    let body = serde_json::to_vec(&report)?;
    transfer::put(&client, "write the publication report", &plan.report_url, body.into()).await?;
    Ok(report)
}

async fn copy(
    client: &Client,
    plan: &PublishPlan,
    writer: &mut WriteMultipart,
    uri: &str,
) -> anyhow::Result<PublishedReport> {
    let (mut whole, mut lines) = (Sha256::new(), 0);
    for (index, shard) in plan.shards.iter().enumerate() {
        let results = transfer::get(client, "read accepted results", &shard.url).await?;
        ensure!(
            digest(&results) == shard.digest,
            "the results of shard {index} are not the accepted ones"
        );
        whole.update(&results);
        lines += results.iter().filter(|byte| **byte == b'\n').count() as u64;
        writer.put(results);
    }
    Ok(PublishedReport {
        uri: uri.to_owned(),
        digest: format!("sha256:{}", hex::encode(whole.finalize())),
        lines,
    })
}
