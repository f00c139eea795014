//! The WorkAssignment of an attempt.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use spillway_core::sealing::{self, Context, CryptoRng, PublicKey};
use spillway_crds::money::{ConversionError, order_of};
use spillway_crds::{
    ASSIGNMENT_FINALIZER, AttemptStatus, GpuProvider, HostFact, InferenceJob, InferenceJobStatus, JobReference,
    SealedPayload, SealedUrls, ShardInput, ShardStatus, SignedOrder, Time, WorkAssignment, WorkAssignmentSpec, names,
};

use super::key::{KeyError, OrderKey};
use super::order::ChainPlace;
use crate::keys;
use crate::pods::{PodError, job_reference, kind_label};
use crate::store::{HubStore, StoreError};

/// A presigned URL outlives the attempt, so that a late upload fails by the order's expiry and not by accident.
const URL_GRACE: Duration = Duration::from_secs(24 * 3600);

/// An attempt to be handed over; the terms are those written in its status.
#[derive(Clone, Copy, Debug)]
pub struct Handover<'a> {
    pub job: &'a InferenceJob,
    pub shard: &'a ShardStatus,
    pub attempt: &'a AttemptStatus,
    /// The provider of the bound node.
    pub provider: &'a GpuProvider,
}

#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Terms(#[from] ConversionError),
    #[error("GpuProvider {0} has no status.sealingKey: its agent never reported")]
    NoSealingKey(String),
    #[error("attempt.node is not set")]
    Unbound,
    #[error("attempt.orderExpiry is not a time: {0}")]
    Expiry(u64),
    #[error(transparent)]
    Job(#[from] PodError),
    #[error("node {0} is not among the provider's hosts any more")]
    HostGone(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("provider's sealing key: {0}")]
    Sealing(#[from] sealing::SealingError),
    #[error("URLs cannot be written as JSON")]
    Urls(#[from] serde_json::Error),
}

/// Signs the order, presigns and seals the URLs, and puts the assignment together; creates nothing.
///
/// Two calls differ in the sealed part alone; the name is the fence. `random` must be `Send` (`StdRng`, not `ThreadRng`).
///
/// # Errors
/// When a term is missing, the host is gone, the store cannot sign, or the provider's key is malformed.
pub async fn build_assignment(
    store: &HubStore,
    place: &ChainPlace,
    key: &OrderKey,
    handover: Handover<'_>,
    now: Timestamp,
    random: &mut (impl CryptoRng + Send),
) -> Result<WorkAssignment, DispatchError> {
    let job = job_reference(handover.job)?;
    let no_status = || ConversionError {
        field: "status",
        message: "is not set yet".to_owned(),
    };
    let status = handover.job.status.as_ref().ok_or_else(no_status)?;
    let order = sign_order(place, key, &job.uid, status, handover.shard.index, handover.attempt)?;
    let not_after = i64::try_from(order.expiry)
        .ok()
        .and_then(|expiry| Timestamp::from_second(expiry).ok());
    let not_after = not_after.ok_or(DispatchError::Expiry(order.expiry))?;
    let urls = presigned(store, &job.uid, handover, not_after, now).await?;
    let sealed = seal(&job, handover, not_after, &urls, random)?;
    let spec = specification(job, handover, order, sealed, store.egress(), not_after)?;
    Ok(WorkAssignment {
        metadata: metadata(&spec, handover.provider),
        spec,
        status: None,
    })
}

/// The order of an attempt whose terms are locked in `status`, signed; the same terms and key give the same bytes.
///
/// # Errors
/// The first term that is missing or malformed.
pub fn sign_order(
    place: &ChainPlace,
    key: &OrderKey,
    job_uid: &str,
    status: &InferenceJobStatus,
    shard: u32,
    attempt: &AttemptStatus,
) -> Result<SignedOrder, DispatchError> {
    let order = order_of(job_uid, status, shard, attempt)?;
    let signature = key.sign(place, &order)?;
    Ok(SignedOrder::new(place.chain_id, place.contract, &order, &signature)?)
}

async fn presigned(
    store: &HubStore,
    job_uid: &str,
    handover: Handover<'_>,
    not_after: Timestamp,
    now: Timestamp,
) -> Result<SealedUrls, StoreError> {
    let (shard, attempt) = (handover.shard.index, handover.attempt.number);
    let left = Duration::try_from(not_after.duration_since(now)).unwrap_or_default();
    let expires_in = left.saturating_add(URL_GRACE);
    let input = store
        .presign_get(&keys::shard_input(job_uid, shard), expires_in)
        .await?;
    let output = store
        .presign_put(&keys::attempt_results(job_uid, shard, attempt), expires_in)
        .await?;
    Ok(SealedUrls {
        input: input.into(),
        output: output.into(),
    })
}

fn seal(
    job: &JobReference,
    handover: Handover<'_>,
    not_after: Timestamp,
    urls: &SealedUrls,
    random: &mut impl CryptoRng,
) -> Result<SealedPayload, DispatchError> {
    let provider = handover.provider.metadata.name.as_deref().unwrap_or_default();
    let status = handover.provider.status.as_ref();
    let key = status.and_then(|status| status.sealing_key.as_deref());
    let key: PublicKey = key
        .ok_or_else(|| DispatchError::NoSealingKey(provider.to_owned()))?
        .parse()?;
    let context = Context {
        job_uid: &job.uid,
        shard: handover.shard.index,
        attempt: handover.attempt.number,
        provider,
        not_after: not_after.as_second(),
    };
    let sealed = sealing::seal(&key, &context, &serde_json::to_vec(urls)?, random)?;
    Ok(SealedPayload {
        encapsulated_key: sealed.encapsulated_key,
        ciphertext: sealed.ciphertext,
    })
}

fn specification(
    job: JobReference,
    handover: Handover<'_>,
    order: SignedOrder,
    sealed: SealedPayload,
    egress: &str,
    not_after: Timestamp,
) -> Result<WorkAssignmentSpec, DispatchError> {
    let Handover {
        job: InferenceJob { spec, .. },
        shard,
        attempt,
        ..
    } = handover;
    let host = host_of(handover)?.name.clone();
    Ok(WorkAssignmentSpec {
        job,
        shard: shard.index,
        attempt: attempt.number,
        kind: attempt.kind,
        host,
        engine: spec.engine.clone(),
        gpus: spec.resources.gpus,
        cpu: spec.resources.cpu.clone(),
        memory: spec.resources.memory.clone(),
        isolation: spec.data.isolation,
        input: ShardInput {
            digest: shard.input_digest.clone(),
            bytes: shard.input_bytes,
            requests: shard.requests,
        },
        order,
        sealed,
        egress: vec![egress.to_owned()],
        not_after: Time(not_after),
    })
}

fn host_of(handover: Handover<'_>) -> Result<&HostFact, DispatchError> {
    let node = handover.attempt.node.as_deref().ok_or(DispatchError::Unbound)?;
    let hosts = handover
        .provider
        .status
        .as_ref()
        .map(|status| status.hosts.as_slice())
        .unwrap_or_default();
    hosts
        .iter()
        .find(|host| host.node == node)
        .ok_or_else(|| DispatchError::HostGone(node.to_owned()))
}

/// No ownerReference: the job lives in another namespace. The finalizer keeps it until the agent answered.
fn metadata(spec: &WorkAssignmentSpec, provider: &GpuProvider) -> ObjectMeta {
    let provider = provider.metadata.name.as_deref().unwrap_or_default();
    let labels = [
        (names::LABEL_JOB_UID, spec.job.uid.clone()),
        (names::LABEL_JOB_NAME, spec.job.name.clone()),
        (names::LABEL_SHARD, spec.shard.to_string()),
        (names::LABEL_ATTEMPT, spec.attempt.to_string()),
        (names::LABEL_KIND, kind_label(spec.kind).to_owned()),
        (names::LABEL_PROVIDER, provider.to_owned()),
    ];
    ObjectMeta {
        name: Some(names::assignment(&spec.job.uid, spec.shard, spec.attempt)),
        namespace: Some(names::provider_namespace(provider)),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        finalizers: Some(vec![ASSIGNMENT_FINALIZER.to_owned()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
