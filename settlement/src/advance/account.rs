//! The poster's key as the logs of all Settlements know it: fees at nonces that other batches used, and what the day cost.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use spillway_crds::{Settlement, SettlementState, TransactionAttempt};

use crate::transaction::{Fees, stored_fees};

const DAY_SECONDS: u64 = 86_400;

/// One signed transaction, as far as other batches need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    pub from: Address,
    pub nonce: u64,
    pub gas_limit: u64,
    pub fees: Fees,
    /// Block time, Unix seconds.
    pub at: u64,
}

/// What is kept of one Settlement between passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub state: SettlementState,
    pub signed: Vec<Signed>,
}

/// What was signed in one day, each nonce once and at its dearest: one transaction of a nonce is mined at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub gas: u64,
    pub wei: u128,
}

/// Facts about a key that no single log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub address: Address,
    /// The nonce after the highest that any log names; `None` when no log names this key.
    pub next_nonce: Option<u64>,
    /// Dearest fees signed at each nonce that a batch which is not on chain may still hold in a pool.
    pub pending: BTreeMap<u64, Fees>,
    pub today: Spent,
}

impl Entry {
    /// Attempts whose fields cannot be read are left out: `advance` stops at them in their own batch.
    pub fn of(settlement: &Settlement) -> Self {
        let status = settlement.status.clone().unwrap_or_default();
        Self {
            name: settlement.metadata.name.clone().unwrap_or_default(),
            state: status.state,
            signed: status.attempts.iter().filter_map(signed).collect(),
        }
    }
}

fn signed(attempt: &TransactionAttempt) -> Option<Signed> {
    Some(Signed {
        from: attempt.from.as_ref()?.parse().ok()?,
        nonce: attempt.nonce,
        gas_limit: attempt.gas_limit,
        fees: stored_fees(attempt).ok()?,
        at: u64::try_from(attempt.signed_at.0.as_second()).unwrap_or_default(),
    })
}

impl Account {
    /// The account at block time `now`.
    pub fn of<'a>(address: Address, logs: impl IntoIterator<Item = &'a Entry>, now: u64) -> Self {
        let mut account = Self {
            address,
            ..Self::default()
        };
        let mut dearest: BTreeMap<u64, (u64, u128)> = BTreeMap::new();
        for log in logs {
            for signed in log.signed.iter().filter(|signed| signed.from == address) {
                account.next_nonce = account.next_nonce.max(signed.nonce.checked_add(1));
                if !super::is_on_chain(log.state) {
                    account.remember_fees(signed);
                }
                if signed.at / DAY_SECONDS == now / DAY_SECONDS {
                    let cost = cost(signed.gas_limit, signed.fees);
                    let (gas, wei) = dearest.entry(signed.nonce).or_default();
                    (*gas, *wei) = ((*gas).max(signed.gas_limit), (*wei).max(cost));
                }
            }
        }
        for (gas, wei) in dearest.into_values() {
            account.today.gas = account.today.gas.saturating_add(gas);
            account.today.wei = account.today.wei.saturating_add(wei);
        }
        account
    }

    fn remember_fees(&mut self, signed: &Signed) {
        let fees = self.pending.entry(signed.nonce).or_insert(signed.fees);
        fees.max_fee_per_gas = fees.max_fee_per_gas.max(signed.fees.max_fee_per_gas);
        fees.max_priority_fee_per_gas = fees.max_priority_fee_per_gas.max(signed.fees.max_priority_fee_per_gas);
    }
}

/// Wei that a transaction costs at most.
pub(super) fn cost(gas_limit: u64, fees: Fees) -> u128 {
    u128::from(gas_limit).saturating_mul(fees.max_fee_per_gas)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Address = Address::repeat_byte(7);
    const NOON: u64 = 20_000 * DAY_SECONDS + DAY_SECONDS / 2;

    fn signed(nonce: u64, max_fee_per_gas: u128, at: u64) -> Signed {
        Signed {
            from: KEY,
            nonce,
            gas_limit: 100,
            fees: Fees {
                max_fee_per_gas,
                max_priority_fee_per_gas: 1,
            },
            at,
        }
    }

    fn log(state: SettlementState, signed: Vec<Signed>) -> Entry {
        let name = "settlement-1".to_owned();
        Entry { name, state, signed }
    }

    #[test]
    fn a_nonce_costs_the_day_once_and_at_its_dearest() {
        let yesterday = NOON - DAY_SECONDS;
        let logs = [
            log(
                SettlementState::Final,
                vec![signed(1, 10, yesterday), signed(2, 10, NOON)],
            ),
            log(
                SettlementState::Broadcast,
                vec![signed(3, 10, NOON), signed(3, 20, NOON)],
            ),
        ];
        let account = Account::of(KEY, &logs, NOON);
        assert_eq!(account.today, Spent { gas: 200, wei: 3_000 });
        assert_eq!(account.next_nonce, Some(4));
    }

    #[test]
    fn fees_at_a_nonce_outlive_the_batch_that_failed_with_it() {
        let logs = [
            log(SettlementState::Failed, vec![signed(3, 90, NOON), signed(3, 80, NOON)]),
            log(SettlementState::Final, vec![signed(2, 50, NOON)]),
        ];
        let pending = Account::of(KEY, &logs, NOON).pending;
        assert_eq!(pending.keys().copied().collect::<Vec<_>>(), [3]);
        assert_eq!(pending[&3].max_fee_per_gas, 90);
    }

    #[test]
    fn other_keys_do_not_count() {
        let other = Signed {
            from: Address::repeat_byte(9),
            ..signed(1, 10, NOON)
        };
        let account = Account::of(KEY, &[log(SettlementState::Final, vec![other])], NOON);
        assert_eq!(
            account,
            Account {
                address: KEY,
                ..Account::default()
            }
        );
    }
}
