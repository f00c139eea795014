// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header} from "../../src/formats/Formats.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";

/// A header with its entries: the arguments of one `post`.
struct Batch {
    Header header;
    bytes32[] debits;
    bytes32[] credits;
}

/// Builds batches the way the poster does.
library Batches {
    function entry(address account, uint256 amount) internal pure returns (bytes32) {
        require(amount <= type(uint96).max, "entry: amount");
        return bytes32(uint256(uint160(account)) << 96 | amount);
    }

    function list(bytes32 only) internal pure returns (bytes32[] memory entries) {
        entries = new bytes32[](1);
        entries[0] = only;
    }

    /// Sorts by address; good for the few entries of a test.
    function sorted(bytes32[] memory entries) internal pure returns (bytes32[] memory) {
        for (uint256 i = 1; i < entries.length; ++i) {
            for (uint256 j = i; j > 0 && entries[j] < entries[j - 1]; --j) {
                (entries[j], entries[j - 1]) = (entries[j - 1], entries[j]);
            }
        }
        return entries;
    }

    function sum(bytes32[] memory entries) internal pure returns (uint256 total) {
        for (uint256 i = 0; i < entries.length; ++i) {
            total += uint96(uint256(entries[i]));
        }
    }

    function ledgerHash(bytes32[] memory debits, bytes32[] memory credits) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(keccak256(abi.encodePacked(debits)), keccak256(abi.encodePacked(credits))));
    }

    /// The batch that `settlement` accepts next, with these entries.
    function next(SpillwaySettlement settlement, bytes32[] memory debits, bytes32[] memory credits)
        internal
        view
        returns (Batch memory batch)
    {
        uint64 sequence = settlement.nextSequence();
        batch.debits = debits;
        batch.credits = credits;
        batch.header = Header({
            sequence: sequence,
            count: uint32(credits.length),
            total: uint128(sum(debits)),
            cumulative: 0,
            previous: settlement.headerHashAt(sequence - 1),
            jobsRoot: keccak256(abi.encode("jobs", sequence)),
            payRoot: bytes32(0),
            spendRoot: bytes32(0),
            ledgerHash: ledgerHash(debits, credits),
            dataHash: keccak256(abi.encode("data", sequence))
        });
    }
}
