//! Root mode: what payers owe with a batch, signed; with it the contract collects from their deposits.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use spillway_core::batch::Voucher;

use crate::money::{ConversionError, address, bytes, format_bytes};

/// `vouchers/<header hash>.json`: one of every payer that the batch debits, written before its Settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredVouchers {
    pub version: u32,
    pub chain_id: u64,
    pub contract: String,
    pub sequence: u64,
    pub vouchers: Vec<StoredVoucher>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredVoucher {
    pub payer: String,
    /// Owed in all up to the batch.
    pub cumulative_micro: u64,
    /// 65 bytes by the payer's order key, 0x-prefixed.
    pub signature: String,
}

impl StoredVouchers {
    pub const VERSION: u32 = 1;
    /// One voucher has about 300 bytes.
    pub const SIZE_MAX: u64 = 4 << 20;

    /// Their key in the store; `header_hash` 0x-prefixed.
    pub fn key(header_hash: &str) -> String {
        format!("vouchers/{header_hash}.json")
    }

    pub fn new(chain_id: u64, contract: Address, sequence: u64) -> Self {
        Self {
            version: Self::VERSION,
            chain_id,
            contract: contract.to_string(),
            sequence,
            vouchers: Vec::new(),
        }
    }

    /// # Errors
    /// When the amount does not fit 64 bits.
    pub fn push(&mut self, voucher: &Voucher, signature: &[u8]) -> Result<(), ConversionError> {
        self.vouchers.push(StoredVoucher {
            payer: voucher.payer.to_string(),
            cumulative_micro: crate::money::micro("voucher.cumulativeMicro", voucher.cumulative)?,
            signature: format_bytes(signature),
        });
        Ok(())
    }

    /// The voucher of `payer` with its signature; `None` when the batch does not debit it.
    ///
    /// # Errors
    /// When they belong to another contract, or a field is malformed.
    pub fn of(
        &self,
        chain_id: u64,
        contract: Address,
        payer: Address,
    ) -> Result<Option<(Voucher, Vec<u8>)>, ConversionError> {
        self.require_of(chain_id, contract)?;
        for stored in &self.vouchers {
            if address("voucher.payer", &stored.payer)? == payer {
                let voucher = Voucher {
                    payer,
                    sequence: self.sequence,
                    cumulative: stored.cumulative_micro.into(),
                };
                return Ok(Some((voucher, bytes("voucher.signature", &stored.signature)?)));
            }
        }
        Ok(None)
    }

    fn require_of(&self, chain_id: u64, contract: Address) -> Result<(), ConversionError> {
        let wrong = |field, message: String| Err(ConversionError { field, message });
        if self.version != Self::VERSION {
            return wrong("version", format!("is {}, known is {}", self.version, Self::VERSION));
        }
        if self.chain_id != chain_id || address("contract", &self.contract)? != contract {
            return wrong("contract", format!("is not {contract} on chain {chain_id}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voucher_reads_back_for_its_payer_and_contract_only() {
        let (contract, payer) = (Address::repeat_byte(0xcc), Address::repeat_byte(9));
        let voucher = Voucher {
            payer,
            sequence: 7,
            cumulative: 60,
        };
        let mut stored = StoredVouchers::new(1, contract, 7);
        stored.push(&voucher, &[5; 65]).unwrap();
        let read: StoredVouchers = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert_eq!(read.of(1, contract, payer).unwrap(), Some((voucher, vec![5; 65])));
        assert_eq!(read.of(1, contract, Address::ZERO).unwrap(), None);
        assert!(read.of(2, contract, payer).is_err());
        assert!(read.of(1, payer, payer).is_err());
        let newer = StoredVouchers { version: 2, ..read };
        assert!(
            newer
                .of(1, contract, payer)
                .unwrap_err()
                .to_string()
                .starts_with("version")
        );
    }
}
