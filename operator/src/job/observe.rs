//! Gathers what bears on one job: watch caches first, the hub store only for open questions.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use spillway_core::knowledge::Knowledge;
use spillway_core::shard::{PublishedReport, ShardManifest, WorkReport};
use spillway_crds::{
    AttemptStatus, GpuProvider, InferenceJob, SettlementState, find_status_condition, job_condition, names,
    provider_condition,
};

use super::observed::{
    AssignmentFact, AttemptKey, Observed, PodFact, ProviderFact, RunnerPod, RunnerPods, SettlementFact,
};
use super::plan::{JOB_FINALIZER, awaits_publishing, questions, utc_date};
use super::projections::{SlimAssignment, SlimPod, is_controlled_by};
use super::{Context, ReconcileError, is_true};
use crate::keys;
use crate::pods::{attempt_pod, publish_name, same_attempt_pod, split_name};
use crate::store::StoreError;
use crate::verification::{Compared, Examination, Examined, compare, examine};

/// A manifest of 256 shards has about 40 KiB.
const MANIFEST_LIMIT: u64 = 1 << 20;
const REPORT_LIMIT: u64 = 64 << 10;
/// Reason of a provider's condition Ready that says that its attempts are lost.
const SILENT: &str = "HeartbeatSilent";

pub(super) async fn observe(context: &Context, job: &InferenceJob) -> Result<Observed, ReconcileError> {
    let status = job.status.clone().unwrap_or_default();
    let is_over = is_over(job);
    // In this order: an assignment that the market counts is among the assignments.
    let offers = context.caches.market();
    let assignments = context.caches.assignments.state();
    let examined = examine_open(context, job).await;
    Ok(Observed {
        policies: context
            .caches
            .policies
            .state()
            .iter()
            .map(|policy| (**policy).clone())
            .collect(),
        default_data_class: context.default_data_class,
        spent_today: if is_over {
            BTreeMap::new()
        } else {
            let jobs = context.caches.jobs.state();
            let jobs = jobs.iter().map(std::convert::AsRef::as_ref);
            context
                .reservations
                .spent_by_others(job, jobs, utc_date(Timestamp::now()))
        },
        offers: if is_over { Arc::default() } else { offers },
        promised: Vec::new(),
        providers: providers(context),
        pods: attempt_pods(context, job).await?,
        assignments: own_assignments(job, &assignments),
        splitter: runner_pods(context, job, split_name),
        publisher: runner_pods(context, job, publish_name),
        manifest: if status.shards.is_empty() && !is_over {
            manifest(context, job).await
        } else {
            Knowledge::Unknown
        },
        published: if awaits_publishing(&status) && !is_let_go(job) {
            report(context, job).await
        } else {
            Knowledge::Unknown
        },
        compared: compare_open(context, job, &examined).await,
        examined,
        settlements: settlements(context, job).await?,
        job: job.clone(),
    })
}

/// Nothing new is started for it: market and manifest are of no interest.
fn is_over(job: &InferenceJob) -> bool {
    let ended = is_true(job, job_condition::COMPLETE) || is_true(job, job_condition::FAILED);
    ended || is_let_go(job)
}

/// On its way out, or not ours yet.
fn is_let_go(job: &InferenceJob) -> bool {
    let mut finalizers = job.metadata.finalizers.iter().flatten();
    job.metadata.deletion_timestamp.is_some() || !finalizers.any(|finalizer| finalizer == JOB_FINALIZER)
}

fn uid(job: &InferenceJob) -> &str {
    job.metadata.uid.as_deref().unwrap_or_default()
}

fn providers(context: &Context) -> BTreeMap<String, ProviderFact> {
    let fact = |provider: &GpuProvider| ProviderFact {
        payout_address: provider.spec.payout_address.clone(),
        offer_revision: provider
            .status
            .as_ref()
            .map(|status| status.offer_revision)
            .unwrap_or_default(),
        silent: is_lost(provider),
    };
    context
        .caches
        .providers
        .state()
        .iter()
        .map(|provider| (provider.name_any(), fact(provider)))
        .collect()
}

/// Declared silent, or on its way out.
fn is_lost(provider: &GpuProvider) -> bool {
    let conditions = provider.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = find_status_condition(conditions.unwrap_or_default(), provider_condition::READY);
    let silent = ready.is_some_and(|ready| ready.status == "False" && ready.reason == SILENT);
    silent || provider.metadata.deletion_timestamp.is_some()
}

fn own_assignments(job: &InferenceJob, all: &[Arc<SlimAssignment>]) -> BTreeMap<AttemptKey, AssignmentFact> {
    let own = all.iter().filter(|assignment| assignment.spec.job.uid == uid(job));
    own.filter_map(|assignment| {
        Some((
            (assignment.spec.shard, assignment.spec.attempt),
            assignment_fact(assignment)?,
        ))
    })
    .collect()
}

fn assignment_fact(assignment: &SlimAssignment) -> Option<AssignmentFact> {
    let namespace = assignment.namespace()?;
    let provider = namespace.strip_prefix(names::PROVIDER_NAMESPACE_PREFIX)?.to_owned();
    Some(AssignmentFact {
        name: assignment.name_any(),
        uid: assignment.uid()?,
        provider,
        status: assignment.status.clone(),
        not_after: assignment.spec.not_after.clone(),
        deleting: assignment.metadata.deletion_timestamp.is_some(),
        namespace,
    })
}

/// Pods under the names of this job's attempts.
async fn attempt_pods(context: &Context, job: &InferenceJob) -> Result<BTreeMap<String, PodFact>, ReconcileError> {
    let mut pods = BTreeMap::new();
    let namespace = job.namespace().unwrap_or_default();
    for shard in job.status.iter().flat_map(|status| &status.shards) {
        for attempt in &shard.attempts {
            let name = names::attempt_pod(&job.name_any(), shard.index, attempt.number);
            if let Some(pod) = context.caches.pod(&namespace, &name) {
                let ours = is_ours(context, job, shard.index, attempt, &pod).await?;
                pods.insert(name, pod_fact(&pod, ours));
            } else if let Some(made) = context.caches.made.get(&namespace, &name) {
                pods.insert(name, made);
            } else if let Some(stranger) = context.answers.stranger(&namespace, &name) {
                pods.insert(name, stranger);
            }
        }
    }
    Ok(pods)
}

fn pod_fact(pod: &SlimPod, ours: bool) -> PodFact {
    PodFact {
        uid: pod.uid().unwrap_or_default(),
        resource_version: pod.resource_version().unwrap_or_default(),
        ours,
        node: pod.spec.node_name.clone(),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        phase: pod.status.phase.clone(),
    }
}

/// A pod that we made, or adopted, is known by its UID; another is compared once with the one that we would make.
async fn is_ours(
    context: &Context,
    job: &InferenceJob,
    shard: u32,
    attempt: &AttemptStatus,
    pod: &SlimPod,
) -> Result<bool, ReconcileError> {
    let pod_uid = pod.uid().unwrap_or_default();
    if let Some(known) = &attempt.pod_uid {
        return Ok(*known == pod_uid);
    }
    if !is_controlled_by(&pod.metadata, uid(job)) {
        return Ok(false);
    }
    if let Some(known) = context.answers.is_our_pod(&pod_uid) {
        return Ok(known);
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default());
    let Some(found) = api.get_opt(&pod.name_any()).await? else {
        return Ok(false);
    };
    let ours = same_attempt_pod(&attempt_pod(job, shard, attempt)?, &found);
    context.answers.remember_pod(&pod_uid, ours);
    Ok(ours)
}

fn runner_pods(context: &Context, job: &InferenceJob, name: fn(&str) -> String) -> RunnerPods {
    let pod = context
        .caches
        .pod(&job.namespace().unwrap_or_default(), &name(&job.name_any()));
    RunnerPods {
        pod: pod.map(|pod| RunnerPod {
            uid: pod.uid().unwrap_or_default(),
            phase: pod.status.phase.clone(),
            message: pod
                .termination()
                .and_then(|ended| ended.message.clone())
                .filter(|message| !message.is_empty())
                .map(readable),
            finished_at: pod.termination().and_then(|ended| ended.finished_at.clone()),
            ours: is_controlled_by(&pod.metadata, uid(job)),
            deleting: pod.metadata.deletion_timestamp.is_some(),
        }),
    }
}

/// What the runner's report says, or the text as it is: whoever owns the pod may write anything there.
fn readable(termination: String) -> String {
    match serde_json::from_str(&termination) {
        Ok(WorkReport::Failed { message }) => message,
        _ => termination,
    }
}

async fn manifest(context: &Context, job: &InferenceJob) -> Knowledge<Option<Result<ShardManifest, String>>> {
    match context.store.get(&keys::manifest(uid(job)), MANIFEST_LIMIT).await {
        Ok(bytes) => Knowledge::Known(Some(ShardManifest::parse(&bytes).map_err(|error| error.to_string()))),
        Err(error) => absent_or_unknown(&error),
    }
}

async fn report(context: &Context, job: &InferenceJob) -> Knowledge<Option<Result<PublishedReport, String>>> {
    match context.store.get(&keys::published(uid(job)), REPORT_LIMIT).await {
        Ok(bytes) => Knowledge::Known(Some(serde_json::from_slice(&bytes).map_err(|error| error.to_string()))),
        Err(error) => absent_or_unknown(&error),
    }
}

fn absent_or_unknown<T>(error: &StoreError) -> Knowledge<Option<Result<T, String>>> {
    match error {
        StoreError::NotFound { .. } => Knowledge::Known(None),
        StoreError::TooLarge { .. } => Knowledge::Known(Some(Err(error.to_string()))),
        _ => {
            tracing::warn!(%error, "the hub store cannot be asked");
            Knowledge::Unknown
        }
    }
}

/// Examines runs that wait for a verdict. Answers are kept: they are facts about objects that do not change any more.
async fn examine_open(context: &Context, job: &InferenceJob) -> BTreeMap<AttemptKey, Examined> {
    let mut answers = BTreeMap::new();
    for key in questions(job).examine {
        if let Some(answer) = examine_one(context, job, key).await {
            answers.insert(key, answer);
        }
    }
    answers
}

async fn examine_one(context: &Context, job: &InferenceJob, key: AttemptKey) -> Option<Examined> {
    if let Some(known) = context.answers.examined(uid(job), key) {
        return Some(known);
    }
    let status = job.status.as_ref()?;
    let shard = status.shards.iter().find(|shard| shard.index == key.0)?;
    let attempt = shard.attempts.iter().find(|attempt| attempt.number == key.1)?;
    let provider = context
        .caches
        .providers
        .get(&ObjectRef::new(attempt.provider.as_deref()?));
    let receipt_signer = provider
        .as_ref()
        .and_then(|provider| provider.status.as_ref()?.receipt_signer.as_deref());
    let _reading = context.reading.acquire().await.ok()?;
    let gpus = job.spec.resources.gpus;
    let examination = Examination {
        job_uid: uid(job),
        status,
        gpus,
        shard,
        attempt,
        receipt_signer,
    };
    let answer = examine(&context.store, &context.place, examination).await;
    context.answers.remember_examined(uid(job), key, &answer);
    Some(answer)
}

async fn compare_open(
    context: &Context,
    job: &InferenceJob,
    examined: &BTreeMap<AttemptKey, Examined>,
) -> BTreeMap<(u32, u16, u16), Compared> {
    let is_valid = |shard: u32, number: u16| matches!(examined.get(&(shard, number)), Some(Examined::Valid { .. }));
    let mut answers = BTreeMap::new();
    for key @ (shard, one, other) in questions(job).compare {
        if is_valid(shard, one) && is_valid(shard, other) {
            answers.insert(key, compare_one(context, job, key).await);
        }
    }
    answers
}

async fn compare_one(context: &Context, job: &InferenceJob, key: (u32, u16, u16)) -> Compared {
    if let Some(known) = context.answers.compared(uid(job), key) {
        return known;
    }
    let Ok(_reading) = context.reading.acquire().await else {
        return Compared::Unknown;
    };
    let answer = compare(&context.store, uid(job), key.0, key.1, key.2).await;
    context.answers.remember_compared(uid(job), key, &answer);
    answer
}

/// Settlements that may pay this job: those not recorded yet, and those that its status names.
async fn settlements(context: &Context, job: &InferenceJob) -> Result<Vec<SettlementFact>, ReconcileError> {
    let named = job
        .status
        .as_ref()
        .map(|status| status.settlements.clone())
        .unwrap_or_default();
    let mut facts = Vec::new();
    for settlement in context.caches.settlements.state() {
        let sequence = settlement.spec.sequence;
        let status = settlement.status.clone().unwrap_or_default();
        let pays = if status.recorded {
            BTreeMap::new()
        } else {
            context.sealed.of_job(&context.store, &settlement, uid(job)).await?
        };
        if named.contains(&sequence) || !pays.is_empty() {
            facts.push(SettlementFact {
                sequence,
                is_final: status.state == SettlementState::Final,
                pays,
            });
        }
    }
    facts.sort_by_key(|fact| fact.sequence);
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_report_is_told_in_its_own_words() {
        let report = r#"{"outcome":"failed","message":"line 2 of the input is not a request"}"#;
        assert_eq!(readable(report.to_owned()), "line 2 of the input is not a request");
        assert_eq!(readable("killed".to_owned()), "killed");
    }
}
