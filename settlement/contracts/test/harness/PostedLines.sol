// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Line} from "../../src/disputes/Evidence.sol";
import {Header, Leaf} from "../../src/formats/Formats.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";
import {Batches} from "./Batches.sol";
import {JobsTree} from "./JobsTree.sol";

/// A batch with its lines: what anybody who disputes it has. `words` are the leaves' positions.
struct PostedLines {
    Header header;
    Leaf[] leaves;
    bytes32[] words;
    bytes32[] debits;
    bytes32[] credits;
}

/// Builds such batches the way an honest poster does; a test bends what it wants and seals again.
library LineBatches {
    function next(SpillwaySettlement settlement, Leaf[] memory leaves)
        internal
        view
        returns (PostedLines memory lines)
    {
        lines.leaves = leaves;
        lines.words = JobsTree.positions(leaves);
        lines.debits = entries(leaves, true);
        lines.credits = entries(leaves, false);
        lines.header.sequence = settlement.nextSequence();
        lines.header.count = uint32(leaves.length);
        lines.header.total = uint128(Batches.sum(lines.debits));
        lines.header.previous = settlement.headerHashAt(lines.header.sequence - 1);
        lines.header.dataHash = keccak256(abi.encode("data", lines.header.sequence));
        seal(lines);
    }

    /// The roots and hashes of what the batch says by now.
    function seal(PostedLines memory lines) internal pure {
        lines.header.jobsRoot = JobsTree.rootOf(lines.leaves, lines.words);
        lines.header.ledgerHash = Batches.ledgerHash(lines.debits, lines.credits);
    }

    function line(PostedLines memory lines, uint256 index) internal pure returns (Line memory) {
        return Line({header: lines.header, leaf: lines.leaves[index], proof: proof(lines, index)});
    }

    function proof(PostedLines memory lines, uint256 index) internal pure returns (bytes32[] memory) {
        return JobsTree.proofOf(lines.leaves, lines.words, index);
    }

    /// Sums by payer or by provider, ascending by account.
    function entries(Leaf[] memory leaves, bool ofPayers) private pure returns (bytes32[] memory list) {
        address[] memory accounts = new address[](leaves.length);
        uint256[] memory amounts = new uint256[](leaves.length);
        uint256 count;
        for (uint256 i = 0; i < leaves.length; ++i) {
            address account = ofPayers ? leaves[i].payer : leaves[i].provider;
            uint256 place;
            while (place < count && accounts[place] != account) ++place;
            if (place == count) accounts[count++] = account;
            amounts[place] += leaves[i].amount;
        }
        list = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = Batches.entry(accounts[i], amounts[i]);
        }
        return Batches.sorted(list);
    }
}
