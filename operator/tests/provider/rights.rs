//! What a client may do: asked of the API server for every verb of every kind, and tried with real requests.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
/// Group, resource (with subresource), name.
const OBJECTS: [(&str, &str, &str); 38] = [
    ("", "secrets", ""),
    ("", "secrets", "agent"),
    ("", "secrets", "join"),
    ("", "serviceaccounts", ""),
    ("", "serviceaccounts", "agent"),
    ("", "serviceaccounts/token", "agent"),
    ("", "serviceaccounts/token", "join"),
    ("", "serviceaccounts/token", "spillway-operator"),
    ("", "serviceaccounts", "spillway-operator"),
    ("", "configmaps", ""),
    ("", "events", ""),
    ("", "namespaces", ""),
    ("", "nodes", ""),
    ("", "nodes/status", "spillway-a-gpu0"),
    ("", "pods", ""),
    ("", "pods/status", "x"),
    ("", "pods/exec", "x"),
    ("apps", "deployments", ""),
    ("batch", "jobs", ""),
    ("coordination.k8s.io", "leases", ""),
    ("coordination.k8s.io", "leases", "heartbeat"),
    ("coordination.k8s.io", "leases", "ping"),
    ("coordination.k8s.io", "leases", "spillway-operator"),
    ("rbac.authorization.k8s.io", "roles", "agent"),
    ("rbac.authorization.k8s.io", "rolebindings", "agent"),
    ("rbac.authorization.k8s.io", "clusterroles", ""),
    ("spillway.dev", "providerinventories", ""),
    ("spillway.dev", "providerinventories", "inventory"),
    ("spillway.dev", "providerinventories/status", "inventory"),
    ("spillway.dev", "workassignments", ""),
    ("spillway.dev", "workassignments/status", ""),
    ("spillway.dev", "gpuproviders", ""),
    ("spillway.dev", "gpuproviders/status", ""),
    ("spillway.dev", "inferencejobs", ""),
    ("spillway.dev", "inferencejobs/status", ""),
    ("spillway.dev", "spendpolicies", ""),
    ("spillway.dev", "settlements", ""),
    ("spillway.dev", "settlements/status", ""),
];

/// Everything of the table that `client` may do in `namespace`; an empty namespace means all of them.
pub(crate) async fn rights(client: &Client, namespace: &str) -> BTreeSet<String> {
    let questions = OBJECTS
        .into_iter()
        .flat_map(|object| VERBS.into_iter().map(move |verb| (verb, object)));
    let answers = stream::iter(questions).map(|(verb, object)| async move {
        let (_, resource, name) = object;
        may(client, namespace, verb, object)
            .await
            .then(|| format!("{verb} {resource} {name}").trim_end().to_owned())
    });
    answers
        .buffer_unordered(32)
        .filter_map(std::future::ready)
        .collect()
        .await
}

async fn may(client: &Client, namespace: &str, verb: &str, (group, resource, name): (&str, &str, &str)) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let text = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        namespace: text(namespace),
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        subresource: text(subresource),
        name: text(name),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

/// Status code of a request without a body: who may not do it is told so before the body is read.
pub(crate) async fn code(client: &Client, method: &str, path: &str) -> u16 {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/merge-patch+json");
    match client.request_text(request.body(Vec::new()).unwrap()).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}
