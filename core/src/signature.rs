//! secp256k1 signatures of 65 bytes, `r | s | v`: who signed a digest.

use alloy_primitives::{Address, B256, Signature};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("signature has {0} bytes: expected 65, r | s | v")]
    Length(usize),
    #[error("last byte of the signature is {0}: expected 27, 28, 0 or 1")]
    Parity(u8),
    /// Every signature has a twin with the other half of `s`; one form only, as EIP-2 has it.
    #[error("signature has its s in the upper half of the curve order: normalise it (EIP-2)")]
    HighS,
    #[error("no key made this signature")]
    NotRecoverable,
}

/// Address of the key that signed `digest`.
///
/// # Errors
/// When `signature` is not 65 bytes in canonical form, or belongs to no key.
pub fn recover(digest: B256, signature: &[u8]) -> Result<Address, SignatureError> {
    let signature = parse(signature)?;
    signature
        .recover_address_from_prehash(&digest)
        .map_err(|_| SignatureError::NotRecoverable)
}

fn parse(bytes: &[u8]) -> Result<Signature, SignatureError> {
    let bytes: &[u8; 65] = bytes.try_into().map_err(|_| SignatureError::Length(bytes.len()))?;
    let parity = bytes[64];
    if !matches!(parity, 0 | 1 | 27 | 28) {
        return Err(SignatureError::Parity(parity));
    }
    let signature = Signature::from_raw_array(bytes).map_err(|_| SignatureError::Parity(parity))?;
    if signature.normalize_s().is_some() {
        Err(SignatureError::HighS)
    } else {
        Ok(signature)
    }
}
