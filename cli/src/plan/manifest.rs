//! From a file to a job that hub and operator would take, or to what is wrong with it: field and fix.

use anyhow::{Context, bail};
use kube::api::PostParams;
use kube::core::Request;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::Deserialize;
use serde_json::Value;
use spillway_core::shard::{ShardManifest, split};
use spillway_crds::market::{ValidatedJob, validate_under};
use spillway_crds::{DataClass, InferenceJob};

use crate::place::default_data_class;

/// A fault of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    /// Path, such as `spec.price.maxPerGpuHour`; empty when the whole document is meant.
    pub(super) field: String,
    pub(super) message: String,
}

impl Fault {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

/// A job that would be accepted, typed.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) job: InferenceJob,
    pub(super) terms: ValidatedJob,
    /// What the hub wants of every job.
    pub(super) least_data_class: DataClass,
    /// Inline input as the operator will cut it.
    pub(super) cut: Option<ShardManifest>,
    /// What could not be checked.
    pub(super) notes: Vec<String>,
}

/// The one InferenceJob among the documents of a YAML or JSON file.
pub(super) fn document(text: &str) -> Result<Value, Fault> {
    let mut jobs = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| Fault::new("", format!("not YAML: {error}")))?;
        let is_job = value["kind"] == "InferenceJob"
            && value["apiVersion"]
                .as_str()
                .is_some_and(|version| version.starts_with("spillway.dev/"));
        if is_job {
            jobs.push(value);
        }
    }
    match jobs.len() {
        1 => Ok(jobs.remove(0)),
        0 => Err(Fault::new(
            "kind",
            "the file holds no InferenceJob of spillway.dev/v1alpha1",
        )),
        count => Err(Fault::new(
            "kind",
            format!("the file holds {count} InferenceJobs: plan one at a time"),
        )),
    }
}

/// The namespace that a job would be applied to.
pub(super) fn namespace(document: &Value, asked: Option<&str>, default: &str) -> Result<String, Fault> {
    let named = document["metadata"]["namespace"].as_str();
    match (named, asked) {
        (Some(named), Some(asked)) if named != asked => Err(Fault::new(
            "metadata.namespace",
            format!("is {named}, and --namespace says {asked}: give one of them"),
        )),
        (Some(named), _) => Ok(named.to_owned()),
        (None, _) => Ok(asked.unwrap_or(default).to_owned()),
    }
}

/// Asks the API server without leaving anything behind, then checks what the operator would.
///
/// # Errors
/// When the hub cannot be asked; what is wrong with the manifest is `Ok(Err(faults))`.
pub(super) async fn check(
    client: &Client,
    namespace: &str,
    document: &Value,
) -> anyhow::Result<Result<Manifest, Vec<Fault>>> {
    let mut notes = Vec::new();
    let least = default_data_class(client).await.unwrap_or_else(|| {
        notes.push("the hub's default data class could not be read: a stricter one than Public may hold".to_owned());
        DataClass::Public
    });
    let job = match dry_run(client, namespace, document).await? {
        DryRun::Accepted(job) => Ok(*job),
        DryRun::Refused(faults) => return Ok(Err(faults)),
        DryRun::NotAsked(note) => {
            notes.push(note);
            serde_json::from_value(document.clone()).map_err(|error| Fault::new("", error.to_string()))
        }
    };
    let manifest = job.and_then(|mut job: InferenceJob| {
        job.metadata.namespace = Some(namespace.to_owned());
        typed(job, least, notes)
    });
    Ok(manifest.map_err(|fault| vec![fault]))
}

fn typed(job: InferenceJob, least: DataClass, notes: Vec<String>) -> Result<Manifest, Fault> {
    let terms = validate_under(&job.spec, least).map_err(|error| Fault::new(error.field, error.message))?;
    let inline = job.spec.input.inline.as_ref();
    let cut = inline.map(|inline| split(inline.as_bytes(), terms.shards).map(|(manifest, _)| manifest));
    let cut = cut
        .transpose()
        .map_err(|error| Fault::new("spec.input.inline", error.to_string()))?;
    Ok(Manifest {
        job,
        terms,
        least_data_class: least,
        cut,
        notes,
    })
}

enum DryRun {
    Accepted(Box<InferenceJob>),
    Refused(Vec<Fault>),
    /// Why the API server did not check it.
    NotAsked(String),
}

async fn dry_run(client: &Client, namespace: &str, document: &Value) -> anyhow::Result<DryRun> {
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut document = document.clone();
    document["metadata"]["namespace"] = Value::from(namespace);
    let path = InferenceJob::url_path(&(), Some(namespace));
    let mut request = Request::new(path).create(&parameters, serde_json::to_vec(&document)?)?;
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse()?;
    match client.request::<InferenceJob>(request).await {
        Ok(job) => Ok(DryRun::Accepted(Box::new(job))),
        Err(kube::Error::Api(status)) => refusal(&status, namespace),
        Err(error) => Err(error).context("ask the API server to check the manifest"),
    }
}

fn refusal(status: &kube::core::Status, namespace: &str) -> anyhow::Result<DryRun> {
    let message = &status.message;
    Ok(match status.code {
        409 => DryRun::NotAsked(
            "a job of this name exists, and of its spec only price.budget and execution.deadline can be raised: delete it first, or take another name"
                .to_owned(),
        ),
        403 if message.contains("cannot create resource") => DryRun::NotAsked(format!(
            "the API server did not check the manifest, for you may not create InferenceJobs in {namespace}: unknown fields go unnoticed"
        )),
        404 if message.contains("namespaces") => DryRun::Refused(vec![Fault::new(
            "metadata.namespace",
            format!("namespace {namespace} does not exist"),
        )]),
        404 => bail!("the API server knows no InferenceJob: is this the hub, and is its chart installed?"),
        400 | 403 | 422 => DryRun::Refused(faults(status)),
        _ => bail!("the API server could not check the manifest: {message}"),
    })
}

/// Causes as the API server names them, or the unknown fields of a strict decoding error, or else its sentence.
fn faults(status: &kube::core::Status) -> Vec<Fault> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes: Vec<Fault> = causes.map(|cause| Fault::new(&cause.field, &cause.message)).collect();
    if !causes.is_empty() {
        return causes;
    }
    let unknown = status.message.split("unknown field \"").skip(1);
    let unknown: Vec<Fault> = unknown
        .filter_map(|rest| rest.split_once('"'))
        .map(|(field, _)| Fault::new(field, "there is no such field"))
        .collect();
    if unknown.is_empty() {
        vec![Fault::new("", &status.message)]
    } else {
        unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "apiVersion: spillway.dev/v1alpha1\nkind: InferenceJob\nmetadata: {name: a}\n";

    #[test]
    fn the_job_is_found_among_other_documents() {
        let file = format!("apiVersion: v1\nkind: Secret\n---\n{JOB}");
        assert_eq!(document(&file).unwrap()["metadata"]["name"], "a");
        let none = document("kind: Pod\n").unwrap_err();
        assert!(none.message.contains("no InferenceJob"), "{none:?}");
        let two = document(&format!("{JOB}---\n{JOB}")).unwrap_err();
        assert!(two.message.contains("2 InferenceJobs"), "{two:?}");
        assert!(document("a: [").unwrap_err().message.starts_with("not YAML"));
    }

    #[test]
    fn the_namespace_is_kubectls() {
        let named = document(&JOB.replace("{name: a}", "{name: a, namespace: team-a}")).unwrap();
        let unnamed = document(JOB).unwrap();
        assert_eq!(namespace(&named, None, "default"), Ok("team-a".to_owned()));
        assert_eq!(namespace(&unnamed, Some("team-b"), "default"), Ok("team-b".to_owned()));
        assert_eq!(namespace(&unnamed, None, "default"), Ok("default".to_owned()));
        assert_eq!(
            namespace(&named, Some("team-b"), "default").unwrap_err().field,
            "metadata.namespace"
        );
    }

    #[test]
    fn a_strict_decoding_error_names_each_field() {
        let status = kube::core::Status {
            code: 400,
            message: r#"strict decoding error: unknown field "spec.prices", unknown field "spec.x.y""#.to_owned(),
            ..Default::default()
        };
        let fields: Vec<String> = faults(&status).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["spec.prices", "spec.x.y"]);
    }
}
