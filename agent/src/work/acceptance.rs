//! Whether we work under an assignment: a chain of small checks; the first that fails is the answer. Pure.

use jiff::Timestamp;
use spillway_core::order::{Acceptance, Order, OrderRefusal, check, domain};
use spillway_core::sealing::{Context, Sealed, open};
use spillway_crds::money::ConversionError;
use spillway_crds::{HostClaim, Isolation, SealedUrls, WorkAssignmentSpec};

use super::Policy;
use super::objects::egress::{self, Destination};

/// Why not: CamelCase, and words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub reason: &'static str,
    pub message: String,
}

/// What opening and checking brought to light; the only way to it is [`accept`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub urls: SealedUrls,
    pub egress: Vec<Destination>,
    /// The work is ended here: `notAfter`, or the order's expiry when that is earlier.
    pub deadline: Timestamp,
}

/// A host and how many of its GPUs our own pods hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room<'a> {
    pub host: Option<&'a HostClaim>,
    pub used: u32,
}

fn refuse<T>(reason: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        reason,
        message: message.into(),
    })
}

/// # Errors
/// The first failing check.
pub(super) fn accept(
    spec: &WorkAssignmentSpec,
    policy: &Policy,
    room: Room<'_>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let deadline = deadline(spec);
    on_our_chain(spec, policy)?;
    order_holds(spec, policy, now)?;
    not_over(deadline, now)?;
    host_has_room(spec, room)?;
    can_isolate(spec, policy)?;
    let egress = egress::parse(&spec.egress).map_err(|error| Refusal {
        reason: "InvalidEgress",
        message: error.to_string(),
    })?;
    Ok(Accepted {
        urls: open_urls(spec, policy)?,
        egress,
        deadline,
    })
}

/// `notAfter`, or the order's expiry when that is earlier: work after it would not be paid.
pub(super) fn deadline(spec: &WorkAssignmentSpec) -> Timestamp {
    let expiry = i64::try_from(spec.order.expiry)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    expiry.map_or(spec.not_after.0, |expiry| expiry.min(spec.not_after.0))
}

/// The order of an assignment, as the payer's key signed it.
///
/// # Errors
/// Names the malformed field.
pub(super) fn order(spec: &WorkAssignmentSpec) -> Result<Order, ConversionError> {
    spec.order.order(&spec.job.uid, spec.shard, spec.attempt, spec.kind)
}

fn on_our_chain(spec: &WorkAssignmentSpec, policy: &Policy) -> Result<(), Refusal> {
    let terms = &policy.terms;
    let contract = spec.order.contract_address().ok();
    if (spec.order.chain_id, contract) == (terms.chain_id, Some(terms.contract)) {
        return Ok(());
    }
    let theirs = format!("chain {}, contract {}", spec.order.chain_id, spec.order.contract);
    refuse(
        "WrongContract",
        format!(
            "the order is for {theirs}; ours is chain {}, contract {}",
            terms.chain_id, terms.contract
        ),
    )
}

fn order_holds(spec: &WorkAssignmentSpec, policy: &Policy, now: Timestamp) -> Result<(), Refusal> {
    let malformed = |error: ConversionError| Refusal {
        reason: "InvalidOrder",
        message: error.to_string(),
    };
    let order = order(spec).map_err(malformed)?;
    let signature = spec.order.signature_bytes().map_err(malformed)?;
    let terms = &policy.terms;
    let acceptance = Acceptance {
        domain: &domain(terms.chain_id, terms.contract),
        signers: &terms.order_signers,
        payout: terms.payout.unwrap_or(order.provider),
        price: policy.price,
        job_uid: &spec.job.uid,
        shard: spec.shard,
        attempt: spec.attempt,
        kind: spec.kind.into(),
        now: u64::try_from(now.as_second()).unwrap_or_default(),
    };
    check(&order, &signature, &acceptance).map_err(order_refusal)
}

fn order_refusal(refusal: OrderRefusal) -> Refusal {
    let reason = match refusal.field {
        "unitPrice" => "PriceTooLow",
        "expiry" => "OrderExpired",
        "signature" => "UntrustedOrder",
        "provider" => "WrongPayout",
        _ => "InvalidOrder",
    };
    Refusal {
        reason,
        message: refusal.to_string(),
    }
}

fn not_over(deadline: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if deadline > now {
        Ok(())
    } else {
        refuse("Expired", format!("notAfter was {deadline}"))
    }
}

fn host_has_room(spec: &WorkAssignmentSpec, room: Room<'_>) -> Result<(), Refusal> {
    if spec.gpus == 0 {
        return refuse("NoGpu", "gpus is 0: every attempt takes at least one");
    }
    let Some(host) = room.host else {
        return refuse("UnknownHost", format!("this cluster has no GPU host {}", spec.host));
    };
    let free = host.gpus.saturating_sub(room.used);
    if free >= spec.gpus {
        return Ok(());
    }
    refuse(
        "NoCapacity",
        format!(
            "host {} has {free} of {} GPUs free, {} are asked for",
            host.name, host.gpus, spec.gpus
        ),
    )
}

fn can_isolate(spec: &WorkAssignmentSpec, policy: &Policy) -> Result<(), Refusal> {
    let runtime = policy.pods.isolation.as_ref();
    let offered = runtime.map_or(Isolation::Standard, |runtime| runtime.tier);
    if spec.isolation <= offered {
        return Ok(());
    }
    refuse(
        "IsolationUnavailable",
        format!(
            "tier {:?} is asked for, this cluster gives {offered:?}: set isolation.runtimeClassName of the provider chart",
            spec.isolation
        ),
    )
}

fn open_urls(spec: &WorkAssignmentSpec, policy: &Policy) -> Result<SealedUrls, Refusal> {
    let context = Context {
        job_uid: &spec.job.uid,
        shard: spec.shard,
        attempt: spec.attempt,
        provider: &policy.terms.provider,
        not_after: spec.not_after.0.as_second(),
    };
    let sealed = Sealed {
        encapsulated_key: spec.sealed.encapsulated_key.clone(),
        ciphertext: spec.sealed.ciphertext.clone(),
    };
    let clear = open(policy.keys.sealing(), &context, &sealed).map_err(|error| Refusal {
        reason: "CannotOpen",
        message: format!("sealed: {error}"),
    })?;
    // serde's message could quote the clear text.
    let urls: SealedUrls = serde_json::from_slice(&clear).map_err(|_| Refusal {
        reason: "CannotOpen",
        message: "sealed: the clear text is not the JSON of an input and an output URL".to_owned(),
    })?;
    let is_http = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    if is_http(&urls.input) && is_http(&urls.output) {
        return Ok(urls);
    }
    refuse("CannotOpen", "sealed: both URLs must start with https:// or http://")
}
