//! Merkle tree over 32-byte leaves: pairs hashed in sorted order (OpenZeppelin `MerkleProof`), an odd node is
//! promoted unchanged, one leaf is its own root.

use alloy_primitives::{B256, keccak256};

/// Root of the tree; `None` without leaves.
pub fn root(leaves: &[B256]) -> Option<B256> {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = parents(&level);
    }
    level.first().copied()
}

/// Siblings from the leaf at `index` up to the root; `None` when there is no such leaf.
pub fn proof(leaves: &[B256], mut index: usize) -> Option<Vec<B256>> {
    leaves.get(index)?;
    let (mut level, mut siblings) = (leaves.to_vec(), Vec::new());
    while level.len() > 1 {
        siblings.extend(level.get(index ^ 1));
        level = parents(&level);
        index /= 2;
    }
    Some(siblings)
}

/// [`proof`] of every leaf, in the leaves' order; the tree is hashed once.
pub fn proofs(leaves: &[B256]) -> Vec<Vec<B256>> {
    let mut proofs = vec![Vec::new(); leaves.len()];
    let (mut level, mut height) = (leaves.to_vec(), 0);
    while level.len() > 1 {
        for (index, proof) in proofs.iter_mut().enumerate() {
            proof.extend(level.get((index >> height) ^ 1));
        }
        level = parents(&level);
        height += 1;
    }
    proofs
}

/// Whether `proof` leads from `leaf` to `root`.
pub fn verify(root: B256, leaf: B256, proof: &[B256]) -> bool {
    proof.iter().fold(leaf, |node, sibling| parent(node, *sibling)) == root
}

fn parents(level: &[B256]) -> Vec<B256> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => parent(*left, *right),
            // `chunks` gives no empty slice: this is the odd node.
            odd => odd[0],
        })
        .collect()
}

/// Hash of two nodes, whatever their order.
pub fn parent(one: B256, other: B256) -> B256 {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    keccak256([low, high].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: usize) -> Vec<B256> {
        (0..count).map(|index| keccak256(index.to_be_bytes())).collect()
    }

    #[test]
    fn small_trees_have_the_expected_shape() {
        let four = leaves(4);
        assert_eq!(root(&[]), None);
        assert_eq!(root(&four[..1]), Some(four[0]));
        assert_eq!(root(&four[..2]), Some(parent(four[1], four[0])));
        assert_eq!(root(&four[..3]), Some(parent(parent(four[0], four[1]), four[2])));
        assert_eq!(proof(&four[..3], 2), Some(vec![parent(four[0], four[1])]));
        assert_eq!(proof(&four, 4), None);
    }

    proptest! {
        #[test]
        fn each_leaf_has_a_proof_and_a_stranger_has_none(count in 1usize..70, pick: prop::sample::Index) {
            let tree = leaves(count);
            let index = pick.index(count);
            let (root, proof) = (root(&tree).unwrap(), proof(&tree, index).unwrap());
            prop_assert!(verify(root, tree[index], &proof));
            prop_assert_eq!(&proofs(&tree)[index], &proof);
            prop_assert!(!verify(root, keccak256(b"stranger"), &proof));
        }

        #[test]
        fn another_leaf_changes_the_root(count in 1usize..70, pick: prop::sample::Index) {
            let mut tree = leaves(count);
            let before = root(&tree);
            tree[pick.index(count)] = keccak256(b"stranger");
            prop_assert_ne!(before, root(&tree));
        }
    }
}
