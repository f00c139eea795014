//! Fees of the first transaction and of its replacements.

use crate::transaction::Fees;

/// Market fees, held under the ceiling.
pub(super) fn first(market: Fees, ceiling: u128) -> Fees {
    let max_fee_per_gas = market.max_fee_per_gas.min(ceiling);
    Fees {
        max_fee_per_gas,
        max_priority_fee_per_gas: market.max_priority_fee_per_gas.min(max_fee_per_gas),
    }
}

/// Fees of a replacement: both at least 12.5 % over the *last signed* ones (pools ask for 10 %), or the market's if
/// those are higher. `None` above the ceiling: then the last one is sent again instead.
pub(super) fn bumped(last: Fees, market: Fees, ceiling: u128) -> Option<Fees> {
    let fees = Fees {
        max_fee_per_gas: raised(last.max_fee_per_gas).max(market.max_fee_per_gas.min(ceiling)),
        max_priority_fee_per_gas: raised(last.max_priority_fee_per_gas).max(market.max_priority_fee_per_gas),
    };
    let tip = fees.max_priority_fee_per_gas.min(fees.max_fee_per_gas);
    let enough = tip >= raised(last.max_priority_fee_per_gas);
    (fees.max_fee_per_gas <= ceiling && enough).then_some(Fees {
        max_priority_fee_per_gas: tip,
        ..fees
    })
}

/// × 1.125, rounded up, and at least one wei more.
fn raised(fee: u128) -> u128 {
    fee.saturating_add(fee.div_ceil(8).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fees(max: u128, tip: u128) -> Fees {
        Fees {
            max_fee_per_gas: max,
            max_priority_fee_per_gas: tip,
        }
    }

    #[test]
    fn a_replacement_rises_from_the_last_signed_fees_not_from_a_fallen_market() {
        assert_eq!(bumped(fees(800, 80), fees(100, 1), 10_000), Some(fees(900, 90)));
        assert_eq!(bumped(fees(800, 80), fees(5_000, 500), 10_000), Some(fees(5_000, 500)));
    }

    #[test]
    fn the_ceiling_holds() {
        assert_eq!(bumped(fees(900, 80), fees(100, 1), 1_000), None);
        assert_eq!(first(fees(5_000, 2_000), 1_000), fees(1_000, 1_000));
    }

    proptest! {
        #[test]
        fn pools_take_every_replacement(
            max in 1u128..1 << 60, tip in 0u128..1 << 60, market in 0u128..1 << 60, ceiling in 1u128..1 << 61
        ) {
            let last = fees(max, tip.min(max));
            if let Some(next) = bumped(last, fees(market, market / 2), ceiling) {
                prop_assert!(next.max_fee_per_gas * 10 >= last.max_fee_per_gas * 11);
                prop_assert!(next.max_priority_fee_per_gas * 10 >= last.max_priority_fee_per_gas * 11);
                prop_assert!(next.max_fee_per_gas <= ceiling);
                prop_assert!(next.max_priority_fee_per_gas <= next.max_fee_per_gas);
            }
        }
    }
}
