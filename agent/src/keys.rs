//! The agent's own keys: secp256k1 for receipts, X25519 for sealed payloads; in the Secret `spillway-agent-keys`.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use spillway_core::sealing::SecretKey;
use zeroize::Zeroizing;

use crate::request::{RequestError, within};

/// Name of the Secret in the agent's own namespace. Losing it means joining anew: the hub pins both public keys.
pub const NAME: &str = "spillway-agent-keys";
const RECEIPT: &str = "receipt";
const SEALING: &str = "sealing";

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("Secret {NAME} cannot be asked for or made: {0}")]
    Request(#[from] RequestError),
    #[error("Secret {NAME}: entry `{0}` is missing or malformed; restore it, or delete the Secret and join anew")]
    Entry(&'static str),
    #[error("no receipt key could be made")]
    Generate,
}

/// Both keys; cheap to clone, never printed.
#[derive(Clone)]
pub struct Keys {
    receipt: Arc<PrivateKeySigner>,
    sealing: SecretKey,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Keys")
            .field("receipt_signer", &self.receipt_signer())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the keys, or makes them; of two agents that start at once, one makes and both read.
    ///
    /// # Errors
    /// When the Secret cannot be asked for, or is damaged: it is never overwritten.
    pub async fn load_or_create(secrets: &Api<Secret>) -> Result<Self, KeysError> {
        if let Some(secret) = within(secrets.get_opt(NAME)).await? {
            return Self::decode(&secret);
        }
        let keys = Self::generate()?;
        match within(secrets.create(&PostParams::default(), &keys.encode())).await {
            Ok(_) => Ok(keys),
            Err(error) if error.is_conflict() => Self::decode(&within(secrets.get(NAME)).await?),
            Err(error) => Err(error.into()),
        }
    }

    /// New keys from the system's randomness.
    ///
    /// # Errors
    /// [`KeysError::Generate`] when the drawn bytes are no secp256k1 key (probability 2^-128).
    pub fn generate() -> Result<Self, KeysError> {
        let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
        let receipt = PrivateKeySigner::from_slice(bytes.as_slice()).map_err(|_| KeysError::Generate)?;
        Ok(Self {
            receipt: Arc::new(receipt),
            sealing: SecretKey::generate(&mut rand::rng()),
        })
    }

    pub fn receipt_signer(&self) -> Address {
        self.receipt.address()
    }

    pub fn sealing(&self) -> &SecretKey {
        &self.sealing
    }

    /// 65 bytes over an EIP-712 signing hash, deterministic (RFC 6979).
    ///
    /// # Errors
    /// When the signer fails; the local one does not.
    pub fn sign(&self, hash: B256) -> Result<[u8; 65], alloy_signer::Error> {
        self.receipt.sign_hash_sync(&hash).map(|signature| signature.as_bytes())
    }

    fn encode(&self) -> Secret {
        let receipt = hex::encode(self.receipt.to_bytes()).into_bytes();
        let sealing = self.sealing.to_base64().as_bytes().to_vec();
        let entries = [(RECEIPT, receipt), (SEALING, sealing)];
        Secret {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), ByteString(value)))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    fn decode(secret: &Secret) -> Result<Self, KeysError> {
        let entry = |name: &'static str| {
            let bytes = secret
                .data
                .as_ref()
                .and_then(|data| data.get(name))
                .ok_or(KeysError::Entry(name))?;
            std::str::from_utf8(&bytes.0).map_err(|_| KeysError::Entry(name))
        };
        let bytes = hex::decode(entry(RECEIPT)?.trim())
            .map(Zeroizing::new)
            .map_err(|_| KeysError::Entry(RECEIPT))?;
        let receipt = PrivateKeySigner::from_slice(&bytes).map_err(|_| KeysError::Entry(RECEIPT))?;
        let sealing = entry(SEALING)?.parse().map_err(|_| KeysError::Entry(SEALING))?;
        Ok(Self {
            receipt: Arc::new(receipt),
            sealing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survive_the_secret() {
        let keys = Keys::generate().unwrap();
        let again = Keys::decode(&keys.encode()).unwrap();
        assert_eq!(again.receipt_signer(), keys.receipt_signer());
        assert_eq!(again.sealing().public_key(), keys.sealing().public_key());
    }

    #[test]
    fn a_damaged_secret_is_an_error_that_names_the_entry() {
        for entry in [RECEIPT, SEALING] {
            let mut secret = Keys::generate().unwrap().encode();
            secret
                .data
                .as_mut()
                .unwrap()
                .insert(entry.to_owned(), ByteString(b"x".to_vec()));
            assert!(matches!(Keys::decode(&secret), Err(KeysError::Entry(name)) if name == entry));
        }
    }

    #[test]
    fn signs_what_recovers_to_the_signer() {
        let keys = Keys::generate().unwrap();
        let hash = B256::repeat_byte(7);
        let signature = keys.sign(hash).unwrap();
        assert_eq!(
            spillway_core::signature::recover(hash, &signature),
            Ok(keys.receipt_signer())
        );
    }
}
