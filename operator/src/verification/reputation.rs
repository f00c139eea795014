//! A provider's counts are not kept, they are counted: one object per verdict lies in the store and outlives its job,
//! so that a repeated or lost write, a restart or a deleted job never counts twice or not at all.

use spillway_crds::ReputationFact;

use crate::keys;
use crate::store::{HubStore, StoreError};

/// Counts of all verdicts over a provider, for `GpuProvider.status.reputation`.
///
/// # Errors
/// `Unavailable`: keep the last known counts.
pub async fn reputation_counts(store: &HubStore, provider: &str) -> Result<ReputationFact, StoreError> {
    let count = async |accepted| store.count(&keys::verdicts_prefix(provider, accepted)).await;
    let (accepted, rejected) = futures::future::try_join(count(true), count(false)).await?;
    Ok(ReputationFact { accepted, rejected })
}
