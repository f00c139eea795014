//! Leaves documents in the hub's object store, read only.

use std::sync::Arc;

use alloy::primitives::{B256, Bytes, keccak256};
use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use spillway_core::batch::LeavesDocument;
use spillway_core::knowledge::Knowledge;
use spillway_core::reconcile::Document;

/// About 1 KiB a leaf.
const DOCUMENT_LIMIT: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store URL `{0}`: write s3://bucket, s3://bucket/prefix or https://host/prefix")]
    Url(String),
    #[error("store settings: {0}")]
    Settings(#[source] object_store::Error),
}

/// What lies under a key.
enum Object {
    Missing,
    TooLarge,
    Bytes(Bytes),
}

/// Where they lie.
#[derive(Clone, Debug)]
pub struct Documents {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Documents {
    /// `s3://bucket[/prefix]` as the operator has it, with credentials from the AWS_* environment, or `https://host/prefix`,
    /// where anybody may read.
    ///
    /// # Errors
    /// When the URL is neither, or the environment is incomplete. Nothing is sent yet.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("https://") || url.starts_with("http://") {
            return Self::public(url);
        }
        let malformed = || StoreError::Url(url.to_owned());
        let rest = url.strip_prefix("s3://").ok_or_else(malformed)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(malformed());
        }
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| malformed())?;
        let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let objects = Arc::new(builder.build().map_err(StoreError::Settings)?);
        Ok(Self { objects, prefix })
    }

    fn public(url: &str) -> Result<Self, StoreError> {
        let options = ClientOptions::new().with_allow_http(true);
        let builder = HttpBuilder::new().with_url(url).with_client_options(options);
        let objects = Arc::new(builder.build().map_err(StoreError::Settings)?);
        Ok(Self::new(objects, Path::default()))
    }

    /// A store of the caller's making.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { objects, prefix }
    }

    /// The document under `key`, held against the hash that the header names.
    pub async fn read(&self, key: &str, data_hash: B256) -> Knowledge<Document> {
        self.get(key, DOCUMENT_LIMIT).await.map(|object| match object {
            Object::Missing => Document::Missing,
            Object::TooLarge => Document::Altered,
            Object::Bytes(bytes) => judge(&bytes, data_hash),
        })
    }

    /// The leaves document with this hash.
    pub async fn sealed(&self, data_hash: B256) -> Knowledge<Document> {
        self.read(&LeavesDocument::key(data_hash), data_hash).await
    }

    /// The object under `key`; `None` when it is not there or larger than `limit` bytes.
    pub async fn bytes(&self, key: &str, limit: u64) -> Knowledge<Option<Bytes>> {
        self.get(key, limit).await.map(|object| match object {
            Object::Bytes(bytes) => Some(bytes),
            Object::Missing | Object::TooLarge => None,
        })
    }

    /// Names of the folders right below `prefix`.
    pub async fn folders(&self, prefix: &str) -> Knowledge<Vec<String>> {
        match self.objects.list_with_delimiter(Some(&self.path(prefix))).await {
            Ok(listed) => {
                let names = listed.common_prefixes.iter().filter_map(|path| path.filename());
                Knowledge::Known(names.map(str::to_owned).collect())
            }
            Err(error) => {
                tracing::warn!(prefix, %error, "the store cannot be asked");
                Knowledge::Unknown
            }
        }
    }

    async fn get(&self, key: &str, limit: u64) -> Knowledge<Object> {
        let found = match self.objects.get(&self.path(key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Knowledge::Known(Object::Missing),
            Err(error) => {
                tracing::warn!(key, %error, "the store cannot be asked");
                return Knowledge::Unknown;
            }
        };
        if found.meta.size > limit {
            return Knowledge::Known(Object::TooLarge);
        }
        match found.bytes().await {
            Ok(bytes) => Knowledge::Known(Object::Bytes(bytes.into())),
            Err(error) => {
                tracing::warn!(key, %error, "the store cannot be asked");
                Knowledge::Unknown
            }
        }
    }

    fn path(&self, key: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(key).parts()))
    }
}

fn judge(bytes: &[u8], data_hash: B256) -> Document {
    if keccak256(bytes) != data_hash {
        return Document::Altered;
    }
    let contents = LeavesDocument::parse(bytes).and_then(|document| document.contents());
    contents.map_or(Document::Altered, Document::Leaves)
}

#[cfg(test)]
mod tests {
    use spillway_core::batch::{Leaf, Sealed, seal};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn sealed() -> Sealed {
        let leaf = Leaf {
            job: B256::repeat_byte(1),
            shard: 0,
            attempt: 0,
            kind: 0,
            payer: alloy::primitives::Address::repeat_byte(9),
            provider: alloy::primitives::Address::repeat_byte(5),
            amount: 7,
            order: B256::ZERO,
            receipt: B256::ZERO,
        };
        seal(1, alloy::primitives::Address::ZERO, 1, B256::ZERO, vec![leaf]).unwrap()
    }

    /// Answers every request below `/hub/` for one document, and 404 to all others.
    async fn publish(key: String, body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hub", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&request[..read]).into_owned();
                let (status, body) = if asked.starts_with(&format!("GET /hub/{key} ")) {
                    ("200 OK", body.as_slice())
                } else {
                    ("404 Not Found", &[][..])
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
            }
        });
        url
    }

    #[tokio::test]
    async fn whoever_may_read_a_url_reads_documents_there() {
        let sealed = sealed();
        let hash = sealed.header.dataHash;
        let url = publish(LeavesDocument::key(hash), sealed.document).await;
        let documents = Documents::connect(&url).unwrap();
        let Knowledge::Known(Document::Leaves(contents)) = documents.sealed(hash).await else {
            panic!("it is there");
        };
        assert_eq!(contents.leaves, sealed.leaves);
        assert_eq!(
            documents.sealed(B256::ZERO).await,
            Knowledge::Known(Document::Missing),
            "not there is not unknown"
        );
        let silent = Documents::connect("http://127.0.0.1:9/hub").unwrap();
        assert_eq!(silent.sealed(hash).await, Knowledge::Unknown);
    }
}
