// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Formats, Header, Leaf} from "../formats/Formats.sol";
import {SumTree} from "../formats/SumTree.sol";
import {DisputesBase} from "./DisputesBase.sol";

/// Sums and order of a batch that do not hold. One leaf, or two neighbours, show it: every position carries the sums up to
/// it. The poster is stopped, the guarantor pays the penalty; no single payer can be named, so all of it but the
/// challenger's share is kept for those who were harmed.
abstract contract Sums is DisputesBase {
    using Formats for Leaf;

    /// A leaf that cannot stand where it stands: beyond the count, first without starting its sums, last without ending at
    /// the total.
    function proveWrongLeaf(Line calldata line) external nonReentrant {
        _requireDisputable(line.header);
        Place memory place = _place(line);
        uint256 amount = line.leaf.amount;
        bool isWrong = place.index >= line.header.count
            || (place.index == 0 && (place.sum != amount || place.running != amount))
            || (place.index + 1 == line.header.count && place.sum != line.header.total);
        if (!isWrong) revert NothingProven();
        _break(line.header.sequence, msg.sender);
    }

    /// Two leaves of one batch, at the same place or one after the other, of which the second does not follow from the first.
    function proveWrongNeighbours(
        Header calldata header,
        Leaf calldata left,
        bytes32[] calldata leftProof,
        Leaf calldata right,
        bytes32[] calldata rightProof
    ) external nonReentrant {
        _requireDisputable(header);
        Place memory a = _place(header, left, leftProof);
        Place memory b = _place(header, right, rightProof);
        bool sameProvider = left.provider == right.provider;
        bool isWrong = a.index == b.index
            ? leftProof[0] != rightProof[0] || left.hash() != right.hash()
            : a.index + 1 == b.index
                && (b.sum != a.sum + right.amount
                    || b.running != (sameProvider ? a.running : 0) + right.amount
                    || !_ascend(left, right));
        if (!isWrong) revert NothingProven();
        _break(header.sequence, msg.sender);
    }

    /// Ledger mode: the entry that credits a provider is not what its leaves come to. `next` is the leaf after the provider's
    /// last one; it is not read when that is the last of the batch.
    function proveWrongCredit(
        Line calldata last,
        Leaf calldata next,
        bytes32[] calldata nextProof,
        bytes32[] calldata debits,
        bytes32[] calldata credits
    ) external nonReentrant {
        _requireDisputable(last.header);
        uint256 running = _requireLastOfProvider(last, next, nextProof);
        if (Formats.ledgerHash(debits, credits) != last.header.ledgerHash) revert NothingProven();
        uint256 credited;
        for (uint256 i = 0; i < credits.length; ++i) {
            (address account, uint256 amount) = Formats.entry(credits[i]);
            if (account == last.leaf.provider) credited = amount;
        }
        if (credited == running) revert NothingProven();
        _break(last.header.sequence, msg.sender);
    }

    /// Root mode: what a provider has earned in all did not grow by what its leaves come to. `before` is the header right
    /// before; at sequence 1 it is not read, and the provider had earned nothing.
    function proveWrongPay(
        Line calldata last,
        Leaf calldata next,
        bytes32[] calldata nextProof,
        Unpaid calldata before,
        uint128 cumulative,
        bytes32[] calldata proof
    ) external nonReentrant {
        _requireDisputable(last.header);
        uint256 running = _requireLastOfProvider(last, next, nextProof);
        address provider = last.leaf.provider;
        _requireAccount(last.header, provider, cumulative, proof);
        uint256 earnedBefore;
        if (last.header.sequence != 1) {
            _requirePosted(before.header);
            if (before.header.sequence + 1 != last.header.sequence) revert NothingProven();
            _requireAccount(before.header, provider, before.cumulative, before.proof);
            earnedBefore = before.cumulative;
        }
        if (earnedBefore + running == cumulative) revert NothingProven();
        _break(last.header.sequence, msg.sender);
    }

    /// Root mode: a provider that the tree knows has earned less in all than in this one batch. Needs no earlier header.
    function proveTooLittlePay(Line calldata line, uint128 cumulative, bytes32[] calldata proof)
        external
        nonReentrant
    {
        _requireDisputable(line.header);
        Place memory place = _place(line);
        _requireAccount(line.header, line.leaf.provider, cumulative, proof);
        if (cumulative >= place.running) revert NothingProven();
        _break(line.header.sequence, msg.sender);
    }

    // Root mode: a provider that has a line in a batch can ask for its place in the batch's pay root, which the hub alone may
    // hold. An answer is all that a claim needs; without one the roots count for nothing.

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

    function _requireLastOfProvider(Line calldata last, Leaf calldata next, bytes32[] calldata nextProof)
        private
        pure
        returns (uint256 running)
    {
        Place memory place = _place(last);
        running = place.running;
        if (place.index + 1 == last.header.count) return running;
        Place memory after_ = _place(last.header, next, nextProof);
        bool isNext = after_.index == place.index + 1 && next.provider != last.leaf.provider;
        if (!isNext) revert NothingProven();
    }

    function _requireAccount(
        Header calldata header,
        address account,
        uint128 cumulative,
        bytes32[] calldata proof
    ) private pure {
        bytes32 leaf = Formats.accountHash(account, cumulative);
        if (!SumTree.verify(header.payRoot, header.cumulative, leaf, cumulative, proof)) {
            revert NothingProven();
        }
    }

    /// The order of the tree: provider, job, shard, kind, attempt; never twice the same.
    function _ascend(Leaf calldata a, Leaf calldata b) private pure returns (bool) {
        if (a.provider != b.provider) return a.provider < b.provider;
        if (a.job != b.job) return a.job < b.job;
        if (a.shard != b.shard) return a.shard < b.shard;
        if (a.kind != b.kind) return a.kind < b.kind;
        return a.attempt < b.attempt;
    }
}
