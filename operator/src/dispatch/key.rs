//! The payer's order-signing key: read from its Secret when an order is signed, never kept, never printed.

use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use spillway_core::batch::Voucher;
use spillway_core::order::Order;
use spillway_crds::OrderSigningKey;

use super::ChainPlace;

const ENTRY: &str = "key";

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("Secret {0} does not exist: create it with the order-signing key in entry `key` (32 bytes in hex)")]
    NotFound(String),
    #[error("Secret {0}: entry `key` must hold 32 bytes in hex")]
    Malformed(String),
    #[error("Secret {secret} holds the key of {found}; spec.orderSigningKey.address says {wanted}")]
    WrongAddress {
        secret: String,
        found: Address,
        wanted: String,
    },
    #[error("Secret {0} cannot be read now")]
    Unavailable(String, #[source] kube::Error),
    #[error("signing failed")]
    Signing(#[from] alloy_signer::Error),
}

/// A key that the payer authorised on chain.
pub struct OrderKey(PrivateKeySigner);

impl std::fmt::Debug for OrderKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "OrderKey({})", self.0.address())
    }
}

impl OrderKey {
    /// Reads the key that a SpendPolicy names, from the operator's own namespace.
    ///
    /// # Errors
    /// `NotFound`, `Malformed` and `WrongAddress` are for the hub's admin to mend; `Unavailable` passes.
    pub async fn load(client: Client, namespace: &str, named: &OrderSigningKey) -> Result<Self, KeyError> {
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        let found = secrets.get_opt(&named.secret_ref).await;
        let secret = found.map_err(|error| KeyError::Unavailable(named.secret_ref.clone(), error))?;
        let secret = secret.ok_or_else(|| KeyError::NotFound(named.secret_ref.clone()))?;
        let entry = secret.data.as_ref().and_then(|data| data.get(ENTRY));
        let bytes = entry.ok_or_else(|| KeyError::Malformed(named.secret_ref.clone()))?;
        Self::parse(&bytes.0, &named.secret_ref, &named.address)
    }

    fn parse(entry: &[u8], secret: &str, wanted: &str) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed(secret.to_owned());
        let text = std::str::from_utf8(entry).map_err(|_| malformed())?;
        let signer: PrivateKeySigner = text.trim().parse().map_err(|_| malformed())?;
        if wanted.parse() != Ok(signer.address()) {
            let (secret, wanted) = (secret.to_owned(), wanted.to_owned());
            return Err(KeyError::WrongAddress {
                secret,
                found: signer.address(),
                wanted,
            });
        }
        Ok(Self(signer))
    }

    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// The 65 bytes `r | s | v` under the EIP-712 domain of `place`.
    ///
    /// # Errors
    /// When the signer fails; a key in memory does not.
    pub fn sign(&self, place: &ChainPlace, order: &Order) -> Result<[u8; 65], KeyError> {
        self.sign_digest(order.signing_hash(&place.domain()))
    }

    /// The same of a voucher: what the payer owes in all up to a batch.
    ///
    /// # Errors
    /// As [`OrderKey::sign`].
    pub fn sign_voucher(&self, place: &ChainPlace, voucher: &Voucher) -> Result<[u8; 65], KeyError> {
        self.sign_digest(voucher.signing_hash(&place.domain()))
    }

    fn sign_digest(&self, digest: B256) -> Result<[u8; 65], KeyError> {
        Ok(self.0.sign_hash_sync(&digest)?.as_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The key 0x11…11.
    pub(crate) fn test_key() -> OrderKey {
        OrderKey(PrivateKeySigner::from_bytes(&B256::repeat_byte(0x11)).unwrap())
    }

    #[test]
    fn a_key_is_read_with_and_without_prefix() {
        let address = test_key().address().to_string();
        for text in ["11".repeat(32), format!("0x{}\n", "11".repeat(32))] {
            assert_eq!(
                OrderKey::parse(text.as_bytes(), "s", &address).unwrap().address(),
                test_key().address()
            );
        }
    }

    #[test]
    fn a_wrong_key_is_named_without_its_bytes() {
        let address = test_key().address().to_string();
        let other = OrderKey::parse("22".repeat(32).as_bytes(), "s", &address);
        assert!(matches!(&other, Err(KeyError::WrongAddress { .. })), "{other:?}");
        let malformed = OrderKey::parse(b"hunter2", "s", &address).unwrap_err().to_string();
        assert!(!malformed.contains("hunter2"), "{malformed}");
        assert!(!format!("{:?}", test_key()).contains("1111"));
    }
}
