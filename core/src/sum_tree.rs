//! Merkle sum tree of what accounts have earned or spent in all (`payRoot`, `spendRoot`): every node is (hash, sum), a
//! parent's hash covers hash and sum of both children, lower hash first, an odd node goes up unchanged. All accounts that
//! can be proved against one root and total add up to at most the total.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolStruct, SolValue};

alloy_sol_types::sol! {
    /// One account; `cumulative` is micro-USD since the contract's first batch.
    #[derive(Debug, PartialEq, Eq)]
    struct Account {
        address account;
        uint128 cumulative;
    }
}

impl Account {
    /// Hashed twice, so that no inner node of the tree can pass for a leaf.
    pub fn hash(&self) -> B256 {
        keccak256(self.eip712_hash_struct())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    hash: B256,
    sum: u128,
}

/// A tree over accounts, ascending by address.
#[derive(Clone, Debug)]
pub struct SumTree {
    accounts: BTreeMap<Address, u128>,
    /// From the leaves up; the last one is the root alone.
    levels: Vec<Vec<Node>>,
}

impl SumTree {
    /// `None` without accounts, or when the total does not fit 128 bits.
    pub fn new(accounts: BTreeMap<Address, u128>) -> Option<Self> {
        let leaf = |(account, cumulative): (&Address, &u128)| Node {
            hash: Account {
                account: *account,
                cumulative: *cumulative,
            }
            .hash(),
            sum: *cumulative,
        };
        let mut levels = vec![accounts.iter().map(leaf).collect::<Vec<_>>()];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = level.chunks(2).map(parent_of).collect::<Option<Vec<_>>>()?;
            levels.push(above);
        }
        let is_empty = accounts.is_empty();
        (!is_empty).then_some(Self { accounts, levels })
    }

    pub fn root(&self) -> B256 {
        self.top().hash
    }

    /// Sum over all accounts, micro-USD.
    pub fn total(&self) -> u128 {
        self.top().sum
    }

    /// What `account` has, and its proof: two words a level, hash and sum of the sibling. `None` when it is not in it.
    pub fn proof(&self, account: Address) -> Option<(u128, Vec<B256>)> {
        let cumulative = *self.accounts.get(&account)?;
        let mut index = self.accounts.range(..account).count();
        let mut words = Vec::new();
        for level in &self.levels {
            if let Some(sibling) = level.get(index ^ 1) {
                words.extend([sibling.hash, B256::from(U256::from(sibling.sum))]);
            }
            index /= 2;
        }
        Some((cumulative, words))
    }

    fn top(&self) -> Node {
        // `new` keeps a tree without accounts from existing.
        let nothing = Node {
            hash: B256::ZERO,
            sum: 0,
        };
        self.levels
            .last()
            .and_then(|level| level.first())
            .copied()
            .unwrap_or(nothing)
    }
}

/// Whether `account` with `cumulative` lies under `root` and `total`; the contract's own check.
pub fn verify(root: B256, total: u128, account: &Account, proof: &[B256]) -> bool {
    let (pairs, rest) = proof.as_chunks::<2>();
    let leaf = Node {
        hash: account.hash(),
        sum: account.cumulative,
    };
    let top = pairs.iter().try_fold(leaf, |node, [hash, sum]| {
        let sum = u128::try_from(U256::from_be_bytes(sum.0)).ok()?;
        parent(node, Node { hash: *hash, sum })
    });
    rest.is_empty() && top == Some(Node { hash: root, sum: total })
}

fn parent_of(pair: &[Node]) -> Option<Node> {
    match pair {
        [left, right] => parent(*left, *right),
        // `chunks` gives no empty slice: this is the odd node.
        odd => odd.first().copied(),
    }
}

fn parent(one: Node, other: Node) -> Option<Node> {
    let (low, high) = if one.hash <= other.hash {
        (one, other)
    } else {
        (other, one)
    };
    Some(Node {
        hash: keccak256((low.hash, low.sum, high.hash, high.sum).abi_encode()),
        sum: one.sum.checked_add(other.sum)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accounts() -> impl Strategy<Value = BTreeMap<Address, u128>> {
        proptest::collection::btree_map(any::<[u8; 20]>().prop_map(Address::from), 0u128..1 << 100, 1..40)
    }

    proptest! {
        #[test]
        fn every_account_is_proven_with_its_sum_and_no_other(accounts in accounts(), more in 1u128..1000) {
            let tree = SumTree::new(accounts.clone()).unwrap();
            prop_assert_eq!(tree.total(), accounts.values().sum::<u128>());
            for (account, cumulative) in accounts {
                let (proven, proof) = tree.proof(account).unwrap();
                prop_assert_eq!(proven, cumulative);
                let is = |cumulative, total| verify(tree.root(), total, &Account { account, cumulative }, &proof);
                prop_assert!(is(cumulative, tree.total()));
                prop_assert!(!is(cumulative + more, tree.total()));
                prop_assert!(!is(cumulative, tree.total() + more));
                prop_assert!(!is(cumulative + more, tree.total() + more));
            }
        }
    }

    #[test]
    fn nobody_and_too_much_have_no_tree() {
        assert!(SumTree::new(BTreeMap::new()).is_none());
        let half = |byte| (Address::repeat_byte(byte), 1 << 127);
        assert!(SumTree::new(BTreeMap::from([half(1), half(2)])).is_none());
        let alone = SumTree::new(BTreeMap::from([half(1)])).unwrap();
        assert_eq!(alone.proof(Address::repeat_byte(1)), Some((1 << 127, vec![])));
        assert_eq!(alone.proof(Address::ZERO), None);
    }
}
