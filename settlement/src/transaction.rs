//! EIP-1559 transactions: drafted, signed, and made again to the byte from what the write-ahead log holds.

use alloy::consensus::{SignableTransaction, TxEip1559};
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use spillway_crds::money::{ConversionError, bytes, format_bytes, hash};
use spillway_crds::{Time, TransactionAttempt};

/// Wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    pub max_fee_per_gas: u128,
    pub max_priority_fee_per_gas: u128,
}

/// Where the transaction goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub chain_id: u64,
    pub contract: Address,
    pub calldata: Bytes,
}

/// A transaction that is not signed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    pub nonce: u64,
    pub gas_limit: u64,
    pub fees: Fees,
}

#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    #[error("stored attempt: {0}")]
    Stored(#[from] ConversionError),
    #[error("stored attempt: {0} is not an amount of wei")]
    Fee(&'static str),
    #[error("stored attempt: the signature is malformed")]
    Signature,
    #[error("stored attempt: it makes transaction {made}, the log names {logged}")]
    OtherHash { made: B256, logged: B256 },
    #[error("the key did not sign: {0}")]
    Signer(#[from] alloy::signers::Error),
}

impl Draft {
    fn transaction(&self, to: &Destination) -> TxEip1559 {
        TxEip1559 {
            chain_id: to.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee_per_gas,
            max_priority_fee_per_gas: self.fees.max_priority_fee_per_gas,
            to: TxKind::Call(to.contract),
            value: U256::ZERO,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input: to.calldata.clone(),
        }
    }

    /// Signs; the result is what the log must hold before anything is sent.
    ///
    /// # Errors
    /// When the signer refuses.
    pub fn sign(
        &self,
        to: &Destination,
        signer: &PrivateKeySigner,
        now: Time,
    ) -> Result<TransactionAttempt, TransactionError> {
        let transaction = self.transaction(to);
        let signature = signer.sign_hash_sync(&transaction.signature_hash())?;
        let signed = transaction.into_signed(signature);
        Ok(TransactionAttempt {
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee_per_gas.to_string(),
            max_priority_fee_per_gas: self.fees.max_priority_fee_per_gas.to_string(),
            signature: format_bytes(signature.as_bytes()),
            hash: signed.hash().to_string(),
            signed_at: now,
        })
    }
}

/// Fees of a stored attempt.
///
/// # Errors
/// When they are not decimal.
pub fn stored_fees(attempt: &TransactionAttempt) -> Result<Fees, TransactionError> {
    let wei = |field, text: &str| text.parse().map_err(|_| TransactionError::Fee(field));
    Ok(Fees {
        max_fee_per_gas: wei("maxFeePerGas", &attempt.max_fee_per_gas)?,
        max_priority_fee_per_gas: wei("maxPriorityFeePerGas", &attempt.max_priority_fee_per_gas)?,
    })
}

/// Raw bytes of a stored attempt; they must have the hash that the log names.
///
/// # Errors
/// When a stored field is malformed or the bytes hash to something else.
pub fn raw(attempt: &TransactionAttempt, to: &Destination) -> Result<Bytes, TransactionError> {
    let draft = Draft {
        nonce: attempt.nonce,
        gas_limit: attempt.gas_limit,
        fees: stored_fees(attempt)?,
    };
    let signature = bytes("signature", &attempt.signature)?;
    let signature = Signature::from_raw(&signature).map_err(|_| TransactionError::Signature)?;
    let signed = draft.transaction(to).into_signed(signature);
    let (made, logged) = (*signed.hash(), hash("hash", &attempt.hash)?);
    if made == logged {
        Ok(signed.encoded_2718().into())
    } else {
        Err(TransactionError::OtherHash { made, logged })
    }
}
