//! Is a reported receipt valid, and what is it worth?

use alloy_primitives::Address;
use spillway_core::receipt::{self, Evidence, Rejection, parse_digest};
use spillway_core::shard::digest;
use spillway_crds::money::{ConversionError, order_of};
use spillway_crds::{AttemptStatus, InferenceJobStatus, Receipt, ShardStatus, Time, Usage};

use super::RESULTS_LIMIT;
use crate::dispatch::ChainPlace;
use crate::keys;
use crate::store::{HubStore, StoreError};

/// An attempt in state Completed, and what the hub knows about it by itself.
#[derive(Clone, Copy, Debug)]
pub struct Examination<'a> {
    pub job_uid: &'a str,
    pub status: &'a InferenceJobStatus,
    pub gpus: u32,
    pub shard: &'a ShardStatus,
    /// With `assigned_at` and `finished_at` by the hub's clock.
    pub attempt: &'a AttemptStatus,
    /// Receipt key pinned for the provider; `None` while it is not known.
    pub receipt_signer: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examined {
    /// `gpu_millis` is what is billed if the result is accepted: min(runner's meter, wall time that the hub saw, what
    /// the order's bound pays for).
    Valid { gpu_millis: u64, usage: Usage },
    /// A fact: this receipt is never paid.
    Invalid { reason: String, message: String },
    /// The store or the provider's key cannot be asked now.
    Unknown,
}

/// Holds the receipt of a completed attempt against order, input, times, key, and the results object in the hub store.
pub async fn examine(store: &HubStore, place: &ChainPlace, examination: Examination<'_>) -> Examined {
    let Examination {
        job_uid,
        shard,
        attempt,
        ..
    } = examination;
    let results = store
        .get(
            &keys::attempt_results(job_uid, shard.index, attempt.number),
            RESULTS_LIMIT,
        )
        .await;
    let results = match results {
        Ok(results) => StoredResults {
            digest: digest(&results),
            bytes: results.len() as u64,
        },
        Err(error @ StoreError::NotFound { .. }) => return invalid("ResultsMissing", error.to_string()),
        Err(error @ StoreError::TooLarge { .. }) => return invalid("ResultsTooLarge", error.to_string()),
        Err(error) => return unknown(job_uid, shard.index, &error.to_string()),
    };
    judge(place, examination, &results)
}

/// The results object as it lies in the hub store.
#[derive(Clone, Debug)]
struct StoredResults {
    digest: String,
    bytes: u64,
}

fn invalid(reason: &str, message: String) -> Examined {
    Examined::Invalid {
        reason: reason.to_owned(),
        message,
    }
}

fn unknown(job_uid: &str, shard: u32, why: &str) -> Examined {
    tracing::warn!(job_uid, shard, why, "a receipt cannot be examined now");
    Examined::Unknown
}

fn judge(place: &ChainPlace, examination: Examination<'_>, results: &StoredResults) -> Examined {
    let Some(signer) = examination.receipt_signer.and_then(|text| text.parse().ok()) else {
        return unknown(
            examination.job_uid,
            examination.shard.index,
            "the provider's receipt key is not known",
        );
    };
    let Some(claimed) = examination.attempt.receipt.as_ref() else {
        return invalid("ReceiptMissing", "the attempt completed without a receipt".to_owned());
    };
    let checked = counts(claimed, examination.shard, results)
        .and_then(|()| check_receipt(place, examination, signer, claimed, results));
    match checked {
        Ok(accepted) => Examined::Valid {
            gpu_millis: accepted.billed_millis,
            usage: Usage {
                requests: claimed.requests,
                failed_requests: claimed.failed_requests,
                prompt_tokens: claimed.prompt_tokens,
                completion_tokens: claimed.completion_tokens,
                gpu_millis: accepted.billed_millis,
            },
        },
        Err(Rejection { field, message }) => invalid("InvalidReceipt", format!("{field}: {message}")),
    }
}

/// The counts are not part of what is signed, so they are held against what the hub can count itself.
fn counts(claimed: &Receipt, shard: &ShardStatus, results: &StoredResults) -> Result<(), Rejection> {
    let reject = |field, message| Err(Rejection { field, message });
    if claimed.requests != u64::from(shard.requests) {
        return reject(
            "receipt.requests",
            format!("is {}, the shard has {}", claimed.requests, shard.requests),
        );
    }
    if claimed.failed_requests > claimed.requests {
        return reject(
            "receipt.failedRequests",
            format!("is {} of {}", claimed.failed_requests, claimed.requests),
        );
    }
    if claimed.output_bytes != results.bytes {
        return reject(
            "receipt.outputBytes",
            format!("is {}, stored are {}", claimed.output_bytes, results.bytes),
        );
    }
    Ok(())
}

fn check_receipt(
    place: &ChainPlace,
    examination: Examination<'_>,
    signer: Address,
    claimed: &Receipt,
    results: &StoredResults,
) -> Result<receipt::Accepted, Rejection> {
    let Examination {
        job_uid,
        status,
        gpus,
        shard,
        attempt,
        ..
    } = examination;
    let malformed = |ConversionError { field, message }| Rejection { field, message };
    let order = order_of(job_uid, status, shard.index, attempt).map_err(malformed)?;
    let receipt = claimed.signed_part(order.hash()).map_err(malformed)?;
    let signature = claimed.signature_bytes().map_err(malformed)?;
    let missing = |field| {
        move || Rejection {
            field,
            message: "is missing or malformed".to_owned(),
        }
    };
    let evidence = Evidence {
        domain: &place.domain(),
        order: &order,
        signer,
        input_digest: parse_digest(&shard.input_digest).ok_or_else(missing("shard.inputDigest"))?,
        output_digest: parse_digest(&results.digest).ok_or_else(missing("results digest"))?,
        gpus,
        assigned_at: seconds(attempt.assigned_at.as_ref()).ok_or_else(missing("attempt.assignedAt"))?,
        completed_at: seconds(attempt.finished_at.as_ref()).ok_or_else(missing("attempt.finishedAt"))?,
    };
    receipt::check(&receipt, &signature, &evidence)
}

fn seconds(time: Option<&Time>) -> Option<u64> {
    time.and_then(|time| u64::try_from(time.0.as_second()).ok())
}

#[cfg(test)]
pub(crate) mod tests;
