//! Money in integer micro-USD, equal to one unit of a token with 6 decimals.
//!
//! Rounding happens once, in [`UnitPrice::cost`], and always up to the next micro-unit.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MICRO_PER_USD: u64 = 1_000_000;
const MILLIS_PER_HOUR: u128 = 3_600_000;

/// An amount of money in micro-USD (10^-6 USD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("`{0}` is not an amount: write a decimal string such as \"1.20\", at most 6 digits after the point")]
    Malformed(String),
    #[error("`{0}` is larger than the largest amount, 18446744073709.551615")]
    TooLarge(String),
}

impl MicroUsd {
    pub const ZERO: Self = Self(0);

    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl FromStr for MicroUsd {
    type Err = MoneyError;

    /// Parses a decimal string of USD, such as `"1.20"`; no sign, no exponent.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let malformed = || MoneyError::Malformed(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let ends_in_point = text.contains('.') && fraction.is_empty();
        if whole.is_empty() || ends_in_point || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(malformed());
        }
        let too_large = || MoneyError::TooLarge(text.to_owned());
        let whole: u64 = whole.parse().map_err(|_| too_large())?;
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| malformed())?;
        whole
            .checked_mul(MICRO_PER_USD)
            .and_then(|micro| micro.checked_add(fraction))
            .map(Self)
            .ok_or_else(too_large)
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:06}", self.0 / MICRO_PER_USD, self.0 % MICRO_PER_USD)
    }
}

impl Sum for MicroUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// A price in micro-USD per GPU and hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitPrice(pub u64);

impl UnitPrice {
    /// Cost of `gpu_millis` GPU-milliseconds, rounded up to the next micro-USD, saturating.
    pub fn cost(self, gpu_millis: u64) -> MicroUsd {
        let exact = u128::from(self.0) * u128::from(gpu_millis);
        MicroUsd(u64::try_from(exact.div_ceil(MILLIS_PER_HOUR)).unwrap_or(u64::MAX))
    }

    /// GPU-milliseconds, rounded up, after which `amount` is used up: what comes later costs nothing more under that
    /// bound. Saturating; `u64::MAX` at a price of 0.
    pub fn millis_within(self, amount: MicroUsd) -> u64 {
        let exact = u128::from(amount.0) * MILLIS_PER_HOUR;
        match self.0 {
            0 => u64::MAX,
            price => u64::try_from(exact.div_ceil(u128::from(price))).unwrap_or(u64::MAX),
        }
    }
}

impl FromStr for UnitPrice {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        text.parse::<MicroUsd>().map(|amount| Self(amount.0))
    }
}

impl fmt::Display for UnitPrice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        MicroUsd(self.0).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_decimal_strings() {
        assert_eq!("1.20".parse(), Ok(MicroUsd(1_200_000)));
        assert_eq!("0.000001".parse(), Ok(MicroUsd(1)));
        assert_eq!("7".parse(), Ok(MicroUsd(7_000_000)));
    }

    #[test]
    fn refuses_what_is_not_an_amount() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000001", "1,20", "NaN", " 1"] {
            assert!(
                matches!(text.parse::<MicroUsd>(), Err(MoneyError::Malformed(_))),
                "{text:?}"
            );
        }
        assert!(matches!(
            "99999999999999999999".parse::<MicroUsd>(),
            Err(MoneyError::TooLarge(_))
        ));
    }

    #[test]
    fn cost_rounds_up_once() {
        assert_eq!(UnitPrice(3_600_000).cost(1), MicroUsd(1));
        assert_eq!(UnitPrice(1).cost(1), MicroUsd(1));
        assert_eq!(UnitPrice(1_200_000).cost(3_600_000), MicroUsd(1_200_000));
        assert_eq!(UnitPrice(0).cost(u64::MAX), MicroUsd::ZERO);
    }

    proptest! {
        #[test]
        fn display_and_parse_agree(micro: u64) {
            prop_assert_eq!(MicroUsd(micro).to_string().parse(), Ok(MicroUsd(micro)));
        }

        #[test]
        fn a_bound_costs_the_same_in_money_and_in_time(price: u64, millis: u64, bound: u64) {
            let (price, bound) = (UnitPrice(price), MicroUsd(bound));
            let billed = millis.min(price.millis_within(bound));
            prop_assert_eq!(price.cost(billed).min(bound), price.cost(millis).min(bound));
            prop_assert!(billed == 0 || price.cost(billed - 1) <= bound);
        }

        #[test]
        fn cost_is_monotone(price in 0u64..1 << 40, shorter in 0u64..1 << 30, more in 0u64..1 << 30) {
            prop_assert!(UnitPrice(price).cost(shorter) <= UnitPrice(price).cost(shorter + more));
        }
    }
}
