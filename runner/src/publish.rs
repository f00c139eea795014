//! `runner publish`: accepted results in, one `results.jsonl` in the tenant's store out; and of a job that failed, one
//! `errors.jsonl` with the requests that have no result.

use std::path::Path;

use anyhow::{Context, ensure};
use object_store::{ObjectStoreExt, WriteMultipart};
use reqwest::Client;
use sha2::{Digest, Sha256};
use spillway_core::results::{count_lines, error_lines};
use spillway_core::shard::{PublishPlan, PublishedErrors, PublishedReport, PublishedShard, Unfinished, digest};

use crate::{store, transfer};

/// Reads the plan file and publishes shard after shard.
///
/// # Errors
/// When a shard's bytes are not the accepted ones, or a transfer failed; no results are published then.
pub async fn run(plan_file: &Path) -> anyhow::Result<PublishedReport> {
    let plan = std::fs::read(plan_file).with_context(|| format!("read {}", plan_file.display()))?;
    let plan: PublishPlan = serde_json::from_slice(&plan).context("the plan file is not a publish plan")?;
    let client = Client::new();
    let errors = match &plan.unfinished {
        Some(unfinished) => Some(errors(&client, unfinished, format!("{}errors.jsonl", plan.output_uri)).await?),
        None => None,
    };
    let mut report = results(&client, &plan.shards, format!("{}results.jsonl", plan.output_uri)).await?;
    report.errors = errors;
    let body = serde_json::to_vec(&report)?;
    transfer::put(&client, "write the publication report", &plan.report_url, body.into()).await?;
    Ok(report)
}

async fn results(client: &Client, shards: &[PublishedShard], uri: String) -> anyhow::Result<PublishedReport> {
    let mut writer = upload(&uri).await?;
    let copied = copy(client, shards, &mut writer).await;
    let (digest, lines) = finish(writer, &uri, copied).await?;
    Ok(PublishedReport {
        uri,
        digest,
        lines,
        errors: None,
    })
}

/// Digest and lines of what was written.
async fn copy(
    client: &Client,
    shards: &[PublishedShard],
    writer: &mut WriteMultipart,
) -> anyhow::Result<(String, u64)> {
    let (mut whole, mut lines) = (Sha256::new(), 0);
    for (index, shard) in shards.iter().enumerate() {
        let results = transfer::get(client, "read accepted results", &shard.url).await?;
        ensure!(
            digest(&results) == shard.digest,
            "the results of shard {index} are not the accepted ones"
        );
        whole.update(&results);
        lines += count_lines(&results);
        writer.put(results);
    }
    Ok((format!("sha256:{}", hex::encode(whole.finalize())), lines))
}

async fn errors(client: &Client, unfinished: &Unfinished, uri: String) -> anyhow::Result<PublishedErrors> {
    let mut writer = upload(&uri).await?;
    let listed = list(client, unfinished, &mut writer).await;
    let lines = finish(writer, &uri, listed).await?;
    Ok(PublishedErrors { uri, lines })
}

/// Lines that were written.
async fn list(client: &Client, unfinished: &Unfinished, writer: &mut WriteMultipart) -> anyhow::Result<u64> {
    let mut lines = 0;
    for url in &unfinished.input_urls {
        let input = transfer::get(client, "read the input of a shard", url).await?;
        let errors = error_lines(&input, &unfinished.error).context("a shard of the input is not JSONL")?;
        lines += count_lines(&errors);
        writer.put(errors.into());
    }
    Ok(lines)
}

async fn upload(uri: &str) -> anyhow::Result<WriteMultipart> {
    let (store, key) = store::open(uri)?;
    let upload = store.put_multipart(&key).await;
    Ok(WriteMultipart::new(
        upload.with_context(|| format!("write output.uri {uri}"))?,
    ))
}

/// The object appears as a whole or not at all.
async fn finish<T>(writer: WriteMultipart, uri: &str, written: anyhow::Result<T>) -> anyhow::Result<T> {
    match written {
        Ok(written) => {
            let finished = writer.finish().await;
            finished.with_context(|| format!("write output.uri {uri}"))?;
            Ok(written)
        }
        Err(error) => {
            writer.abort().await.context("give up the upload")?;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::get;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use spillway_core::results::{ResultError, ResultLine};

    use super::*;

    const INPUT: &str = "{\"custom_id\":\"a\"}\n{\"custom_id\":\"b\"}\n";

    /// URL of a server with a shard's results and its input.
    async fn hub() -> String {
        let router = Router::new()
            .route("/results", get(|| async { "one\ntwo\n" }))
            .route("/input", get(|| async { INPUT }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        base
    }

    async fn writer(store: &Arc<InMemory>) -> WriteMultipart {
        WriteMultipart::new(store.put_multipart(&Path::from("object")).await.unwrap())
    }

    async fn written(store: &Arc<InMemory>) -> Option<Vec<u8>> {
        let object = store.get(&Path::from("object")).await.ok()?;
        Some(object.bytes().await.unwrap().to_vec())
    }

    fn client() -> Client {
        spillway_process::install_crypto_provider();
        Client::new()
    }

    #[tokio::test]
    async fn results_are_joined_in_order_and_altered_ones_are_not_published() {
        let (base, store) = (hub().await, Arc::new(InMemory::new()));
        let shard = |digest: String| PublishedShard {
            url: format!("{base}/results"),
            digest,
        };
        let accepted = || shard(digest(b"one\ntwo\n"));
        let mut object = writer(&store).await;
        let altered = copy(&client(), &[accepted(), shard(digest(b"others"))], &mut object).await;
        let error = finish(object, "s3://out/", altered).await.unwrap_err();
        assert!(error.to_string().contains("shard 1"), "{error}");
        assert_eq!(written(&store).await, None);

        let mut object = writer(&store).await;
        let copied = copy(&client(), &[accepted(), accepted()], &mut object).await;
        let whole = b"one\ntwo\none\ntwo\n";
        assert_eq!(finish(object, "s3://out/", copied).await.unwrap(), (digest(whole), 4));
        assert_eq!(written(&store).await.unwrap(), whole);
    }

    #[tokio::test]
    async fn each_request_of_an_unfinished_shard_is_an_error_line() {
        let (base, store) = (hub().await, Arc::new(InMemory::new()));
        let error = ResultError {
            code: "batch_expired".to_owned(),
            message: "DeadlineExceeded: late".to_owned(),
        };
        let unfinished = Unfinished {
            input_urls: vec![format!("{base}/input")],
            error: error.clone(),
        };
        let mut object = writer(&store).await;
        let listed = list(&client(), &unfinished, &mut object).await;
        assert_eq!(finish(object, "s3://out/", listed).await.unwrap(), 2);
        let lines = written(&store).await.unwrap();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<ResultLine> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!(
            lines,
            ["a", "b"].map(|name| ResultLine::unanswered(name, error.clone()))
        );
    }
}
