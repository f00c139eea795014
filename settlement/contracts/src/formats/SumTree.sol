// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Merkle sum tree: every node is (hash, sum), a parent's hash covers hash and sum of both children, lower hash first;
/// an odd node goes up unchanged. All leaves that can be proved against one root and total add up to at most the total.
library SumTree {
    /// Whether (`leaf`, `amount`) lies under (`root`, `total`). `proof` has two words per level from the leaf up: the
    /// sibling's hash and its sum.
    function verify(bytes32 root, uint256 total, bytes32 leaf, uint256 amount, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        if (proof.length % 2 != 0) return false;
        bytes32 node = leaf;
        uint256 sum = amount;
        for (uint256 i = 0; i < proof.length; i += 2) {
            uint256 beside = uint256(proof[i + 1]);
            if (beside > type(uint128).max) return false;
            node = parent(node, sum, proof[i], beside);
            sum += beside;
        }
        return node == root && sum == total;
    }

    function parent(bytes32 a, uint256 sumA, bytes32 b, uint256 sumB) internal pure returns (bytes32) {
        return a <= b ? keccak256(abi.encode(a, sumA, b, sumB)) : keccak256(abi.encode(b, sumB, a, sumA));
    }
}
