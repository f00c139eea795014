//! Where orders are valid, and what an attempt may cost at most. The order itself is made from the job's status, by
//! [`spillway_crds::money::order_of`]: the same facts make the same order again.

use std::time::Duration;

use alloy_primitives::Address;
use alloy_sol_types::Eip712Domain;
use spillway_core::money::{MicroUsd, UnitPrice};
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

/// The most that one attempt may cost: its price over the whole shard timeout on all its GPUs.
pub fn upper_bound(price: UnitPrice, gpus: u32, shard_timeout: Duration) -> MicroUsd {
    let millis = u64::try_from(shard_timeout.as_millis()).unwrap_or(u64::MAX);
    price.cost(millis.saturating_mul(u64::from(gpus)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_covers_all_gpus_for_the_whole_time() {
        let price: UnitPrice = "1.20".parse().unwrap();
        assert_eq!(upper_bound(price, 2, Duration::from_secs(1800)), MicroUsd(1_200_000));
        assert_eq!(upper_bound(price, 16, Duration::MAX), price.cost(u64::MAX));
    }
}
