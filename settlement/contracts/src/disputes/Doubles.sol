// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Domain} from "../formats/Domain.sol";
import {Formats, Leaf, Receipt} from "../formats/Formats.sol";
import {DisputesBase} from "./DisputesBase.sol";

/// The same thing twice: a shard that is paid twice, and an attempt with two results.
abstract contract Doubles is DisputesBase {
    using Formats for Receipt;

    bytes32 public constant RECEIPT_KEY_TYPEHASH = keccak256("ReceiptKey(address provider)");

    /// Whose receipts a key signs; for ever, so that an old receipt stays evidence.
    mapping(address key => address) public providerOf;

    /// The caller's receipts are signed by `key`, which says so itself: nobody can take another's key.
    function registerReceiptKey(address key, bytes calldata signature) external {
        address before = providerOf[key];
        if (before != address(0)) revert KeyTaken(key, before);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(RECEIPT_KEY_TYPEHASH, msg.sender)));
        if (_signer(digest, signature) != key) revert SignatureRefused(key);
        providerOf[key] = msg.sender;
        emit ReceiptKeyRegistered(msg.sender, key);
    }

    /// Two lines pay the same shard and kind of a job. The later one is void.
    function proveDuplicate(Line calldata first, Line calldata second, Unpaid calldata unpaid)
        external
        nonReentrant
    {
        _requirePosted(first.header);
        _requireDisputable(second.header);
        uint256 rank = _rank(second);
        if (_rank(first) >= rank || _payment(first.leaf) != _payment(second.leaf)) revert NothingProven();
        _raise(Fault.Duplicate, rank);
        Leaf calldata leaf = second.leaf;
        emit FaultProven(Fault.Duplicate, guarantor, bytes32(rank), msg.sender);
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
        _raise(Fault.Equivocation, rank);
        emit FaultProven(Fault.Equivocation, leaf.provider, bytes32(rank), msg.sender);
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
        address key = _signer(Domain.digest(address(settlement), receipt.hash()), signature);
        if (providerOf[key] != provider) revert SignatureRefused(key);
    }

    function _signer(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (signer == address(0)) revert SignatureRefused(signer);
        return signer;
    }
}
