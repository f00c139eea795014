//! The tenant's object store, from the credentials in the environment.

use anyhow::{Context, ensure};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use url::Url;

/// Opens the bucket of `s3://bucket/key` and returns it with the key.
///
/// # Errors
/// When the URI is of another form, or the environment lacks what the store needs.
pub fn open(uri: &str) -> anyhow::Result<(AmazonS3, Path)> {
    let url = Url::parse(uri).with_context(|| format!("`{uri}` is not a URI"))?;
    ensure!(url.scheme() == "s3", "`{uri}` is not s3://bucket/key");
    let bucket = url.host_str().with_context(|| format!("`{uri}` names no bucket"))?;
    let plain_http = std::env::var("AWS_ENDPOINT_URL").is_ok_and(|endpoint| endpoint.starts_with("http://"));
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_allow_http(plain_http)
        .build()
        .context("open the store: the Secret must hold AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")?;
    Ok((store, Path::from_url_path(url.path())?))
}
