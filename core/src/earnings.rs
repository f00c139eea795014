//! What a provider has earned, by how far it has come, and when taking it is worth its gas.

use serde::Serialize;

use crate::money::MicroUsd;

const WEI_PER_COIN: u128 = 1_000_000_000_000_000_000;
const MILLION: u128 = 1_000_000;

/// Micro-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Earnings {
    /// Accepted, in no batch yet.
    pub accepted: u128,
    /// In a batch that is not on chain yet.
    pub sealed: u128,
    /// On chain, in the window in which it can be disputed; in root mode also what was not collected from payers yet.
    pub in_window: u128,
    pub claimable: u128,
    pub claimed: u128,
}

impl Earnings {
    pub fn total(&self) -> u128 {
        [self.accepted, self.sealed, self.in_window, self.claimable, self.claimed]
            .into_iter()
            .fold(0, u128::saturating_add)
    }
}

/// What one claim costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimCost {
    pub gas: u64,
    pub wei_per_gas: u128,
}

impl ClaimCost {
    pub fn wei(&self) -> u128 {
        u128::from(self.gas).saturating_mul(self.wei_per_gas)
    }

    /// Micro-USD, rounded up, at this price of one coin (10^18 wei).
    pub fn usd(&self, coin: MicroUsd) -> u128 {
        self.wei().saturating_mul(coin.0.into()).div_ceil(WEI_PER_COIN)
    }
}

/// The largest part of a claim that gas may take, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasShare(pub u32);

impl Default for GasShare {
    /// 1 %.
    fn default() -> Self {
        Self(10_000)
    }
}

impl GasShare {
    /// Of a number from 0 to 100, cut to a ten-thousandth of a per cent.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub fn from_per_cent(share: f64) -> Self {
        Self((share.clamp(0.0, 100.0) * 10_000.0).round() as u32)
    }

    /// Whether `claimable` micro-USD are worth `cost` micro-USD of gas: strictly less than the share.
    pub fn allows(self, claimable: u128, cost: u128) -> bool {
        claimable > 0 && cost.saturating_mul(MILLION) < claimable.saturating_mul(self.0.into())
    }

    /// The least that is worth claiming at `cost`.
    pub fn worth_from(self, cost: u128) -> Option<u128> {
        let share = u128::from(self.0);
        (share > 0).then(|| cost.saturating_mul(MILLION) / share + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gas_is_priced_in_the_chains_coin() {
        let cost = ClaimCost {
            gas: 60_000,
            wei_per_gas: 20_000_000_000,
        };
        assert_eq!(cost.wei(), 1_200_000_000_000_000);
        assert_eq!(cost.usd(MicroUsd(3_000_000_000)), 3_600_000, "0.0012 coins at 3000 USD");
        assert_eq!(ClaimCost { gas: 1, ..cost }.usd(MicroUsd(1)), 1, "rounded up");
    }

    #[test]
    fn one_per_cent_is_the_bound_and_nothing_is_never_worth_it() {
        let share = GasShare::default();
        assert!(!share.allows(360_000_000, 3_600_000), "exactly one per cent");
        assert!(share.allows(360_000_001, 3_600_000));
        assert!(!share.allows(0, 0));
        assert!(share.allows(1, 0), "free gas");
        assert_eq!(GasShare(0).worth_from(1), None);
        assert_eq!(GasShare::from_per_cent(1.0), share);
        assert_eq!(GasShare::from_per_cent(0.5), GasShare(5_000));
    }

    proptest! {
        #[test]
        fn the_least_that_is_worth_it_is_just_worth_it(cost in 1u128..1 << 60, share in 1u32..1_000_000) {
            let share = GasShare(share);
            let least = share.worth_from(cost).unwrap();
            prop_assert!(share.allows(least, cost));
            prop_assert!(!share.allows(least - 1, cost));
        }
    }
}
