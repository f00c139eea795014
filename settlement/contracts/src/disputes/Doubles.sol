// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Domain} from "../formats/Domain.sol";
import {Formats, Leaf, Receipt} from "../formats/Formats.sol";
import {DisputesBase} from "./DisputesBase.sol";
import {Line, Unpaid} from "./Evidence.sol";

/// The same thing twice: a shard that is paid twice, and an attempt with two results.
abstract contract Doubles is DisputesBase {
    using Formats for Receipt;

    /// Two lines pay the same shard and kind of a job. The later one is void.
    function proveDuplicate(Line calldata first, Line calldata second, Unpaid calldata unpaid)
        external
        nonReentrant
    {
        _requirePosted(first.header);
        _requireDisputable(second.header);
        uint256 rank = _rank(second);
        if (_rank(first) >= rank || _payment(first.leaf) != _payment(second.leaf)) revert NothingProven();
        _raiseProven(Fault.Duplicate, rank, guarantor);
        Leaf calldata leaf = second.leaf;
        _void(rank, _claimant(leaf), guarantor, leaf.amount, penalty, unpaid);
    }

    /// Two receipts for the order of a paid line, signed by its provider, with different results. The line is void, the
    /// provider loses the penalty, and what it has not been paid yet waits for verdicts.
    function proveEquivocation(
        Line calldata line,
        Receipt calldata one,
        bytes calldata signatureOfOne,
        Receipt calldata other,
        bytes calldata signatureOfOther,
        Unpaid calldata unpaid
    ) external nonReentrant {
        _requireDisputable(line.header);
        uint256 rank = _rank(line);
        Leaf calldata leaf = line.leaf;
        bool same = one.outputDigest == other.outputDigest;
        if (one.order != leaf.order || other.order != leaf.order || same) revert NothingProven();
        _requireSigned(leaf.provider, one, signatureOfOne);
        _requireSigned(leaf.provider, other, signatureOfOther);
        _raiseProven(Fault.Equivocation, rank, leaf.provider);
        settlement.freeze(leaf.provider, uint64(block.timestamp) + appealTime);
        _void(rank, _claimant(leaf), leaf.provider, leaf.amount, penalty, unpaid);
    }

    function _payment(Leaf calldata leaf) private pure returns (bytes32) {
        return keccak256(abi.encode(leaf.job, leaf.shard, leaf.kind));
    }

    function _requireSigned(address provider, Receipt calldata receipt, bytes calldata signature)
        private
        view
    {
        signers.requireReceipt(provider, Domain.digest(address(settlement), receipt.hash()), signature);
    }
}
