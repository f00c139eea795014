//! Sending: the same bytes to every endpoint. What they answer is a hint, the contract's state is the truth.

use alloy::primitives::{B256, Bytes, hex};
use alloy::providers::{DynProvider, Provider};

use super::endpoints::within;
use super::{AskError, Chain, Inclusion};
use spillway_core::knowledge::Knowledge;

/// What became of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// At least one endpoint has it.
    Taken,
    /// No endpoint said no, none said yes: it may be out there.
    Unknown,
    /// Every endpoint that answered refused it.
    Refused(String),
}

impl Chain {
    pub async fn send(&self, raw: &Bytes) -> Sent {
        let mut sent = Vec::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let outcome = outcome(within(send_to(endpoint, raw)).await);
            tracing::debug!(endpoint = index, ?outcome, "sent");
            sent.push(outcome);
        }
        best(sent)
    }

    /// Receipt of any transaction.
    pub async fn receipt(&self, hash: B256) -> Knowledge<Option<Inclusion>> {
        self.first("receipt", |provider| super::gather::receipt(provider, hash))
            .await
    }
}

async fn send_to(endpoint: &DynProvider, raw: &Bytes) -> Result<(), AskError> {
    let _: B256 = endpoint
        .raw_request("eth_sendRawTransaction".into(), (hex::encode_prefixed(raw),))
        .await?;
    Ok(())
}

fn outcome(answer: Result<(), AskError>) -> Sent {
    match answer {
        Ok(()) => Sent::Taken,
        Err(AskError::Rpc(error)) => match error.as_error_resp() {
            Some(refusal) if is_already_known(&refusal.message) => Sent::Taken,
            Some(refusal) => Sent::Refused(refusal.message.to_string()),
            None => Sent::Unknown,
        },
        Err(_) => Sent::Unknown,
    }
}

/// Words of geth and anvil, erigon, nethermind, besu for bytes that the pool already holds.
fn is_already_known(message: &str) -> bool {
    let message = message.to_lowercase();
    ["already known", "already imported", "alreadyknown", "known transaction"]
        .iter()
        .any(|known| message.contains(known))
}

/// One endpoint that has it is enough; silence is weaker than yes and stronger than no.
fn best(sent: Vec<Sent>) -> Sent {
    let refusal = sent.iter().find(|sent| matches!(sent, Sent::Refused(_))).cloned();
    if sent.contains(&Sent::Taken) {
        Sent::Taken
    } else if sent.contains(&Sent::Unknown) {
        Sent::Unknown
    } else {
        refusal.unwrap_or(Sent::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_that_has_it_is_enough() {
        let refused = || Sent::Refused("nonce too low".to_owned());
        assert_eq!(best(vec![refused(), Sent::Taken]), Sent::Taken);
        assert_eq!(best(vec![refused(), Sent::Unknown]), Sent::Unknown);
        assert_eq!(best(vec![refused(), refused()]), refused());
    }

    #[test]
    fn a_repeat_is_no_refusal() {
        for message in [
            "already known",
            "AlreadyKnown",
            "ALREADY_EXISTS: already known",
            "Known transaction",
        ] {
            assert!(is_already_known(message), "{message}");
        }
        assert!(!is_already_known("replacement transaction underpriced"));
    }
}
