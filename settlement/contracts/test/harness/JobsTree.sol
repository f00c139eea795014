// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Formats, Leaf} from "../../src/formats/Formats.sol";
import {Merkle} from "./Merkle.sol";

/// The tree of `jobsRoot`: over each leaf's hash paired with its position.
library JobsTree {
    using Formats for Leaf;

    function positions(Leaf[] memory leaves) internal pure returns (bytes32[] memory words) {
        words = new bytes32[](leaves.length);
        uint256 sum;
        uint256 running;
        for (uint256 i = 0; i < leaves.length; ++i) {
            bool goesOn = i != 0 && leaves[i].provider == leaves[i - 1].provider;
            running = (goesOn ? running : 0) + leaves[i].amount;
            sum += leaves[i].amount;
            require(sum <= type(uint64).max, "positions: sum");
            words[i] = bytes32(i << 128 | sum << 64 | running);
        }
    }

    function root(Leaf[] memory leaves) internal pure returns (bytes32) {
        return rootOf(leaves, positions(leaves));
    }

    function proof(Leaf[] memory leaves, uint256 index) internal pure returns (bytes32[] memory) {
        return proofOf(leaves, positions(leaves), index);
    }

    /// With positions of one's own choice, as a lying poster would.
    function rootOf(Leaf[] memory leaves, bytes32[] memory words) internal pure returns (bytes32) {
        return Merkle.root(nodes(leaves, words));
    }

    function proofOf(Leaf[] memory leaves, bytes32[] memory words, uint256 index)
        internal
        pure
        returns (bytes32[] memory path)
    {
        bytes32[] memory above = Merkle.proof(nodes(leaves, words), index);
        path = new bytes32[](above.length + 1);
        path[0] = words[index];
        for (uint256 i = 0; i < above.length; ++i) {
            path[i + 1] = above[i];
        }
    }

    function nodes(Leaf[] memory leaves, bytes32[] memory words)
        private
        pure
        returns (bytes32[] memory level)
    {
        level = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            level[i] = Merkle.pairHash(leaves[i].hash(), words[i]);
        }
    }
}
