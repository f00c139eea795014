// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {Formats, Leaf} from "./Formats.sol";

/// The tree of `jobsRoot`: every leaf's hash paired with its position, then lower hash first; an odd node goes up unchanged.
library JobsTree {
    /// The root of all leaves of one batch, in their order; zero of none. Sums beyond 64 bits revert.
    function root(Leaf[] calldata leaves) internal pure returns (bytes32) {
        bytes32[] memory level = _nodes(leaves);
        uint256 width = level.length;
        while (width > 1) {
            width = _up(level, width);
        }
        return width == 0 ? bytes32(0) : level[0];
    }

    function _nodes(Leaf[] calldata leaves) private pure returns (bytes32[] memory level) {
        level = new bytes32[](leaves.length);
        uint64 sum;
        uint64 running;
        for (uint256 i = 0; i < leaves.length; ++i) {
            Leaf calldata leaf = leaves[i];
            if (i != 0 && leaf.provider != leaves[i - 1].provider) running = 0;
            uint64 amount = leaf.amount > type(uint64).max ? type(uint64).max : uint64(leaf.amount);
            sum += amount;
            running += amount;
            bytes32 position = Formats.position(uint32(i), sum, running);
            level[i] = Hashes.commutativeKeccak256(Formats.hash(leaf), position);
        }
    }

    /// Halves the level in place.
    function _up(bytes32[] memory level, uint256 width) private pure returns (uint256 next) {
        next = (width + 1) / 2;
        for (uint256 i = 0; i < next; ++i) {
            uint256 left = 2 * i;
            level[i] =
                left + 1 == width ? level[left] : Hashes.commutativeKeccak256(level[left], level[left + 1]);
        }
    }
}
