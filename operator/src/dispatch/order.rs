//! Where orders are valid. The order itself is made from the job's status, by
//! [`spillway_crds::money::order_of`]: the same facts make the same order again.

use alloy_primitives::Address;
use alloy_sol_types::Eip712Domain;
use spillway_core::order::domain;

/// Where payment is settled: the chain and the settlement contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPlace {
    pub chain_id: u64,
    pub contract: Address,
}

impl ChainPlace {
    /// EIP-712 domain of orders and receipts.
    pub fn domain(&self) -> Eip712Domain {
        domain(self.chain_id, self.contract)
    }
}
