// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Formats, Leaf} from "../formats/Formats.sol";
import {Doubles} from "./Doubles.sol";

/// What no proof on chain can show, a wrong result or a missed promise: m of n verifiers say it, within caps, and the
/// authority may veto it before the appeal's end. It cannot do more: it can neither raise a verdict nor hasten one.
abstract contract Verdicts is Doubles {
    using Formats for Leaf;

    bytes32 public constant VERDICT_TYPEHASH = keccak256(
        "Verdict(bytes32 headerHash,bytes32 leafHash,uint8 fault,uint128 refund,uint128 slash,uint64 expiry)"
    );

    mapping(address verifier => bool) public isVerifier;
    uint256 public verifierCount;

    function setVerifier(address verifier, bool isOne) external restricted {
        _setVerifier(verifier, isOne);
        if (verifierCount < threshold) revert TooFewVerifiers(verifierCount, threshold);
    }

    function _setVerifier(address verifier, bool isOne) internal {
        if (isVerifier[verifier] == isOne) return;
        isVerifier[verifier] = isOne;
        verifierCount = isOne ? verifierCount + 1 : verifierCount - 1;
        emit VerifierChanged(verifier, isOne);
    }

    /// Opens what the verifiers signed; signatures ascend by signer. The caller puts up the bond, and all that the provider
    /// has not been paid yet is frozen to the appeal's end.
    function openVerdict(Line calldata line, Verdict calldata verdict, bytes[] calldata signatures)
        external
        nonReentrant
        returns (uint256 id)
    {
        _requireDisputable(line.header);
        _requireSound(line, verdict);
        _requireVerifiers(verdictDigest(verdict), signatures);
        settlement.freeze(line.leaf.provider, uint64(block.timestamp) + appealTime);
        return _openDispute(verdict.fault, _rank(line), line.leaf, verdict.refund, verdict.slash, appealTime);
    }

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
        settlement.unfreeze(provider);
        uint256 most = stake.slashable(provider) * verdictCapBps / BPS;
        uint256 slash = Math.min(found.slash, most);
        _void(found.rank, _claimant(found), provider, found.refund, slash, unpaid);
    }

    function _openVerdict(uint256 id) private view returns (Dispute storage) {
        bool isSla = id < disputes.length && disputes[id].fault == Fault.SlaBreach;
        return _open(id, isSla ? Fault.SlaBreach : Fault.WrongResult);
    }

    /// What verifiers sign.
    function verdictDigest(Verdict calldata verdict) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VERDICT_TYPEHASH, verdict)));
    }

    function _requireSound(Line calldata line, Verdict calldata verdict) private view {
        if (verdict.fault != Fault.WrongResult && verdict.fault != Fault.SlaBreach) revert NothingProven();
        if (block.timestamp > verdict.expiry) revert TooLate(verdict.expiry);
        bytes32 leafHash = line.leaf.hash();
        if (leafHash != verdict.leafHash) revert LeafMismatch(verdict.leafHash, leafHash);
        if (settlement.headerHash(line.header) != verdict.headerHash) {
            revert HeaderNotPosted(line.header.sequence);
        }
        if (verdict.refund > line.leaf.amount) revert VerdictTooHarsh("refund", line.leaf.amount);
    }

    function _requireVerifiers(bytes32 digest, bytes[] calldata signatures) private view {
        if (signatures.length != threshold) revert TooFewVerifiers(signatures.length, threshold);
        address last;
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = _signer(digest, signatures[i]);
            if (signer <= last || !isVerifier[signer]) revert VerdictRefused(signer);
            last = signer;
        }
    }
}
