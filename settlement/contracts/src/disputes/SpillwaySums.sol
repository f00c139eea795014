// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Formats, Header, Leaf} from "../formats/Formats.sol";
import {JobsTree} from "../formats/JobsTree.sol";
import {SpillwaySettlement} from "../settlement/SpillwaySettlement.sol";
import {Evidence, Line, Unpaid} from "./Evidence.sol";

/// What the disputes contract does with a batch that does not add up.
interface IBrokenBatches {
    function reportBroken(uint64 sequence, address challenger) external;
    function reportDebit(uint64 sequence, address challenger, address payer, uint256 excess) external;
    function reportCredit(uint64 sequence, address challenger, address provider, uint256 excess) external;
}

/// Sums and order of a batch that do not hold. One leaf, or two neighbours, show it: every position carries the sums up to
/// it. The disputes contract then stops the poster and takes the penalty from the guarantor. Positions are the poster's word:
/// money of an account moves only where all leaves of the batch are shown. Holds no money and no state.
contract SpillwaySums is Evidence {
    using Formats for Leaf;

    address public immutable disputes;

    // slither-disable-next-line missing-zero-check (the disputes contract refuses a sums contract that is not its own)
    constructor(SpillwaySettlement settlement_, address disputes_) Evidence(settlement_) {
        disputes = disputes_;
    }

    /// A leaf that cannot stand where it stands: beyond the count, first without starting its sums, last without ending at
    /// the total.
    function proveWrongLeaf(Line calldata line) external {
        _requireDisputable(line.header);
        Place memory place = _place(line);
        uint256 amount = line.leaf.amount;
        bool isWrong = place.index >= line.header.count
            || (place.index == 0 && (place.sum != amount || place.running != amount))
            || (place.index + 1 == line.header.count && place.sum != line.header.total);
        if (!isWrong) revert NothingProven();
        _broken(line.header.sequence);
    }

    /// Two leaves of one batch, at the same place or one after the other, of which the second does not follow from the first.
    function proveWrongNeighbours(
        Header calldata header,
        Leaf calldata left,
        bytes32[] calldata leftProof,
        Leaf calldata right,
        bytes32[] calldata rightProof
    ) external {
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
        _broken(header.sequence);
    }

    /// Ledger mode: the entry that credits a provider is not what its leaves come to. `next` is the leaf after the provider's
    /// last one; it is not read when that is the last of the batch.
    function proveWrongCredit(
        Line calldata last,
        Leaf calldata next,
        bytes32[] calldata nextProof,
        bytes32[] calldata debits,
        bytes32[] calldata credits
    ) external {
        _requireDisputable(last.header);
        uint256 running = _requireLastOfProvider(last, next, nextProof);
        _requireLedger(last.header, debits, credits);
        if (_entryOf(last.leaf.provider, credits) == running) revert NothingProven();
        _broken(last.header.sequence);
    }

    /// Ledger mode: an entry credits a provider that has no line. Its place would be between `left` and `right`, which follow
    /// one another; `right` is not read when `left` is the last leaf, or the first and behind that place.
    function proveCreditWithoutLine(
        Line calldata left,
        Leaf calldata right,
        bytes32[] calldata rightProof,
        bytes32[] calldata debits,
        bytes32[] calldata credits,
        address provider
    ) external {
        _requireDisputable(left.header);
        _requireLedger(left.header, debits, credits);
        bool isCredited = _entryOf(provider, credits) != 0;
        if (!isCredited || !_isBetween(left, right, rightProof, provider)) revert NothingProven();
        _broken(left.header.sequence);
    }

    function _isBetween(
        Line calldata left,
        Leaf calldata right,
        bytes32[] calldata rightProof,
        address provider
    ) private pure returns (bool) {
        uint256 index = _place(left).index;
        if (provider < left.leaf.provider) return index == 0;
        if (provider == left.leaf.provider) return false;
        if (index + 1 == left.header.count) return true;
        return _place(left.header, right, rightProof).index == index + 1 && provider < right.provider;
    }

    // Ledger mode, shown by all leaves of the batch; some 2,300 of them fit a transaction.

    /// The entry that debits a payer is more than its leaves come to. The guarantor gives the payer the difference.
    function proveExcessDebit(
        Header calldata header,
        Leaf[] calldata leaves,
        bytes32[] calldata debits,
        bytes32[] calldata credits,
        address payer
    ) external {
        _requireWhole(header, leaves, debits, credits);
        uint256 owed;
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i].payer == payer) owed += leaves[i].amount;
        }
        uint256 debited = _entryOf(payer, debits);
        if (debited <= owed) revert NothingProven();
        _reports().reportDebit(header.sequence, msg.sender, payer, debited - owed);
    }

    /// The entry that credits a provider is more than its leaves come to, if it has any. The difference is taken back.
    function proveExcessCredit(
        Header calldata header,
        Leaf[] calldata leaves,
        bytes32[] calldata debits,
        bytes32[] calldata credits,
        address provider
    ) external {
        _requireWhole(header, leaves, debits, credits);
        uint256 earned;
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i].provider == provider) earned += leaves[i].amount;
        }
        uint256 credited = _entryOf(provider, credits);
        if (credited <= earned) revert NothingProven();
        _reports().reportCredit(header.sequence, msg.sender, provider, credited - earned);
    }

    function _requireWhole(
        Header calldata header,
        Leaf[] calldata leaves,
        bytes32[] calldata debits,
        bytes32[] calldata credits
    ) private view {
        _requireDisputable(header);
        _requireLedger(header, debits, credits);
        if (JobsTree.root(leaves) != header.jobsRoot) revert NothingProven();
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
    ) external {
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
        _broken(last.header.sequence);
    }

    /// Root mode: a provider that the tree knows has earned less in all than in this one batch. Needs no earlier header.
    function proveTooLittlePay(Line calldata line, uint128 cumulative, bytes32[] calldata proof) external {
        _requireDisputable(line.header);
        Place memory place = _place(line);
        _requireAccount(line.header, line.leaf.provider, cumulative, proof);
        if (cumulative >= place.running) revert NothingProven();
        _broken(line.header.sequence);
    }

    function _broken(uint64 sequence) private {
        _reports().reportBroken(sequence, msg.sender);
    }

    function _reports() private view returns (IBrokenBatches) {
        return IBrokenBatches(disputes);
    }

    function _requireLedger(Header calldata header, bytes32[] calldata debits, bytes32[] calldata credits)
        private
        pure
    {
        if (Formats.ledgerHash(debits, credits) != header.ledgerHash) revert NothingProven();
    }

    function _entryOf(address wanted, bytes32[] calldata entries) private pure returns (uint256) {
        for (uint256 i = 0; i < entries.length; ++i) {
            (address account, uint256 amount) = Formats.entry(entries[i]);
            if (account == wanted) return amount;
        }
        return 0;
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

    /// The order of the tree: provider, job, shard, kind, attempt; never twice the same.
    function _ascend(Leaf calldata a, Leaf calldata b) private pure returns (bool) {
        if (a.provider != b.provider) return a.provider < b.provider;
        if (a.job != b.job) return a.job < b.job;
        if (a.shard != b.shard) return a.shard < b.shard;
        if (a.kind != b.kind) return a.kind < b.kind;
        return a.attempt < b.attempt;
    }
}
