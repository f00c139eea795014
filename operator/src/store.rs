//! The hub's object store: get, put, delete a prefix, presign.
//!
//! In: `SPILLWAY_STORE_URL` (`s3://bucket/prefix`) and the AWS_* environment. Out: bytes, presigned URLs.
//! "Not there" and "cannot ask" are different errors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use reqwest::Method;
use url::Url;

/// S3 refuses presigned URLs that live longer.
pub const LONGEST_PRESIGNED: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store URL `{0}`: write s3://bucket or s3://bucket/prefix")]
    Url(String),
    #[error("store settings: {0}")]
    Settings(#[source] object_store::Error),
    /// The store answered that the object does not exist.
    #[error("{key}: not in the store")]
    NotFound { key: String },
    #[error("{key}: {bytes} bytes, more than the {limit} that are read")]
    TooLarge { key: String, bytes: u64, limit: u64 },
    /// The store did not answer, or refused: nothing is known about the object.
    #[error("{key}: the store cannot be asked")]
    Unavailable { key: String, source: object_store::Error },
}

impl StoreError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// The operator's own bucket.
#[derive(Clone, Debug)]
pub struct HubStore {
    objects: Arc<dyn ObjectStore>,
    signer: Arc<dyn Signer>,
    prefix: Path,
    egress: String,
}

impl HubStore {
    /// Settings come from `url` and from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION, AWS_ALLOW_HTTP.
    ///
    /// # Errors
    /// When the URL is not `s3://bucket[/prefix]`, or the environment is incomplete. Nothing is sent yet.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        let (bucket, prefix) = bucket_and_prefix(url)?;
        let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let egress = endpoint_of(&builder).ok_or_else(|| StoreError::Url(url.to_owned()))?;
        let s3 = Arc::new(builder.build().map_err(StoreError::Settings)?);
        Ok(Self {
            objects: s3.clone(),
            signer: s3,
            prefix,
            egress,
        })
    }

    /// A store of the caller's making: `egress` is the `host:port` of its presigned URLs.
    pub fn new(objects: Arc<dyn ObjectStore>, signer: Arc<dyn Signer>, prefix: Path, egress: String) -> Self {
        Self {
            objects,
            signer,
            prefix,
            egress,
        }
    }

    /// `host:port` that presigned URLs point to.
    pub fn egress(&self) -> &str {
        &self.egress
    }

    /// Writes an object whole, over an older one.
    ///
    /// # Errors
    /// `Unavailable`: it is not known whether the object was written.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        let payload = PutPayload::from_bytes(bytes.into());
        self.objects
            .put(&self.path(key), payload)
            .await
            .map(|_| ())
            .map_err(|error| classify(key, error))
    }

    /// Reads an object of at most `limit` bytes; whoever wrote it may be a stranger.
    ///
    /// # Errors
    /// `NotFound`, `TooLarge` (nothing is read then), `Unavailable`.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let found = self
            .objects
            .get(&self.path(key))
            .await
            .map_err(|error| classify(key, error))?;
        let bytes = found.meta.size;
        if bytes > limit {
            return Err(StoreError::TooLarge {
                key: key.to_owned(),
                bytes,
                limit,
            });
        }
        found.bytes().await.map_err(|error| classify(key, error))
    }

    /// Deletes one object; one that is gone already is no error.
    ///
    /// # Errors
    /// `Unavailable`: it is not known whether it was deleted.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self
            .objects
            .delete(&self.path(key))
            .await
            .map_err(|error| classify(key, error))
        {
            Err(StoreError::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    /// Counts the objects under a prefix.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        let listed = self.objects.list(Some(&self.path(prefix)));
        let counted = listed.try_fold(0, |count, _| async move { Ok(count + 1) }).await;
        counted.map_err(|error| classify(prefix, error))
    }

    /// Deletes every object under `prefix`; what is already gone is no error.
    ///
    /// # Errors
    /// `Unavailable`: some objects may be left; call again.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let found = self
            .objects
            .list(Some(&self.path(prefix)))
            .map_ok(|meta| meta.location)
            .boxed();
        let deleted = self.objects.delete_stream(found).filter(|result| {
            let keep = !matches!(result, Err(object_store::Error::NotFound { .. }));
            async move { keep }
        });
        deleted
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|error| classify(prefix, error))
    }

    /// # Errors
    /// When no credentials are there to sign with.
    pub async fn presign_get(&self, key: &str, expires_in: Duration) -> Result<Url, StoreError> {
        self.presign(Method::GET, key, expires_in).await
    }

    /// # Errors
    /// When no credentials are there to sign with.
    pub async fn presign_put(&self, key: &str, expires_in: Duration) -> Result<Url, StoreError> {
        self.presign(Method::PUT, key, expires_in).await
    }

    async fn presign(&self, method: Method, key: &str, expires_in: Duration) -> Result<Url, StoreError> {
        let expires_in = expires_in.min(LONGEST_PRESIGNED);
        let signed = self.signer.signed_url(method, &self.path(key), expires_in).await;
        signed.map_err(|error| classify(key, error))
    }

    fn path(&self, key: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(key).parts()))
    }
}

fn bucket_and_prefix(url: &str) -> Result<(String, Path), StoreError> {
    let malformed = || StoreError::Url(url.to_owned());
    let rest = url.strip_prefix("s3://").ok_or_else(malformed)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(malformed());
    }
    let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| malformed())?;
    Ok((bucket.to_owned(), prefix))
}

/// `host:port` of the S3 endpoint; AWS itself when none is set.
fn endpoint_of(builder: &AmazonS3Builder) -> Option<String> {
    let Some(endpoint) = builder.get_config_value(&AmazonS3ConfigKey::Endpoint) else {
        let region = builder
            .get_config_value(&AmazonS3ConfigKey::Region)
            .unwrap_or_else(|| "us-east-1".to_owned());
        return Some(format!("s3.{region}.amazonaws.com:443"));
    };
    let endpoint = Url::parse(&endpoint).ok()?;
    Some(format!(
        "{}:{}",
        endpoint.host_str()?,
        endpoint.port_or_known_default()?
    ))
}

fn classify(key: &str, error: object_store::Error) -> StoreError {
    let key = key.to_owned();
    match error {
        object_store::Error::NotFound { .. } => StoreError::NotFound { key },
        source => StoreError::Unavailable { key, source },
    }
}

#[cfg(test)]
pub(crate) mod tests;
