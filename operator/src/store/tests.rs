use object_store::memory::InMemory;

use super::*;

/// Signs by writing method and expiry into the query.
#[derive(Debug)]
struct PlainSigner;

#[async_trait::async_trait]
impl Signer for PlainSigner {
    async fn signed_url(&self, method: Method, path: &Path, expires_in: Duration) -> object_store::Result<Url> {
        let text = format!(
            "http://store.test:9000/{path}?method={method}&seconds={}",
            expires_in.as_secs()
        );
        Ok(text.parse().unwrap())
    }
}

pub(crate) fn memory_store() -> HubStore {
    let prefix = Path::from("prefix");
    HubStore::new(
        Arc::new(InMemory::new()),
        Arc::new(PlainSigner),
        prefix,
        "store.test:9000".to_owned(),
    )
}

/// A store that nobody answers for.
pub(crate) fn dead_store() -> HubStore {
    let s3 = AmazonS3Builder::new()
        .with_bucket_name("spillway")
        .with_region("us-east-1")
        .with_endpoint("http://127.0.0.1:9")
        .with_allow_http(true)
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_retry(object_store::RetryConfig {
            max_retries: 0,
            ..Default::default()
        })
        .build()
        .unwrap();
    let s3 = Arc::new(s3);
    HubStore::new(s3.clone(), s3, Path::default(), "127.0.0.1:9".to_owned())
}

#[tokio::test]
async fn what_is_put_is_got() {
    let store = memory_store();
    store.put("jobs/u/manifest.json", "{}").await.unwrap();
    assert_eq!(store.get("jobs/u/manifest.json", 10).await.unwrap(), "{}");
}

#[tokio::test]
async fn not_there_and_cannot_ask_are_told_apart() {
    assert!(matches!(
        memory_store().get("nothing", 10).await,
        Err(StoreError::NotFound { .. })
    ));
    assert!(matches!(
        dead_store().get("nothing", 10).await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn a_stranger_cannot_fill_our_memory() {
    let store = memory_store();
    store.put("big", vec![0; 11]).await.unwrap();
    assert!(matches!(
        store.get("big", 10).await,
        Err(StoreError::TooLarge {
            bytes: 11,
            limit: 10,
            ..
        })
    ));
}

#[tokio::test]
async fn a_job_is_deleted_without_its_neighbours() {
    let store = memory_store();
    for key in ["jobs/u1/a", "jobs/u1/b/c", "jobs/u12/a", "receipts/u1/0-0.json"] {
        store.put(key, "x").await.unwrap();
    }
    for _ in 0..2 {
        store.delete_prefix("jobs/u1/").await.unwrap();
        assert_eq!(store.count("jobs/u1/").await.unwrap(), 0);
    }
    assert_eq!(store.count("jobs/u12/").await.unwrap(), 1);
    assert_eq!(store.count("receipts/u1/").await.unwrap(), 1);
}

#[tokio::test]
async fn presigned_urls_carry_prefix_method_and_a_bounded_life() {
    let store = memory_store();
    let get = store.presign_get("jobs/u/x", Duration::from_secs(60)).await.unwrap();
    assert_eq!(
        get.as_str(),
        "http://store.test:9000/prefix/jobs/u/x?method=GET&seconds=60"
    );
    let put = store.presign_put("jobs/u/x", Duration::MAX).await.unwrap();
    assert_eq!(
        put.as_str(),
        "http://store.test:9000/prefix/jobs/u/x?method=PUT&seconds=604800"
    );
}

#[tokio::test]
async fn the_real_signer_signs_without_asking_anybody() {
    let url = dead_store().presign_put("a/b", Duration::from_secs(60)).await.unwrap();
    assert!(
        url.as_str().starts_with("http://127.0.0.1:9/spillway/a/b?X-Amz-"),
        "{url}"
    );
}

#[test]
fn urls_name_bucket_and_prefix() {
    let (bucket, prefix) = bucket_and_prefix("s3://bucket/a/b/").unwrap();
    assert_eq!((bucket.as_str(), prefix.as_ref()), ("bucket", "a/b"));
    assert_eq!(bucket_and_prefix("s3://bucket").unwrap().1.as_ref(), "");
    for url in ["", "bucket", "s3://", "s3:///x", "http://bucket/x", "s3://bucket/a//b"] {
        assert!(matches!(bucket_and_prefix(url), Err(StoreError::Url(_))), "{url:?}");
    }
}

#[test]
fn the_endpoint_is_the_only_egress() {
    let builder = AmazonS3Builder::new().with_region("eu-west-1");
    assert_eq!(endpoint_of(&builder).as_deref(), Some("s3.eu-west-1.amazonaws.com:443"));
    for (endpoint, egress) in [
        ("http://store:30900", "store:30900"),
        ("https://store.example/", "store.example:443"),
    ] {
        assert_eq!(
            endpoint_of(&builder.clone().with_endpoint(endpoint)).as_deref(),
            Some(egress)
        );
    }
}
