//! What every account pays or earns in a batch, packed for the contract.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, keccak256};

use super::{Leaf, SealError};

const AMOUNT_MAX: u128 = (1 << 96) - 1;

/// Debits and credits, packed, each ascending by address.
///
/// # Errors
/// `SumTooLarge` when an account's sum exceeds 96 bits.
pub fn entries(leaves: &[Leaf]) -> Result<(Vec<B256>, Vec<B256>), SealError> {
    let debits = sums(leaves, |leaf| leaf.payer)?;
    let credits = sums(leaves, |leaf| leaf.provider)?;
    Ok((debits, credits))
}

fn sums(leaves: &[Leaf], account: impl Fn(&Leaf) -> Address) -> Result<Vec<B256>, SealError> {
    let mut sums = BTreeMap::<Address, u128>::new();
    for leaf in leaves {
        let sum = sums.entry(account(leaf)).or_default();
        let added = sum.checked_add(leaf.amount).filter(|added| *added <= AMOUNT_MAX);
        *sum = added.ok_or_else(|| SealError::SumTooLarge { account: account(leaf) })?;
    }
    Ok(sums.into_iter().map(|(account, sum)| pack(account, sum)).collect())
}

fn pack(account: Address, amount: u128) -> B256 {
    let mut entry = B256::ZERO;
    entry[..20].copy_from_slice(account.as_slice());
    entry[20..].copy_from_slice(&amount.to_be_bytes()[4..]);
    entry
}

/// Account and amount of a packed entry.
pub fn entry_parts(entry: B256) -> (Address, u128) {
    let mut amount = [0; 16];
    amount[4..].copy_from_slice(&entry[20..]);
    (Address::from_slice(&entry[..20]), u128::from_be_bytes(amount))
}

/// keccak256(abi.encode(keccak256(debits), keccak256(credits))).
pub fn ledger_hash(debits: &[B256], credits: &[B256]) -> B256 {
    keccak256([keccak256(debits.concat()), keccak256(credits.concat())].concat())
}
