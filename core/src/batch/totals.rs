//! Root mode: what every account has earned and spent since the first batch, which `payRoot` and `spendRoot` stand for.

use std::collections::BTreeMap;

use alloy_primitives::Address;

use super::{Leaf, SealError};
use crate::sum_tree::SumTree;

/// Micro-USD since the contract's first batch, up to one batch and with it. Both sides come to the same sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By payout address.
    pub earned: BTreeMap<Address, u128>,
    /// By payer.
    pub spent: BTreeMap<Address, u128>,
}

impl Totals {
    /// With the leaves of the batch that follows.
    ///
    /// # Errors
    /// `TotalTooLarge` when all batches together come to more than the contract can hold, 2^64 - 1 micro-USD.
    pub fn with(&self, leaves: &[Leaf]) -> Result<Self, SealError> {
        let mut totals = self.clone();
        for leaf in leaves {
            add(&mut totals.earned, leaf.provider, leaf.amount)?;
            add(&mut totals.spent, leaf.payer, leaf.amount)?;
        }
        totals.cumulative().map(|_| totals)
    }

    /// Sum of all batches, micro-USD: the header's `cumulative`.
    ///
    /// # Errors
    /// As [`Totals::with`].
    pub fn cumulative(&self) -> Result<u128, SealError> {
        let sum = self
            .spent
            .values()
            .try_fold(0u128, |sum, amount| sum.checked_add(*amount));
        sum.filter(|sum| *sum <= u128::from(u64::MAX))
            .ok_or(SealError::TotalTooLarge)
    }

    /// Tree of `payRoot`; `None` before anybody earned.
    pub fn pay_tree(&self) -> Option<SumTree> {
        SumTree::new(self.earned.clone())
    }

    /// Tree of `spendRoot`.
    pub fn spend_tree(&self) -> Option<SumTree> {
        SumTree::new(self.spent.clone())
    }
}

fn add(sums: &mut BTreeMap<Address, u128>, account: Address, amount: u128) -> Result<(), SealError> {
    let sum = sums.entry(account).or_default();
    *sum = sum.checked_add(amount).ok_or(SealError::SumTooLarge { account })?;
    Ok(())
}
