//! Which attempt of which job a pod is, and what that attempt needs.

use std::borrow::Cow;
use std::sync::Arc;

use spillway_core::market::{Requirement, Weights};

use crate::snapshot::{JobView, Snapshot};
use crate::wire::{Metadata, OwnerReference, Pod};

const JOB_KIND: &str = "InferenceJob";
const JOB_GROUP: &str = "spillway.dev/";
/// Value of the label `spillway.dev/kind` on attempts that any owner may run.
const WORK: &str = "work";

/// What the attempt of a pod asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked<'a> {
    pub requirement: Cow<'a, Requirement>,
    pub weights: Weights,
}

/// Why a pod cannot be judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unjudged {
    /// The snapshot may lag behind the pod by a moment: to be asked again.
    #[error("{0} is not known yet")]
    NotYet(String),
    /// Will not change by asking again.
    #[error("{0}")]
    Never(Arc<str>),
}

/// Finds the needs of the attempt that `pod` claims to be.
///
/// # Errors
/// [`Unjudged`] for a pod that no job controls, or whose job or attempt is unknown.
pub fn asked<'a>(snapshot: &'a Snapshot, pod: &Pod<'_>) -> Result<Asked<'a>, Unjudged> {
    let metadata = &pod.metadata;
    let job = job_of(snapshot, metadata)?;
    if !job.accepted {
        return Err(Unjudged::NotYet(format!("acceptance of InferenceJob {}", job.uid)));
    }
    let needs = job
        .needs
        .as_ref()
        .map_err(|error| never(format!("its InferenceJob cannot be honoured: {error}")))?;
    let is_work = !needs_another_owner(metadata);
    let weights = match numbers(metadata) {
        Ok((shard, attempt)) if is_work => needs.weights.for_attempt(&job.uid, shard, attempt),
        _ => needs.weights,
    };
    let requirement = if job.bursts || !is_work {
        let (shard, attempt) = numbers(metadata)?;
        let not_yet = || Unjudged::NotYet(format!("attempt {attempt} of shard {shard}"));
        Cow::Borrowed(job.special.get(&(shard, attempt)).ok_or_else(not_yet)?)
    } else {
        Cow::Borrowed(&needs.requirement)
    };
    Ok(Asked { requirement, weights })
}

fn job_of<'a>(snapshot: &'a Snapshot, metadata: &Metadata<'_>) -> Result<&'a JobView, Unjudged> {
    let no_owner = || never("no InferenceJob controls this pod".to_owned());
    let uid = controller(metadata).ok_or_else(no_owner)?.uid.as_str();
    let job = snapshot
        .jobs
        .get(uid)
        .ok_or_else(|| Unjudged::NotYet(format!("InferenceJob {uid}")))?;
    let namespace = metadata.namespace.as_ref().map_or("", |namespace| namespace.as_str());
    if job.namespace == namespace {
        Ok(job)
    } else {
        Err(never(format!(
            "its InferenceJob lives in another namespace than {namespace}"
        )))
    }
}

fn controller<'a, 'b>(metadata: &'a Metadata<'b>) -> Option<&'a OwnerReference<'b>> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind.as_str() == JOB_KIND
            && owner.api_version.as_str().starts_with(JOB_GROUP)
    })
}

/// A label is a hint: a wrong one gains nothing, since dispatch judges by the job's status alone.
fn needs_another_owner(metadata: &Metadata<'_>) -> bool {
    let kind = metadata.labels.as_ref().and_then(|labels| labels.kind.as_ref());
    kind.is_some_and(|kind| !kind.as_str().eq_ignore_ascii_case(WORK))
}

fn numbers(metadata: &Metadata<'_>) -> Result<(u32, u16), Unjudged> {
    let labels = metadata.labels.as_ref();
    let shard = labels.and_then(|labels| labels.shard.as_ref()?.as_str().parse().ok());
    let attempt = labels.and_then(|labels| labels.attempt.as_ref()?.as_str().parse().ok());
    let missing = || never("the labels spillway.dev/shard and spillway.dev/attempt must be whole numbers".to_owned());
    shard.zip(attempt).ok_or_else(missing)
}

fn never(sentence: String) -> Unjudged {
    Unjudged::Never(sentence.into())
}
