// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Domain} from "../formats/Domain.sol";
import {Formats, Leaf, Order} from "../formats/Formats.sol";
import {DisputesBase} from "./DisputesBase.sol";
import {Line, Unpaid} from "./Evidence.sol";

/// A line that no order of its payer covers. Orders stay off chain, so the hub must show one when asked.
abstract contract Orders is DisputesBase {
    using Formats for Leaf;
    using Formats for Order;

    /// Asks for the signed order of a line. Not answered in time, the line is void: the payer gets its amount back, the
    /// guarantor pays the penalty, the bond returns. Answered, the bond is the provider's.
    function challengeOrder(Line calldata line) external nonReentrant returns (uint256 id) {
        _requireDisputable(line.header);
        Leaf calldata leaf = line.leaf;
        return _openDispute(Fault.MissingOrder, _rank(line), leaf, leaf.amount, uint128(penalty), answerTime);
    }

    /// Shows the order; anybody who has it may.
    function answerOrder(uint256 id, Leaf calldata leaf, Order calldata order, bytes calldata signature)
        external
        nonReentrant
    {
        Dispute storage found = _open(id, Fault.MissingOrder);
        if (leaf.hash() != found.leafHash) revert LeafMismatch(found.leafHash, leaf.hash());
        if (!_covers(order, leaf)) revert OrderMismatch(leaf.order);
        bytes32 digest = Domain.digest(address(settlement), order.hash());
        if (!settlement.everSigned(order.payer, digest, signature)) revert OrderNotSigned(order.payer);
        _refute(id, found);
    }

    /// After the deadline, anyone.
    function resolveOrder(uint256 id, Unpaid calldata unpaid) external nonReentrant {
        Dispute storage found = _open(id, Fault.MissingOrder);
        _prove(found, guarantor);
        _void(found.rank, _claimant(found), guarantor, found.refund, found.slash, unpaid);
    }

    /// The order that a line names does not allow it: it is for something else, or for less.
    function proveExceededOrder(Line calldata line, Order calldata order, Unpaid calldata unpaid)
        external
        nonReentrant
    {
        _requireDisputable(line.header);
        uint256 rank = _rank(line);
        Leaf calldata leaf = line.leaf;
        if (order.hash() != leaf.order) revert OrderMismatch(leaf.order);
        if (_covers(order, leaf)) revert NothingProven();
        _raiseProven(Fault.ExceededOrder, rank, guarantor);
        uint256 refund = _isFor(order, leaf) ? leaf.amount - order.upperBound : leaf.amount;
        _void(rank, _claimant(leaf), guarantor, refund, penalty, unpaid);
    }

    function _covers(Order calldata order, Leaf calldata leaf) private pure returns (bool) {
        return order.hash() == leaf.order && _isFor(order, leaf) && leaf.amount <= order.upperBound;
    }

    function _isFor(Order calldata order, Leaf calldata leaf) private pure returns (bool) {
        return order.job == leaf.job && order.shard == leaf.shard && order.attempt == leaf.attempt
            && order.kind == leaf.kind && order.payer == leaf.payer && order.provider == leaf.provider;
    }
}
