// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Verdict} from "./ISpillwayDisputes.sol";

/// Whose signature counts for what: receipt keys speak for their provider, verifiers for what no proof on chain can show.
contract SpillwaySigners is AccessManaged, EIP712 {
    event ReceiptKeyRegistered(address indexed provider, address indexed key);
    event VerifierChanged(address indexed verifier, bool isOne);

    error InvalidParameter(string field);
    error KeyTaken(address key, address provider);
    error SignatureRefused(address key);
    /// Signers must be verifiers, strictly ascending, and as many as the threshold.
    error VerdictRefused(address signer);
    error TooFewVerifiers(uint256 verifiers, uint256 threshold);
    error VerdictExpired(uint64 expiry);

    bytes32 public constant RECEIPT_KEY_TYPEHASH = keccak256("ReceiptKey(address provider)");
    bytes32 public constant VERDICT_TYPEHASH = keccak256(
        "Verdict(bytes32 headerHash,bytes32 leafHash,uint8 fault,uint128 refund,uint128 slash,uint64 expiry)"
    );

    /// How many verifiers must sign a verdict.
    uint256 public immutable threshold;

    /// Whose receipts a key signs; for ever, so that an old receipt stays evidence.
    mapping(address key => address) public providerOf;
    mapping(address verifier => bool) public isVerifier;
    uint256 public verifierCount;

    constructor(address authority_, uint256 threshold_, address[] memory verifiers)
        AccessManaged(authority_)
        EIP712("SpillwaySigners", "1")
    {
        if (authority_.code.length == 0) revert InvalidParameter("authority");
        if (threshold_ == 0) revert InvalidParameter("threshold");
        threshold = threshold_;
        for (uint256 i = 0; i < verifiers.length; ++i) {
            _setVerifier(verifiers[i], true);
        }
        if (verifierCount < threshold_) revert TooFewVerifiers(verifierCount, threshold_);
    }

    /// The caller's receipts are signed by `key`, which says so itself: nobody can take another's key.
    function registerReceiptKey(address key, bytes calldata signature) external {
        address before = providerOf[key];
        if (before != address(0)) revert KeyTaken(key, before);
        if (_signer(receiptKeyDigest(msg.sender), signature) != key) revert SignatureRefused(key);
        providerOf[key] = msg.sender;
        emit ReceiptKeyRegistered(msg.sender, key);
    }

    function setVerifier(address verifier, bool isOne) external restricted {
        _setVerifier(verifier, isOne);
        if (verifierCount < threshold) revert TooFewVerifiers(verifierCount, threshold);
    }

    /// What a receipt key signs to speak for `provider`.
    function receiptKeyDigest(address provider) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECEIPT_KEY_TYPEHASH, provider)));
    }

    /// What verifiers sign.
    function verdictDigest(Verdict calldata verdict) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VERDICT_TYPEHASH, verdict)));
    }

    /// Reverts unless a receipt key of `provider` signed the digest of a receipt.
    function requireReceipt(address provider, bytes32 digest, bytes calldata signature) external view {
        address key = _signer(digest, signature);
        if (providerOf[key] != provider) revert SignatureRefused(key);
    }

    /// Reverts unless the verdict still counts and as many verifiers as it needs signed it, ascending by address.
    function requireVerdict(Verdict calldata verdict, bytes[] calldata signatures) external view {
        if (block.timestamp > verdict.expiry) revert VerdictExpired(verdict.expiry);
        if (signatures.length != threshold) revert TooFewVerifiers(signatures.length, threshold);
        bytes32 digest = verdictDigest(verdict);
        address last;
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = _signer(digest, signatures[i]);
            if (signer <= last || !isVerifier[signer]) revert VerdictRefused(signer);
            last = signer;
        }
    }

    function _setVerifier(address verifier, bool isOne) private {
        if (isVerifier[verifier] == isOne) return;
        isVerifier[verifier] = isOne;
        // slither-disable-next-line costly-loop (at construction only, a handful of verifiers)
        verifierCount = isOne ? verifierCount + 1 : verifierCount - 1;
        emit VerifierChanged(verifier, isOne);
    }

    function _signer(bytes32 digest, bytes calldata signature) private pure returns (address signer) {
        // slither-disable-next-line unused-return (no signer is the only error that matters)
        (signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (signer == address(0)) revert SignatureRefused(signer);
    }
}
