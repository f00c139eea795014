//! InferenceJobs: observe → plan → apply → status. The one writer of InferenceJob.status.
//!
//! In: a job and everything that bears on it ([`observed`]). Out: the plan of a pure planner ([`plan`]), carried out by
//! `apply`. Plans are made one at a time: each sees what the others promised. A job that the watch shows older than our
//! own last write is not planned; the status is written with the version that was planned on, before anything else.

mod answers;
mod apply;
mod caches;
mod held;
mod made_pods;
pub mod market;
mod observe;
pub mod observed;
pub mod plan;
mod progress;
mod projections;
mod promises;
mod reservations;
mod wants;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use kube::runtime::controller::{Action, Config, applier};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use spillway_crds::market::SpecError;
use spillway_crds::{DataClass, InferenceJob, is_status_condition_true, job_condition, names};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::accrual::{AccrualError, SealedAttempts};
use crate::dispatch::{ChainPlace, DispatchError, KeyError, forged};
use crate::pods::PodError;
use crate::store::{HubStore, StoreError};
use crate::verification::RecordError;
use answers::Answers;
use caches::{Caches, Hint, watch_all};
use progress::Progress;
use promises::Promises;
use reservations::Reservations;

/// Jobs reconciled at the same time; most of them wait for the API server.
const CONCURRENCY: u16 = 64;
/// Requests that make or end attempts, over all jobs, on their way at the same time.
const WRITES_AT_ONCE: usize = 16;
/// Results objects held in memory at the same time.
const RESULTS_AT_ONCE: usize = 2;
/// A change that may bear on every job is passed on this often at most.
const ALL_JOBS_INTERVAL: Duration = Duration::from_secs(1);

/// What the job controller is told from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace: order-signing keys and Settlements.
    pub namespace: String,
    /// Image of splitter and publisher pods.
    pub runner_image: String,
    pub place: ChainPlace,
    /// Least strict data class of jobs.
    pub default_data_class: DataClass,
    /// Shared with the accrual.
    pub sealed: Arc<SealedAttempts>,
}

struct Context {
    client: Client,
    namespace: String,
    runner_image: String,
    place: ChainPlace,
    default_data_class: DataClass,
    store: HubStore,
    caches: Caches,
    answers: Answers,
    reservations: Reservations,
    sealed: Arc<SealedAttempts>,
    recorder: Recorder,
    promises: Promises,
    progress: Progress,
    writing: Semaphore,
    reading: Semaphore,
}

#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    /// Not a fault: the world moved on while we planned.
    #[error("the picture was outdated")]
    Outdated,
    #[error("SpendPolicy {0} does not exist: its key is needed to sign")]
    NoSpendPolicy(String),
    #[error("pod {0} exists and is not this job's")]
    NameTaken(String),
    #[error("attempt {shard}/{attempt} is in the plan and not in the status")]
    Unplanned { shard: u32, attempt: u16 },
    #[error("{0} is not what was accepted")]
    Altered(String),
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pod(#[from] PodError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Split(#[from] spillway_core::shard::SplitError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Sealed(#[from] AccrualError),
}

/// Runs until cancelled, the watch for pods that nobody asked for beside it.
///
/// # Errors
/// When the caches or the queue end by themselves.
pub async fn run(
    client: Client,
    settings: Settings,
    store: HubStore,
    cancelled: CancellationToken,
) -> anyhow::Result<()> {
    let (hints, hinted) = unbounded();
    let (caches, watching) = watch_all(&client, &settings.namespace, &hints);
    let reporter = Reporter {
        controller: names::OPERATOR_FIELD_MANAGER.to_owned(),
        instance: None,
    };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        namespace: settings.namespace,
        runner_image: settings.runner_image,
        place: settings.place,
        default_data_class: settings.default_data_class,
        store,
        caches,
        answers: Answers::default(),
        reservations: Reservations::default(),
        sealed: settings.sealed,
        promises: Promises::default(),
        progress: Progress::default(),
        writing: Semaphore::new(WRITES_AT_ONCE),
        reading: Semaphore::new(RESULTS_AT_ONCE),
    });
    let jobs = context.caches.jobs.clone();
    tokio::select! {
        () = cancelled.cancelled() => Ok(()),
        () = watching => anyhow::bail!("the watches ended"),
        result = forged::run(context.client.clone(), jobs, cancelled.clone()) => result,
        result = reconcile_all(context, hinted) => result,
    }
}

async fn reconcile_all(context: Arc<Context>, hinted: UnboundedReceiver<Hint>) -> anyhow::Result<()> {
    context.caches.ready().await?;
    let jobs = context.caches.jobs.clone();
    let queue = queue(context.clone(), hinted).map(Ok::<_, Infallible>);
    // Bursts are looked at together because a job rests after each pass.
    let config = Config::default().concurrency(CONCURRENCY);
    let reconciled = applier(
        |job, context| reconcile(job, context).boxed(),
        on_error,
        context,
        jobs,
        queue,
        config,
    );
    reconciled
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconcile");
            }
        })
        .await;
    anyhow::bail!("the queue of jobs ended")
}

/// One job at a time as hinted; all of them together once per interval.
fn queue(context: Arc<Context>, hinted: UnboundedReceiver<Hint>) -> impl Stream<Item = ObjectRef<InferenceJob>> {
    let ticks = tokio::time::interval(ALL_JOBS_INTERVAL);
    futures::stream::unfold(
        (context, hinted, ticks, false),
        |(context, mut hinted, mut ticks, mut all)| async move {
            loop {
                tokio::select! {
                    hint = hinted.next() => match hint? {
                        Hint::Job(job) => return Some((vec![job], (context, hinted, ticks, all))),
                        Hint::AllJobs => all = true,
                    },
                    _ = ticks.tick(), if all => {
                        let jobs = context.caches.jobs.state();
                        context.progress.retain(&jobs.iter().filter_map(|job| job.uid()).collect());
                        return Some((unsettled(&jobs), (context, hinted, ticks, false)));
                    }
                }
            }
        },
    )
    .flat_map(futures::stream::iter)
}

/// Jobs whose story goes on; one that is to be deleted a while after its end is among them.
fn unsettled(jobs: &[Arc<InferenceJob>]) -> Vec<ObjectRef<InferenceJob>> {
    let ends =
        |job: &InferenceJob| job.metadata.deletion_timestamp.is_some() || job.spec.ttl_seconds_after_finished.is_some();
    let open = |job: &Arc<InferenceJob>| !is_true(job, job_condition::SETTLED) || ends(job);
    jobs.iter()
        .filter(|job| open(job))
        .map(|job| ObjectRef::from_obj(&**job))
        .collect()
}

fn is_true(job: &InferenceJob, type_: &str) -> bool {
    let status = job.status.as_ref();
    status.is_some_and(|status| is_status_condition_true(&status.conditions, type_))
}

async fn reconcile(job: Arc<InferenceJob>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let uid = job.uid().unwrap_or_default();
    if let Some(rest) = context.progress.rests_for(&uid) {
        return Ok(Action::requeue(rest));
    }
    let requeue_after = pass(&context, &job).await?;
    context.answers.succeeded(&uid);
    Ok(Action::requeue(requeue_after))
}

async fn pass(context: &Context, job: &InferenceJob) -> Result<Duration, ReconcileError> {
    if context.progress.is_behind(job) {
        return Err(ReconcileError::Outdated);
    }
    let planned = plan_over(context, job).await?;
    if is_at_rest(job, &planned) {
        context.reservations.release(job);
        return Ok(planned.requeue_after);
    }
    let (uid, requeue_after) = (job.uid().unwrap_or_default(), planned.requeue_after);
    let before = context.progress.written(&uid);
    let applied = apply::apply(context, job, planned).await;
    let written = context
        .progress
        .written(&uid)
        .filter(|_| context.progress.written(&uid) != before);
    context.promises.lock().settle(&uid, written);
    Ok(applied?.map_or(requeue_after, |sooner| sooner.min(requeue_after)))
}

/// One plan at a time, so that no two promise the same GPU.
async fn plan_over(context: &Context, job: &InferenceJob) -> Result<plan::JobPlan, ReconcileError> {
    let mut observed = observe::observe(context, job).await?;
    let mut promises = context.promises.lock();
    let (jobs, uid) = (context.caches.jobs.state(), job.uid().unwrap_or_default());
    let (market, class) = (&observed.offers, observed.default_data_class);
    let mut promised = promises.by_others(&uid, &jobs, market, &context.caches.held, class);
    promises.keep_for_others(&uid, market, &mut promised);
    observed.promised = promised;
    let planned = plan::plan(&observed, Timestamp::now());
    if !is_at_rest(job, &planned) {
        promises.plan(job, &planned.status);
    }
    Ok(planned)
}

fn is_at_rest(job: &InferenceJob, planned: &plan::JobPlan) -> bool {
    planned.actions.is_empty() && job.status.as_ref() == Some(&planned.status)
}

/// Outdated pictures are looked at again soon; faults with longer and longer waits, up to a minute.
fn on_error(job: Arc<InferenceJob>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let name = job.name_any();
    if matches!(error, ReconcileError::Outdated) {
        tracing::debug!(job = name, "the picture was outdated");
        return Action::requeue(Duration::from_millis(500));
    }
    let failures = context.answers.failed_again(&job.uid().unwrap_or_default());
    let wait = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(Duration::from_secs(60));
    tracing::warn!(namespace = job.namespace(), job = name, %error, failures, ?wait, "job not reconciled");
    Action::requeue(wait)
}

#[cfg(test)]
mod tests;
