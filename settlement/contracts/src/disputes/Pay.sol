// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header} from "../formats/Formats.sol";
import {DisputesBase} from "./DisputesBase.sol";
import {Line} from "./Evidence.sol";

/// Root mode: a provider that has a line in a batch can ask for its place in the batch's pay root, which the hub alone may
/// hold. An answer is all that a claim needs; without one the roots count for nothing.
abstract contract Pay is DisputesBase {
    function challengePay(Line calldata line) external nonReentrant returns (uint256 id) {
        if (!isRoot) revert NothingProven();
        _requireDisputable(line.header);
        return _openDispute(Fault.WithheldPay, _rank(line), line.leaf, 0, 0, answerTime);
    }

    function answerPay(uint256 id, Header calldata header, uint128 cumulative, bytes32[] calldata proof)
        external
        nonReentrant
    {
        Dispute storage found = _open(id, Fault.WithheldPay);
        _requirePosted(header);
        if (header.sequence != found.rank >> 32) revert HeaderNotPosted(header.sequence);
        _requireAccount(header, found.provider, cumulative, proof);
        emit PayShown(id, found.provider, cumulative, proof);
        _refute(id, found);
    }

    /// After the deadline, anyone. A batch breaks once; the bond returns every time.
    function resolvePay(uint256 id) external nonReentrant {
        Dispute storage found = _open(id, Fault.WithheldPay);
        _prove(found, guarantor);
        uint64 sequence = uint64(found.rank >> 32);
        if (!_isRaised(Fault.BrokenSum, sequence)) _break(sequence, found.challenger);
    }
}
