//! From the API's strings to the money types of `spillway_core`, and back.

use alloy_primitives::{Address, B256, hex};
use spillway_core::batch::{Header, Leaf, Sealed};
use spillway_core::order::{Kind, Order, job_id};
use spillway_core::receipt::{self, parse_digest};

use crate::{
    AttemptKind, AttemptStatus, InferenceJob, InferenceJobStatus, Receipt, SettlementMode, SettlementSpec, SignedOrder,
};

mod invoice;
mod ledgers;
#[cfg(test)]
mod tests;

pub use invoice::invoice_of;
pub use ledgers::{accepted_receipts, credits_of, debits_of, id_of, sealed_batch};

/// A field of an object that money needs is missing or malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConversionError {
    pub field: &'static str,
    pub message: String,
}

impl ConversionError {
    fn missing(field: &'static str) -> Self {
        Self {
            field,
            message: "is not set yet".to_owned(),
        }
    }
}

impl From<AttemptKind> for Kind {
    fn from(kind: AttemptKind) -> Self {
        match kind {
            AttemptKind::Work => Self::Work,
            AttemptKind::Check => Self::Check,
            AttemptKind::Arbitrate => Self::Arbitrate,
            AttemptKind::Repair => Self::Repair,
        }
    }
}

/// # Errors
/// When `text` is not `0x` and 40 hex digits.
pub fn address(field: &'static str, text: &str) -> Result<Address, ConversionError> {
    let malformed = |_| ConversionError {
        field,
        message: format!("`{text}` is not 0x and 40 hex digits"),
    };
    text.parse().map_err(malformed)
}

/// # Errors
/// When `text` is not `0x` and 64 hex digits.
pub fn hash(field: &'static str, text: &str) -> Result<B256, ConversionError> {
    let malformed = |_| ConversionError {
        field,
        message: format!("`{text}` is not 0x and 64 hex digits"),
    };
    text.parse().map_err(malformed)
}

fn hashes(field: &'static str, texts: &[String]) -> Result<Vec<B256>, ConversionError> {
    texts.iter().map(|text| hash(field, text)).collect()
}

fn digest(field: &'static str, text: &str) -> Result<B256, ConversionError> {
    let malformed = || ConversionError {
        field,
        message: format!("`{text}` is not sha256: and 64 hex digits"),
    };
    parse_digest(text).ok_or_else(malformed)
}

/// # Errors
/// When `text` is not `0x` and an even count of hex digits.
pub fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, ConversionError> {
    let malformed = || ConversionError {
        field,
        message: "is not 0x and an even count of hex digits".to_owned(),
    };
    let digits = text.strip_prefix("0x").ok_or_else(malformed)?;
    hex::decode(digits).map_err(|_| malformed())
}

/// `0x` and hex digits.
pub fn format_bytes(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

impl SignedOrder {
    /// # Errors
    /// When a price or a bound does not fit 64 bits.
    pub fn new(chain_id: u64, contract: Address, order: &Order, signature: &[u8]) -> Result<Self, ConversionError> {
        Ok(Self {
            chain_id,
            contract: contract.to_string(),
            payer: order.payer.to_string(),
            provider: order.provider.to_string(),
            unit_price_micro: micro("order.unitPriceMicro", order.unitPrice)?,
            upper_bound_micro: micro("order.upperBoundMicro", order.upperBound)?,
            expiry: order.expiry,
            signature: format_bytes(signature),
        })
    }

    /// The order as it was signed, for the attempt that the assignment names.
    ///
    /// # Errors
    /// When an address is malformed.
    pub fn order(&self, job_uid: &str, shard: u32, attempt: u16, kind: AttemptKind) -> Result<Order, ConversionError> {
        Ok(Order {
            job: job_id(job_uid),
            shard,
            attempt,
            kind: Kind::from(kind).code(),
            payer: address("order.payer", &self.payer)?,
            provider: address("order.provider", &self.provider)?,
            unitPrice: self.unit_price_micro.into(),
            upperBound: self.upper_bound_micro.into(),
            expiry: self.expiry,
        })
    }

    /// # Errors
    /// When it is not hex.
    pub fn signature_bytes(&self) -> Result<Vec<u8>, ConversionError> {
        bytes("order.signature", &self.signature)
    }

    /// # Errors
    /// When the contract's address is malformed.
    pub fn contract_address(&self) -> Result<Address, ConversionError> {
        address("order.contract", &self.contract)
    }
}

pub(crate) fn micro(field: &'static str, amount: u128) -> Result<u64, ConversionError> {
    let too_large = |_| ConversionError {
        field,
        message: format!("{amount} micro-USD is more than 2^64 - 1"),
    };
    u64::try_from(amount).map_err(too_large)
}

impl Receipt {
    /// The receipt as it was signed, under the order with this hash.
    ///
    /// # Errors
    /// When a digest is malformed.
    pub fn signed_part(&self, order: B256) -> Result<receipt::Receipt, ConversionError> {
        Ok(receipt::Receipt {
            order,
            inputDigest: digest("receipt.inputDigest", &self.input_digest)?,
            outputDigest: digest("receipt.outputDigest", &self.output_digest)?,
            started: self.started,
            finished: self.finished,
            meteredMillis: self.metered_millis,
            promptTokens: self.prompt_tokens,
            completionTokens: self.completion_tokens,
        })
    }

    /// # Errors
    /// When it is not hex.
    pub fn signature_bytes(&self) -> Result<Vec<u8>, ConversionError> {
        bytes("receipt.signature", &self.signature)
    }
}

/// The order of an attempt whose terms are locked in the job's status.
///
/// # Errors
/// The first term that is missing or malformed.
pub fn order_of(
    job_uid: &str,
    status: &InferenceJobStatus,
    shard: u32,
    attempt: &AttemptStatus,
) -> Result<Order, ConversionError> {
    let payer = status
        .payer
        .as_ref()
        .ok_or_else(|| ConversionError::missing("status.payer"))?;
    let payout = attempt
        .payout
        .as_deref()
        .ok_or_else(|| ConversionError::missing("attempt.payout"))?;
    let price = attempt
        .unit_price_micro
        .ok_or_else(|| ConversionError::missing("attempt.unitPriceMicro"))?;
    Ok(Order {
        job: job_id(job_uid),
        shard,
        attempt: attempt.number,
        kind: Kind::from(attempt.kind).code(),
        payer: address("status.payer.address", &payer.address)?,
        provider: address("attempt.payout", payout)?,
        unitPrice: price.into(),
        upperBound: attempt.upper_bound_micro.into(),
        expiry: attempt
            .order_expiry
            .ok_or_else(|| ConversionError::missing("attempt.orderExpiry"))?,
    })
}

/// The leaf that pays an accepted attempt, from the job's status alone.
///
/// # Errors
/// The first fact that is missing or malformed; an attempt that was not accepted has no amount.
pub fn leaf_of(job: &InferenceJob, shard: u32, attempt: &AttemptStatus) -> Result<Leaf, ConversionError> {
    let uid = job
        .metadata
        .uid
        .as_deref()
        .ok_or_else(|| ConversionError::missing("metadata.uid"))?;
    let status = job.status.as_ref().ok_or_else(|| ConversionError::missing("status"))?;
    let order = order_of(uid, status, shard, attempt)?;
    let receipt = attempt
        .receipt
        .as_ref()
        .ok_or_else(|| ConversionError::missing("attempt.receipt"))?;
    let amount = attempt
        .amount_micro
        .ok_or_else(|| ConversionError::missing("attempt.amountMicro"))?;
    let order_hash = order.hash();
    Ok(Leaf {
        job: order.job,
        shard,
        attempt: attempt.number,
        kind: order.kind,
        payer: order.payer,
        provider: order.provider,
        amount: amount.into(),
        order: order_hash,
        receipt: receipt.signed_part(order_hash)?.hash(),
    })
}

impl SettlementSpec {
    /// The spec of a sealed batch; `data_key` is where the leaves document lies.
    ///
    /// # Errors
    /// When the total does not fit 64 bits.
    pub fn from_sealed(
        chain_id: u64,
        contract: Address,
        sealed: &Sealed,
        data_key: String,
    ) -> Result<Self, ConversionError> {
        let entries = (sealed.debits.as_slice(), sealed.credits.as_slice());
        Self::from_header(chain_id, contract, &sealed.header, data_key, entries)
    }

    /// The same from what the contract booked; `debits` and `credits` are packed.
    ///
    /// # Errors
    /// When the total does not fit 64 bits.
    pub fn from_header(
        chain_id: u64,
        contract: Address,
        header: &Header,
        data_key: String,
        (debits, credits): (&[B256], &[B256]),
    ) -> Result<Self, ConversionError> {
        let (mode, root) = if header.payRoot.is_zero() {
            (SettlementMode::Ledger, None)
        } else {
            (SettlementMode::Root, Some(header))
        };
        let cumulative = root.map(|header| micro("spec.cumulativeMicro", header.cumulative));
        Ok(Self {
            chain_id,
            contract: contract.to_string(),
            mode,
            sequence: header.sequence,
            count: header.count,
            total_micro: micro("spec.totalMicro", header.total)?,
            cumulative_micro: cumulative.transpose()?,
            pay_root: root.map(|header| header.payRoot.to_string()),
            spend_root: root.map(|header| header.spendRoot.to_string()),
            previous: header.previous.to_string(),
            jobs_root: header.jobsRoot.to_string(),
            ledger_hash: header.ledgerHash.to_string(),
            data_hash: header.dataHash.to_string(),
            header_hash: header.hash(chain_id, contract).to_string(),
            data_key,
            debits: debits.iter().map(B256::to_string).collect(),
            credits: credits.iter().map(B256::to_string).collect(),
        })
    }

    /// The header, whose hash over chain and contract must be `header_hash`.
    ///
    /// # Errors
    /// When a hash is malformed or the header does not have the hash that the spec names.
    pub fn header(&self) -> Result<Header, ConversionError> {
        let header = Header {
            sequence: self.sequence,
            count: self.count,
            total: self.total_micro.into(),
            cumulative: self.cumulative_micro.unwrap_or_default().into(),
            payRoot: self.root("spec.payRoot", self.pay_root.as_deref())?,
            spendRoot: self.root("spec.spendRoot", self.spend_root.as_deref())?,
            previous: hash("spec.previous", &self.previous)?,
            jobsRoot: hash("spec.jobsRoot", &self.jobs_root)?,
            ledgerHash: hash("spec.ledgerHash", &self.ledger_hash)?,
            dataHash: hash("spec.dataHash", &self.data_hash)?,
        };
        let computed = header.hash(self.chain_id, address("spec.contract", &self.contract)?);
        if computed == hash("spec.headerHash", &self.header_hash)? {
            return Ok(header);
        }
        Err(ConversionError {
            field: "spec.headerHash",
            message: format!("the header's hash is {computed}"),
        })
    }

    /// A root belongs to root mode, and there it must be.
    fn root(&self, field: &'static str, text: Option<&str>) -> Result<B256, ConversionError> {
        match (self.mode, text) {
            (SettlementMode::Ledger, None) => Ok(B256::ZERO),
            (SettlementMode::Root, Some(text)) => hash(field, text),
            (mode, _) => Err(ConversionError {
                field,
                message: format!("must be set in mode Root and only there; the mode is {mode:?}"),
            }),
        }
    }

    /// Packed debits and credits of ledger mode, whose hash must be `ledger_hash`.
    ///
    /// # Errors
    /// When an entry is malformed or they do not have the hash that the spec names.
    pub fn ledger(&self) -> Result<(Vec<B256>, Vec<B256>), ConversionError> {
        let debits = hashes("spec.debits", &self.debits)?;
        let credits = hashes("spec.credits", &self.credits)?;
        let computed = spillway_core::batch::ledger_hash(&debits, &credits);
        if computed == hash("spec.ledgerHash", &self.ledger_hash)? {
            return Ok((debits, credits));
        }
        Err(ConversionError {
            field: "spec.ledgerHash",
            message: format!("debits and credits hash to {computed}"),
        })
    }
}
