//! A manifest with a wrong field is refused, with words that name field and fix.

use anyhow::{Context as _, ensure};
use http::{Method, Request};
use serde_json::{Value, json};
use spillway_e2e_scenarios::{Scene, TENANT, golden};

struct Wrong {
    pointer: &'static str,
    value: Value,
    field: &'static str,
    fix: &'static str,
}

fn wrong_fields() -> Vec<Wrong> {
    let wrong = |pointer, value, field, fix| Wrong {
        pointer,
        value,
        field,
        fix,
    };
    vec![
        wrong(
            "/spec/input",
            json!({"uri": "s3://tenant/x.jsonl", "secretRef": "store", "inline": "{}"}),
            "spec.input",
            "give exactly one of input.uri (s3://bucket/key) and input.inline",
        ),
        wrong(
            "/spec/input",
            json!({"uri": "s3://tenant/x.jsonl"}),
            "spec.input",
            "input.secretRef must name a Secret with the credentials of the input store",
        ),
        wrong(
            "/spec/execution/shards",
            json!("many"),
            "spec.execution",
            "execution.shards must be \"auto\" or a number from 1 to 256",
        ),
        wrong(
            "/spec/price/budget",
            json!("2 USD"),
            "spec.price.budget",
            r"should match '^[0-9]+(\.[0-9]{1,6})?$'",
        ),
        wrong(
            "/spec/output/uri",
            json!("s3://tenant/no-slash"),
            "spec.output.uri",
            "should match '^s3://[^/]+/(.*/)?$'",
        ),
        wrong(
            "/spec/data",
            json!({"class": "Secret"}),
            "spec.data.class",
            r#"supported values: "Public", "Internal", "Restricted""#,
        ),
        wrong(
            "/spec/resources/models",
            json!("NVIDIA-L4"),
            "spec.resources.models",
            "must be of type array",
        ),
        wrong("/spec/resources/gpu", json!(1), "spec.resources.gpu", "unknown field"),
    ]
}

/// As `kubectl apply` asks: strictly. Returns the API server's message.
async fn refusal(scene: &Scene, manifest: &Value) -> anyhow::Result<String> {
    let path = format!("/apis/spillway.dev/v1alpha1/namespaces/{TENANT}/inferencejobs?fieldValidation=Strict");
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("Content-Type", "application/json");
    let request = request.body(serde_json::to_vec(manifest)?)?;
    match scene.ground.hub.request::<Value>(request).await {
        Ok(accepted) => anyhow::bail!("accepted: {accepted}"),
        Err(kube::Error::Api(status)) => Ok(status.message.clone()),
        Err(error) => Err(error.into()),
    }
}

fn with(mut manifest: Value, pointer: &str, value: &Value) -> anyhow::Result<Value> {
    let (parent, field) = pointer.rsplit_once('/').context("a pointer has slashes")?;
    let parent = manifest
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .context("no such parent")?;
    parent.insert(field.to_owned(), value.clone());
    Ok(manifest)
}

#[tokio::test]
async fn a_wrong_field_is_refused_by_name_with_the_fix() -> anyhow::Result<()> {
    let scene = Scene::open("admission").await?;
    let manifest = scene.inline(&golden::requests(1)?, 1);
    for Wrong {
        pointer,
        value,
        field,
        fix,
    } in wrong_fields()
    {
        let message = refusal(&scene, &with(manifest.clone(), pointer, &value)?).await?;
        ensure!(
            message.contains(field),
            "{pointer}: {value}: `{message}` does not name {field}"
        );
        ensure!(
            message.contains(fix),
            "{pointer}: {value}: `{message}` does not say `{fix}`"
        );
    }
    ensure!(
        scene.ground.jobs().get_opt(&scene.name).await?.is_none(),
        "a refused job is there"
    );
    scene.close().await
}
