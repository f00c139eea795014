// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Formats, Leaf} from "../formats/Formats.sol";
import {DisputesBase} from "./DisputesBase.sol";
import {Line, Unpaid} from "./Evidence.sol";
import {Verdict} from "./ISpillwayDisputes.sol";

/// What no proof on chain can show, a wrong result or a missed promise: m of n verifiers say it, within caps, and the
/// authority may veto it before the appeal's end. It cannot do more: it can neither raise a verdict nor hasten one.
abstract contract Verdicts is DisputesBase {
    using Formats for Leaf;

    // slither-disable-start reentrancy-benign (freezing calls nothing, and the transient guard is not analysed)

    /// Opens what the verifiers signed; signatures ascend by signer. The caller puts up the bond, and all that the provider
    /// has not been paid yet is frozen to the appeal's end.
    function openVerdict(Line calldata line, Verdict calldata verdict, bytes[] calldata signatures)
        external
        nonReentrant
        returns (uint256 id)
    {
        _requireDisputable(line.header);
        _requireSound(line, verdict);
        signers.requireVerdict(verdict, signatures);
        settlement.freeze(line.leaf.provider, uint64(block.timestamp) + appealTime);
        return _openDispute(verdict.fault, _rank(line), line.leaf, verdict.refund, verdict.slash, appealTime);
    }

    // slither-disable-end reentrancy-benign

    /// Before the appeal's end: the bond is the provider's.
    function veto(uint256 id) external restricted nonReentrant {
        Dispute storage found = _openVerdict(id);
        _refute(id, found);
        settlement.unfreeze(found.provider);
    }

    /// After the appeal's end, anyone.
    function executeVerdict(uint256 id, Unpaid calldata unpaid) external nonReentrant {
        Dispute storage found = _openVerdict(id);
        address provider = found.provider;
        _prove(found, provider);
        uint256 most = stake.slashable(provider) * verdictCapBps / BPS;
        uint256 slash = Math.min(found.slash, most);
        _void(found.rank, _claimant(found), provider, found.refund, slash, unpaid);
    }

    function _openVerdict(uint256 id) private view returns (Dispute storage) {
        // slither-disable-next-line incorrect-equality (an enumeration, no balance)
        bool isSla = id < disputes.length && disputes[id].fault == Fault.SlaBreach;
        return _open(id, isSla ? Fault.SlaBreach : Fault.WrongResult);
    }

    function _requireSound(Line calldata line, Verdict calldata verdict) private view {
        if (verdict.fault != Fault.WrongResult && verdict.fault != Fault.SlaBreach) revert NothingProven();
        bytes32 leafHash = line.leaf.hash();
        if (leafHash != verdict.leafHash) revert LeafMismatch(verdict.leafHash, leafHash);
        uint64 sequence = line.header.sequence;
        if (settlement.headerHashAt(sequence) != verdict.headerHash) revert HeaderNotPosted(sequence);
        if (verdict.refund > line.leaf.amount) revert VerdictTooHarsh("refund", line.leaf.amount);
    }
}
