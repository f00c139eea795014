//! From the runner's report to a signed receipt: pure (the signature is deterministic).

use std::time::Duration;

use spillway_core::order::domain;
use spillway_core::receipt::{Receipt as Terms, parse_digest};
use spillway_core::shard::WorkReport;
use spillway_crds::money::format_bytes;
use spillway_crds::{Receipt, WorkAssignmentSpec};

use super::acceptance::order;
use super::outcome::Trouble;
use crate::bundle;
use crate::keys::Keys;

fn trouble<T>(reason: &str, message: String) -> Result<T, Trouble> {
    Err(Trouble {
        reason: reason.to_owned(),
        message,
    })
}

fn gpu_millis(time: Duration, gpus: u32) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    millis.saturating_mul(u64::from(gpus))
}

/// Holds the report against the assignment and signs it. `start` is the paid time that an elastic host took to appear.
///
/// # Errors
/// Why no receipt can be given: the attempt has failed then.
pub(super) fn sign(
    spec: &WorkAssignmentSpec,
    report: &WorkReport,
    start: Duration,
    terms: &bundle::Terms,
    keys: &Keys,
) -> Result<Receipt, Trouble> {
    let WorkReport::Completed {
        input_digest,
        output_digest,
        output_bytes,
        requests,
        failed_requests,
        started_unix,
        finished_unix,
        metered_millis,
        prompt_tokens,
        completion_tokens,
    } = report
    else {
        return trouble("WorkFailed", "the runner reported a failure".to_owned());
    };
    let metered_millis = metered_millis.saturating_add(gpu_millis(start, spec.gpus));
    if *input_digest != spec.input.digest {
        return trouble(
            "InputMismatch",
            format!("the runner read {input_digest}, the order is for {}", spec.input.digest),
        );
    }
    let (Ok(order), Some(input), Some(output)) = (order(spec), parse_digest(input_digest), parse_digest(output_digest))
    else {
        return trouble(
            "InvalidReport",
            "a digest of the runner's report is not sha256:<64 hex digits>".to_owned(),
        );
    };
    let receipt = Terms {
        order: order.hash(),
        inputDigest: input,
        outputDigest: output,
        started: *started_unix,
        finished: *finished_unix,
        meteredMillis: metered_millis,
        promptTokens: *prompt_tokens,
        completionTokens: *completion_tokens,
    };
    let signature = match keys.sign(receipt.signing_hash(&domain(terms.chain_id, terms.contract))) {
        Ok(signature) => format_bytes(signature),
        Err(error) => return trouble("CannotSign", error.to_string()),
    };
    Ok(Receipt {
        input_digest: input_digest.clone(),
        output_digest: output_digest.clone(),
        output_bytes: *output_bytes,
        requests: *requests,
        failed_requests: *failed_requests,
        started: *started_unix,
        finished: *finished_unix,
        metered_millis,
        prompt_tokens: *prompt_tokens,
        completion_tokens: *completion_tokens,
        signature,
    })
}
