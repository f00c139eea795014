// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Formats, Header, Leaf} from "../formats/Formats.sol";
import {SumTree} from "../formats/SumTree.sol";
import {SpillwaySettlement} from "../settlement/SpillwaySettlement.sol";

/// A paid line: `proof` leads from the leaf, its position first, to the header's `jobsRoot`.
struct Line {
    Header header;
    Leaf leaf;
    bytes32[] proof;
}

/// Root mode: where a provider's unpaid value is taken from, a final header and the provider's proof in its `payRoot`.
/// All zero in ledger mode, or when there is none.
struct Unpaid {
    Header header;
    uint128 cumulative;
    bytes32[] proof;
}

/// Proof that a line was paid in a batch that is not final, and where it stands there.
abstract contract Evidence {
    using Formats for Leaf;

    /// Where a leaf stands in its batch, and the sums up to it and with it.
    struct Place {
        uint256 index;
        uint256 sum;
        uint256 running;
    }

    /// The header is not in the settlement contract's ring, or another was posted at its sequence.
    error HeaderNotPosted(uint64 sequence);
    /// Final: nothing about it can be disputed any more.
    error HeaderFinal(uint64 sequence);
    error LineNotInBatch(bytes32 leafHash);
    /// What was shown proves nothing.
    error NothingProven();

    SpillwaySettlement public immutable settlement;

    constructor(SpillwaySettlement settlement_) {
        settlement = settlement_;
    }

    /// The header must be the one posted at its sequence, and not final yet.
    function _requireDisputable(Header calldata header) internal view {
        _requirePosted(header);
        if (header.sequence < settlement.finalEnd()) revert HeaderFinal(header.sequence);
    }

    function _requirePosted(Header calldata header) internal view {
        if (!settlement.isPosted(header)) revert HeaderNotPosted(header.sequence);
    }

    function _place(Line calldata line) internal pure returns (Place memory) {
        return _place(line.header, line.leaf, line.proof);
    }

    /// A position has nothing in its high 96 bits: no hash of a leaf can pass for one.
    function _place(Header calldata header, Leaf calldata leaf, bytes32[] calldata proof)
        internal
        pure
        returns (Place memory)
    {
        bytes32 leafHash = leaf.hash();
        uint256 position = proof.length == 0 ? type(uint256).max : uint256(proof[0]);
        if (position >> 160 != 0 || !MerkleProof.verifyCalldata(proof, header.jobsRoot, leafHash)) {
            revert LineNotInBatch(leafHash);
        }
        return Place({index: position >> 128, sum: uint64(position >> 64), running: uint64(position)});
    }

    /// Sequence and index of a line: no two have the same.
    function _rank(Line calldata line) internal pure returns (uint256) {
        return uint256(line.header.sequence) << 32 | _place(line).index;
    }

    /// Reverts unless `account` has earned `cumulative` in all by the header's pay root.
    function _requireAccount(
        Header calldata header,
        address account,
        uint128 cumulative,
        bytes32[] calldata proof
    ) internal pure {
        bytes32 leaf = Formats.accountHash(account, cumulative);
        if (!SumTree.verify(header.payRoot, header.cumulative, leaf, cumulative, proof)) {
            revert NothingProven();
        }
    }
}
