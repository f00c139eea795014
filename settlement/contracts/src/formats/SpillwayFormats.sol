// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Domain} from "./Domain.sol";
import {Formats, Leaf, Order, Receipt, Voucher} from "./Formats.sol";
import {SumTree} from "./SumTree.sol";

/// Every hash of the formats, for people and for tests; holds nothing and decides nothing. `settlement` is the
/// contract whose domain the digests belong to.
contract SpillwayFormats {
    using Formats for Order;
    using Formats for Receipt;
    using Formats for Leaf;
    using Formats for Voucher;

    address public immutable settlement;

    // slither-disable-next-line missing-zero-check (it holds nothing: a wrong address gives digests that nobody signs)
    constructor(address settlement_) {
        settlement = settlement_;
    }

    function orderHash(Order calldata order) external pure returns (bytes32) {
        return order.hash();
    }

    /// What the payer's order key signs.
    function orderDigest(Order calldata order) external view returns (bytes32) {
        return Domain.digest(settlement, order.hash());
    }

    function receiptHash(Receipt calldata receipt) external pure returns (bytes32) {
        return receipt.hash();
    }

    /// What the provider's receipt key signs.
    function receiptDigest(Receipt calldata receipt) external view returns (bytes32) {
        return Domain.digest(settlement, receipt.hash());
    }

    function voucherHash(Voucher calldata voucher) external pure returns (bytes32) {
        return voucher.hash();
    }

    /// What the payer's order key signs in root mode.
    function voucherDigest(Voucher calldata voucher) external view returns (bytes32) {
        return Domain.digest(settlement, voucher.hash());
    }

    function leafHash(Leaf calldata leaf) external pure returns (bytes32) {
        return leaf.hash();
    }

    function position(uint32 index, uint64 sum, uint64 running) external pure returns (bytes32) {
        return Formats.position(index, sum, running);
    }

    /// Whether `leaf` was paid in the batch with this `jobsRoot`; the first word of `proof` is the leaf's position.
    function verify(bytes32 jobsRoot, Leaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return MerkleProof.verifyCalldata(proof, jobsRoot, leaf.hash());
    }

    function accountHash(address account, uint128 cumulative) external pure returns (bytes32) {
        return Formats.accountHash(account, cumulative);
    }

    function sumParent(bytes32 a, uint256 sumA, bytes32 b, uint256 sumB) external pure returns (bytes32) {
        return SumTree.parent(a, sumA, b, sumB);
    }

    /// Whether `account` has `cumulative` under the sum tree with this root and total.
    function verifyAccount(
        bytes32 root,
        uint256 total,
        address account,
        uint128 cumulative,
        bytes32[] calldata proof
    ) external pure returns (bool) {
        return SumTree.verify(root, total, Formats.accountHash(account, cumulative), cumulative, proof);
    }

    function ledgerHash(bytes32[] calldata debits, bytes32[] calldata credits)
        external
        pure
        returns (bytes32)
    {
        return Formats.ledgerHash(debits, credits);
    }
}
