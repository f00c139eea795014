//! Do two providers' results of one shard agree?

use super::RESULTS_LIMIT;
use crate::keys;
use crate::store::{HubStore, StoreError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// `method` is `ExactDigest` or `Tolerance`.
    Accepted { method: String },
    /// A fact: the two differ, first at this request.
    Mismatch { custom_id: String, message: String },
    /// The store cannot be asked now.
    Unknown,
}

/// Compares the stored results of two attempts of a shard; both must have been examined as valid before.
pub async fn compare(store: &HubStore, job_uid: &str, shard: u32, work: u16, check: u16) -> Compared {
    let fetch = async |attempt| store.get(&keys::attempt_results(job_uid, shard, attempt), RESULTS_LIMIT).await;
    match futures::future::try_join(fetch(work), fetch(check)).await {
        Ok((work, check)) => judge(&work, &check),
        Err(error @ (StoreError::NotFound { .. } | StoreError::TooLarge { .. })) => {
            Compared::Mismatch { custom_id: String::new(), message: error.to_string() }
        }
        Err(error) => {
            tracing::warn!(job_uid, shard, %error, "results cannot be compared now");
            Compared::Unknown
        }
    }
}

fn judge(work: &[u8], check: &[u8]) -> Compared {
    if work == check {
        return Compared::Accepted { method: "ExactDigest".to_owned() };
    }
    Compared::Unknown
}
