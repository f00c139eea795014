//! Sending: the same bytes to every endpoint at once. What they answer is a hint, the contract's state is the truth.

use alloy::primitives::{B256, Bytes, hex, keccak256};
use alloy::providers::{DynProvider, Provider};
use futures::future::join_all;
use spillway_core::knowledge::Knowledge;

use super::endpoint::{Trust, lock};
use super::limiter::Urgency;
use super::{AskError, Chain, Inclusion};

/// Why an endpoint refused a transaction, as far as its words can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The nonce is used: an earlier copy was mined, or the key is used elsewhere. The contract's state tells.
    NonceTooLow,
    /// The pool holds another transaction at this nonce, with higher fees.
    Underpriced,
    InsufficientFunds,
    /// The pool holds transactions of another kind (blobs) of this key.
    AddressReserved,
    Other,
}

/// What became of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// At least one endpoint has it.
    Taken,
    /// No endpoint took it and not all said no: it may be out there.
    Unknown,
    /// Every endpoint that was asked refused it.
    Refused(Refusal, String),
}

impl Chain {
    pub async fn send(&self, raw: &Bytes) -> Sent {
        let asked = self
            .endpoints
            .iter()
            .filter(|endpoint| !matches!(endpoint.trust(), Trust::Misfit { .. }));
        let outcomes = asked.map(async |endpoint| {
            let answer = endpoint.ask(Urgency::Send, |provider| send_to(provider, raw)).await;
            let outcome = outcome(answer);
            tracing::debug!(endpoint = endpoint.index, ?outcome, "sent");
            outcome
        });
        let sent = best(join_all(outcomes).await);
        *lock(&self.refused) = match &sent {
            Sent::Refused(refusal, _) => Some((keccak256(raw), *refusal)),
            Sent::Taken | Sent::Unknown => None,
        };
        sent
    }

    /// What all endpoints said when this transaction was sent, if it was the last one and all refused it.
    pub(super) fn refusal(&self, transaction: B256) -> Option<Refusal> {
        let refused = *lock(&self.refused);
        refused.filter(|(hash, _)| *hash == transaction).map(|(_, why)| why)
    }

    /// Receipt of any transaction.
    pub async fn receipt(&self, hash: B256) -> Knowledge<Option<Inclusion>> {
        self.first("receipt", |provider| super::gather::receipt(provider, hash))
            .await
    }
}

async fn send_to(provider: DynProvider, raw: &Bytes) -> Result<(), AskError> {
    let _: B256 = provider
        .raw_request("eth_sendRawTransaction".into(), (hex::encode_prefixed(raw),))
        .await?;
    Ok(())
}

fn outcome(answer: Result<(), AskError>) -> Sent {
    match answer {
        Ok(()) => Sent::Taken,
        Err(error) => match error.refusal() {
            Some(words) if is_already_known(words) => Sent::Taken,
            Some(words) => Sent::Refused(classify(words), words.to_owned()),
            None => Sent::Unknown,
        },
    }
}

fn says(words: &str, any: &[&str]) -> bool {
    let words = words.to_lowercase();
    any.iter().any(|one| words.contains(one))
}

/// Words of geth, anvil and reth, erigon, nethermind, besu for bytes that the pool already holds.
fn is_already_known(words: &str) -> bool {
    says(
        words,
        &["already known", "already imported", "alreadyknown", "known transaction"],
    )
}

fn classify(words: &str) -> Refusal {
    if says(
        words,
        &["nonce too low", "nonce_too_low", "oldnonce", "nonce is too low"],
    ) {
        Refusal::NonceTooLow
    } else if says(words, &["underpriced", "could not replace", "feetoolowtocompete"]) {
        Refusal::Underpriced
    } else if says(
        words,
        &["insufficient funds", "insufficientfunds", "upfront cost exceeds"],
    ) {
        Refusal::InsufficientFunds
    } else if says(
        words,
        &[
            "already reserved",
            "address already reserved",
            "in-flight transaction limit",
        ],
    ) {
        Refusal::AddressReserved
    } else {
        Refusal::Other
    }
}

/// One endpoint that has it is enough; silence is weaker than yes and stronger than no.
fn best(sent: Vec<Sent>) -> Sent {
    if sent.contains(&Sent::Taken) {
        return Sent::Taken;
    }
    if sent.contains(&Sent::Unknown) {
        return Sent::Unknown;
    }
    // The reason that can be acted upon speaks for the rest.
    let mut refusals = sent.into_iter();
    let first = refusals.next().unwrap_or(Sent::Unknown);
    refusals.fold(first, |chosen, other| match chosen {
        Sent::Refused(Refusal::Other, _) => other,
        _ => chosen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_that_has_it_is_enough() {
        let low = || Sent::Refused(Refusal::NonceTooLow, "nonce too low".to_owned());
        let other = || Sent::Refused(Refusal::Other, "bad day".to_owned());
        assert_eq!(best(vec![low(), Sent::Taken]), Sent::Taken);
        assert_eq!(best(vec![low(), Sent::Unknown]), Sent::Unknown);
        assert_eq!(best(vec![other(), low()]), low());
        assert_eq!(best(vec![]), Sent::Unknown);
    }

    #[test]
    fn a_repeat_is_no_refusal() {
        for message in [
            "already known",
            "AlreadyKnown",
            "ALREADY_EXISTS: already known",
            "Known transaction",
            "transaction already imported",
        ] {
            assert!(is_already_known(message), "{message}");
        }
        assert!(!is_already_known("replacement transaction underpriced"));
    }

    #[test]
    fn refusals_are_told_apart_by_the_words_of_the_clients() {
        for (words, refusal) in [
            ("nonce too low: next nonce 8, tx nonce 7", Refusal::NonceTooLow),
            ("OldNonce", Refusal::NonceTooLow),
            ("replacement transaction underpriced", Refusal::Underpriced),
            ("insufficient funds for gas * price + value", Refusal::InsufficientFunds),
            ("Insufficient funds for gas * price + value", Refusal::InsufficientFunds),
            ("address already reserved", Refusal::AddressReserved),
            (
                "in-flight transaction limit reached for delegated accounts",
                Refusal::AddressReserved,
            ),
            ("internal error", Refusal::Other),
        ] {
            assert_eq!(classify(words), refusal, "{words}");
        }
    }
}
