// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Formats} from "../../src/formats/Formats.sol";

/// What one account has earned or spent in all.
struct Account {
    address account;
    uint128 cumulative;
}

/// Builds the trees of `payRoot` and `spendRoot`, ascending by account; written apart from `src/SumTree.sol`.
library SumTrees {
    struct Node {
        bytes32 hash;
        uint256 sum;
    }

    function leaves(Account[] memory accounts) internal pure returns (Node[] memory level) {
        level = new Node[](accounts.length);
        for (uint256 i = 0; i < accounts.length; ++i) {
            Account memory it = accounts[i];
            level[i] = Node(Formats.accountHash(it.account, it.cumulative), it.cumulative);
        }
    }

    function root(Account[] memory accounts) internal pure returns (bytes32) {
        Node[] memory level = leaves(accounts);
        while (level.length > 1) level = above(level);
        return level[0].hash;
    }

    function total(Account[] memory accounts) internal pure returns (uint256 sum) {
        for (uint256 i = 0; i < accounts.length; ++i) {
            sum += accounts[i].cumulative;
        }
    }

    /// Two words a level: hash and sum of the sibling.
    function proof(Account[] memory accounts, uint256 index) internal pure returns (bytes32[] memory path) {
        Node[] memory level = leaves(accounts);
        bytes32[] memory steps = new bytes32[](64);
        uint256 count;
        while (level.length > 1) {
            uint256 sibling = index ^ 1;
            if (sibling < level.length) {
                steps[count++] = level[sibling].hash;
                steps[count++] = bytes32(level[sibling].sum);
            }
            index /= 2;
            level = above(level);
        }
        path = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            path[i] = steps[i];
        }
    }

    function above(Node[] memory level) private pure returns (Node[] memory next) {
        next = new Node[]((level.length + 1) / 2);
        for (uint256 i = 0; i < next.length; ++i) {
            bool alone = 2 * i + 1 == level.length;
            next[i] = alone ? level[2 * i] : parent(level[2 * i], level[2 * i + 1]);
        }
    }

    function parent(Node memory a, Node memory b) private pure returns (Node memory) {
        (Node memory low, Node memory high) = a.hash < b.hash ? (a, b) : (b, a);
        bytes memory both = bytes.concat(low.hash, bytes32(low.sum), high.hash, bytes32(high.sum));
        return Node(keccak256(both), a.sum + b.sum);
    }
}
