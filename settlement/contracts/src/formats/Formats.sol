// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A payer's promise for one attempt, signed off chain with the payer's order key.
/// `unitPrice` is micro-units per GPU-hour, `upperBound` micro-units, `expiry` Unix seconds.
struct Order {
    bytes32 job;
    uint32 shard;
    uint16 attempt;
    uint8 kind;
    address payer;
    address provider;
    uint128 unitPrice;
    uint128 upperBound;
    uint64 expiry;
}

/// A provider's account of one finished attempt, signed off chain with the provider's receipt key.
/// `order` is the hash of the `Order`; the digests are SHA-256; times are Unix seconds.
struct Receipt {
    bytes32 order;
    bytes32 inputDigest;
    bytes32 outputDigest;
    uint64 started;
    uint64 finished;
    uint64 meteredMillis;
    uint64 promptTokens;
    uint64 completionTokens;
}

/// One paid attempt. `amount` is micro-units; `order` and `receipt` are the EIP-712 struct hashes.
struct Leaf {
    bytes32 job;
    uint32 shard;
    uint16 attempt;
    uint8 kind;
    address payer;
    address provider;
    uint128 amount;
    bytes32 order;
    bytes32 receipt;
}

/// One batch. `previous` is the hash of the header before it, zero for sequence 1. In ledger mode `ledgerHash` commits to
/// the entries; `cumulative`, `payRoot` and `spendRoot` are zero. In root mode `ledgerHash` is zero; `cumulative` is the
/// sum of all totals up to this one; `payRoot` (provider => earned in all) and `spendRoot` (payer => spent in all) are
/// sum trees of it.
struct Header {
    uint64 sequence;
    uint32 count;
    uint128 total;
    uint128 cumulative;
    bytes32 previous;
    bytes32 jobsRoot;
    bytes32 payRoot;
    bytes32 spendRoot;
    bytes32 ledgerHash;
    bytes32 dataHash;
}

/// A payer's promise in root mode, signed off chain with the payer's order key: up to the batch at `sequence` I owe
/// `cumulative` micro-units in all. The newest one is worth all before it.
struct Voucher {
    address payer;
    uint64 sequence;
    uint128 cumulative;
}

/// Hashes of the formats that contract, poster and verifiers share. `vectors.json` fixes them to the byte.
library Formats {
    bytes32 internal constant ORDER_TYPEHASH = keccak256(
        "Order(bytes32 job,uint32 shard,uint16 attempt,uint8 kind,address payer,address provider,uint128 unitPrice,uint128 upperBound,uint64 expiry)"
    );
    bytes32 internal constant RECEIPT_TYPEHASH = keccak256(
        "Receipt(bytes32 order,bytes32 inputDigest,bytes32 outputDigest,uint64 started,uint64 finished,uint64 meteredMillis,uint64 promptTokens,uint64 completionTokens)"
    );
    bytes32 internal constant LEAF_TYPEHASH = keccak256(
        "Leaf(bytes32 job,uint32 shard,uint16 attempt,uint8 kind,address payer,address provider,uint128 amount,bytes32 order,bytes32 receipt)"
    );
    bytes32 internal constant HEADER_TYPEHASH = keccak256(
        "Header(uint64 sequence,uint32 count,uint128 total,uint128 cumulative,bytes32 previous,bytes32 jobsRoot,bytes32 payRoot,bytes32 spendRoot,bytes32 ledgerHash,bytes32 dataHash)"
    );
    bytes32 internal constant VOUCHER_TYPEHASH =
        keccak256("Voucher(address payer,uint64 sequence,uint128 cumulative)");
    bytes32 internal constant ACCOUNT_TYPEHASH = keccak256("Account(address account,uint128 cumulative)");

    // A struct of static fields is encoded in place, so `abi.encode(typehash, struct)` is EIP-712's encodeData.

    function hash(Order memory order) internal pure returns (bytes32) {
        return keccak256(abi.encode(ORDER_TYPEHASH, order));
    }

    function hash(Receipt memory receipt) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT_TYPEHASH, receipt));
    }

    function hash(Voucher memory voucher) internal pure returns (bytes32) {
        return keccak256(abi.encode(VOUCHER_TYPEHASH, voucher));
    }

    /// Hashed twice, so that no inner node of the tree can pass for a leaf.
    function hash(Leaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(LEAF_TYPEHASH, leaf))));
    }

    function hash(Header memory header, address settlement) internal view returns (bytes32) {
        return keccak256(abi.encode(HEADER_TYPEHASH, block.chainid, settlement, header));
    }

    /// Leaf of `payRoot` and `spendRoot`; hashed twice like a paid attempt.
    function accountHash(address account, uint128 cumulative) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(ACCOUNT_TYPEHASH, account, cumulative))));
    }

    /// The place of a leaf: first sibling of every proof in `jobsRoot`. Up to this leaf and with it, `sum` is what all
    /// leaves of the batch come to and `running` what those of its provider do, so that two neighbours show every sum
    /// that breaks.
    function position(uint32 index, uint64 sum, uint64 running) internal pure returns (bytes32) {
        return bytes32(uint256(index) << 128 | uint256(sum) << 64 | running);
    }

    /// An entry is an address in the high 160 bits and an amount in the low 96.
    function ledgerHash(bytes32[] calldata debits, bytes32[] calldata credits)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(keccak256(abi.encodePacked(debits)), keccak256(abi.encodePacked(credits)))
        );
    }

    function entry(bytes32 packed) internal pure returns (address account, uint256 amount) {
        return (address(bytes20(packed)), uint96(uint256(packed)));
    }
}
