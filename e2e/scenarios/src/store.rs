//! The S3 store as seen from this machine: the hub's bucket and the tenants'.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};

use crate::Ground;
use crate::ground::local_url;

/// As pods of any cluster reach it.
fn inside() -> String {
    let prefix = std::env::var("SPILLWAY_CLUSTER_PREFIX").unwrap_or_default();
    format!("http://{prefix}hub-control-plane:30900")
}

/// How long a signed URL is valid: longer than any test.
const SIGNED_FOR: Duration = Duration::from_hours(1);

/// Both buckets.
#[derive(Debug)]
pub struct Stores {
    pub hub: Bucket,
    pub tenant: Bucket,
    /// The tenants' bucket at the address that pods use: only to sign.
    signer: AmazonS3,
}

#[derive(Debug)]
pub struct Bucket(AmazonS3);

impl Stores {
    /// # Errors
    /// When the Secret with the store's key cannot be read.
    pub async fn connect(ground: &Ground) -> anyhow::Result<Self> {
        let secret = Api::<Secret>::namespaced(ground.hub.clone(), "spillway-e2e")
            .get("store")
            .await?;
        let here = local_url("SPILLWAY_S3_PORT", "30900");
        Ok(Self {
            hub: Bucket(bucket(&secret, &here, "spillway")?),
            tenant: Bucket(bucket(&secret, &here, "tenant")?),
            signer: bucket(&secret, &inside(), "tenant")?,
        })
    }

    /// A URL by which pods may read an object of the tenants' bucket.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn signed(&self, key: &str) -> anyhow::Result<String> {
        let url = self
            .signer
            .signed_url(http::Method::GET, &Path::from(key), SIGNED_FOR)
            .await?;
        Ok(url.into())
    }
}

fn bucket(secret: &Secret, endpoint: &str, name: &str) -> anyhow::Result<AmazonS3> {
    let entry = |key: &str| -> anyhow::Result<String> {
        let bytes = secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .with_context(|| format!("Secret store: no {key}"))?;
        Ok(String::from_utf8(bytes.0.clone())?)
    };
    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id(entry("AWS_ACCESS_KEY_ID")?)
        .with_secret_access_key(entry("AWS_SECRET_ACCESS_KEY")?)
        .with_bucket_name(name);
    Ok(store.build()?)
}

impl Bucket {
    /// # Errors
    /// When the store cannot be asked.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> anyhow::Result<()> {
        self.0
            .put(&Path::from(key), PutPayload::from_bytes(bytes.into()))
            .await?;
        Ok(())
    }

    /// # Errors
    /// When the store cannot be asked, or has no such object.
    pub async fn get(&self, key: &str) -> anyhow::Result<Bytes> {
        let found = self
            .0
            .get(&Path::from(key))
            .await
            .with_context(|| format!("object {key}"))?;
        Ok(found.bytes().await?)
    }

    /// Keys under a prefix that ends in a slash.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn keys(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let prefix = Path::from(prefix);
        let found: Vec<_> = self.0.list(Some(&prefix)).try_collect().await?;
        Ok(found.into_iter().map(|object| object.location.to_string()).collect())
    }

    /// # Errors
    /// When the store cannot be asked.
    pub async fn delete(&self, prefix: &str) -> anyhow::Result<()> {
        for key in self.keys(prefix).await? {
            self.0.delete(&Path::from(key)).await?;
        }
        Ok(())
    }
}
