//! EIP-1559 transactions: drafted, signed, and made again to the byte from what the write-ahead log holds.

use alloy::consensus::{SignableTransaction, TxEip1559};
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use spillway_crds::money::{ConversionError, address, bytes, format_bytes, hash};
use spillway_crds::{Time, TransactionAttempt};

use crate::signer::PosterKey;

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

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Post,
    /// Nothing, to the key's own address: only the nonce matters.
    Cancel,
}

/// A transaction that is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub nonce: u64,
    pub gas_limit: u64,
    pub fees: Fees,
    pub purpose: Purpose,
    /// Block time of the head that it was decided on.
    pub at: Time,
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
    #[error("the key signed as {found}, its address is {wanted}")]
    OtherSigner { found: Address, wanted: Address },
}

impl Draft {
    /// Signs; the result is what the log must hold before anything is sent.
    ///
    /// # Errors
    /// When the signer refuses, or signs with another key than it names.
    pub async fn sign(&self, to: &Destination, key: &PosterKey) -> Result<TransactionAttempt, TransactionError> {
        let from = key.address();
        let transaction = self.transaction(to, from);
        let digest = transaction.signature_hash();
        let signature = key.sign(&digest).await?;
        let found = signature
            .recover_address_from_prehash(&digest)
            .map_err(|_| TransactionError::Signature)?;
        if found != from {
            return Err(TransactionError::OtherSigner { found, wanted: from });
        }
        let signed = transaction.into_signed(signature);
        Ok(TransactionAttempt {
            from: Some(from.to_string()),
            cancels: self.purpose == Purpose::Cancel,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee_per_gas.to_string(),
            max_priority_fee_per_gas: self.fees.max_priority_fee_per_gas.to_string(),
            signature: format_bytes(signature.as_bytes()),
            hash: signed.hash().to_string(),
            signed_at: self.at.clone(),
        })
    }

    fn transaction(&self, to: &Destination, from: Address) -> TxEip1559 {
        let (target, input) = match self.purpose {
            Purpose::Post => (to.contract, to.calldata.clone()),
            Purpose::Cancel => (from, Bytes::new()),
        };
        TxEip1559 {
            chain_id: to.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee_per_gas,
            max_priority_fee_per_gas: self.fees.max_priority_fee_per_gas,
            to: TxKind::Call(target),
            value: U256::ZERO,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input,
        }
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
    let purpose = if attempt.cancels {
        Purpose::Cancel
    } else {
        Purpose::Post
    };
    let from = match &attempt.from {
        Some(from) => address("from", from)?,
        None => Address::ZERO,
    };
    let draft = Draft {
        nonce: attempt.nonce,
        gas_limit: attempt.gas_limit,
        fees: stored_fees(attempt)?,
        purpose,
        at: attempt.signed_at.clone(),
    };
    let signature = bytes("signature", &attempt.signature)?;
    let signature = Signature::from_raw(&signature).map_err(|_| TransactionError::Signature)?;
    let signed = draft.transaction(to, from).into_signed(signature);
    let (made, logged) = (*signed.hash(), hash("hash", &attempt.hash)?);
    if made == logged {
        Ok(signed.encoded_2718().into())
    } else {
        Err(TransactionError::OtherHash { made, logged })
    }
}
