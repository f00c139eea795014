//! Writes that are answered with the object's metadata: of what we sent ourselves, nothing else is news, and the API
//! server need not write a large object out once more.

use http::HeaderValue;
use http::header::ACCEPT;
use kube::api::{ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::core::object::HasStatus;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::json;

const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

pub(super) async fn create<K>(client: &Client, object: &K) -> kube::Result<ObjectMeta>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = request_of(object).create(&PostParams::default(), body);
    send(client, request.map_err(kube::Error::BuildRequest)?).await
}

/// Sends no spec: the API server keeps the one that it has, and an inline input may be large.
pub(super) async fn replace_status<K>(client: &Client, object: &K) -> kube::Result<ObjectMeta>
where
    K: Resource<DynamicType = ()> + HasStatus<Status: Serialize>,
{
    let name = object.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "resourceVersion": object.resource_version()},
    });
    let body = WithStatus {
        object: body,
        status: object.status(),
    };
    let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
    let request = request_of(object).replace_subresource("status", &name, &PostParams::default(), body);
    send(client, request.map_err(kube::Error::BuildRequest)?).await
}

#[derive(Serialize)]
struct WithStatus<'a, S> {
    #[serde(flatten)]
    object: serde_json::Value,
    status: Option<&'a S>,
}

fn request_of<K: Resource<DynamicType = ()>>(object: &K) -> kube::core::Request {
    kube::core::Request::new(K::url_path(&(), object.meta().namespace.as_deref()))
}

async fn send(client: &Client, mut request: http::Request<Vec<u8>>) -> kube::Result<ObjectMeta> {
    request.headers_mut().insert(ACCEPT, METADATA_ONLY);
    let written: PartialObjectMeta = client.request(request).await?;
    Ok(written.metadata)
}
