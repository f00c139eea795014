//! GET and PUT through presigned URLs. An error never names the URL: it is a secret.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Response, StatusCode};

const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("{what}: the store answered {status}: {body}")]
    Refused {
        what: &'static str,
        status: StatusCode,
        body: String,
    },
    #[error("{what}: {source}")]
    Unreachable { what: &'static str, source: reqwest::Error },
}

/// Reads an object.
///
/// # Errors
/// After six tries, or at once when the store refuses.
pub async fn get(client: &Client, what: &'static str, url: &str) -> Result<Bytes, TransferError> {
    let response = with_retries(what, || client.get(url).send()).await?;
    response.bytes().await.map_err(|source| TransferError::Unreachable {
        what,
        source: source.without_url(),
    })
}

/// Writes an object.
///
/// # Errors
/// After six tries, or at once when the store refuses.
pub async fn put(client: &Client, what: &'static str, url: &str, body: Bytes) -> Result<(), TransferError> {
    with_retries(what, || client.put(url).body(body.clone()).send())
        .await
        .map(drop)
}

async fn with_retries<F: Future<Output = reqwest::Result<Response>>>(
    what: &'static str,
    send: impl Fn() -> F,
) -> Result<Response, TransferError> {
    let mut wait = FIRST_WAIT;
    for _ in 1..ATTEMPTS {
        match judge(what, send().await).await {
            Err(error) if error.is_passing() => tracing::warn!(%error, "trying again in {wait:?}"),
            settled => return settled,
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    judge(what, send().await).await
}

async fn judge(what: &'static str, outcome: reqwest::Result<Response>) -> Result<Response, TransferError> {
    match outcome {
        Err(source) => Err(TransferError::Unreachable {
            what,
            source: source.without_url(),
        }),
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => {
            let status = response.status();
            let body = response.text().await.unwrap_or_default();
            Err(TransferError::Refused {
                what,
                status,
                body: error_code(&body),
            })
        }
    }
}

/// The `<Code>` of an S3 error document: the rest may repeat the request, signature included.
fn error_code(body: &str) -> String {
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(
        || "no S3 error code".to_owned(),
        |(code, _)| code.chars().take(64).collect(),
    )
}

impl TransferError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
        }
    }
}
