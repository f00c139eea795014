// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header, Leaf, Order, Receipt} from "../src/formats/Formats.sol";
import {vm, within} from "./harness/Cheats.sol";
import {JobsTree} from "./harness/JobsTree.sol";
import {Json} from "./harness/Json.sol";
import {VectorFile} from "./harness/VectorFile.sol";

/// The formats against second computations: forge's own EIP-712, and encodings written out field by field.
contract FormatsTest is VectorFile {
    string private constant DOMAIN =
        '"domain":{"name":"Spillway","version":"1","chainId":31337,"verifyingContract":"0x5A17000000000000000000000000000000000001"}';
    string private constant DOMAIN_TYPE =
        '"EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}]';

    function setUp() public {
        placeSettlement();
    }

    function test_VectorsAreWhatTheContractComputes() public view {
        vm.assertEq(vm.readFile(PATH), content(), "vectors.json drifted: run 'make vectors'");
    }

    function test_OrderDigestIsEip712() public view {
        for (uint256 i = 0; i < 3; ++i) {
            Order memory it = order(i);
            string[] memory values = new string[](9);
            values[0] = Json.word("job", it.job);
            values[1] = Json.integer("shard", it.shard);
            values[2] = Json.integer("attempt", it.attempt);
            values[3] = Json.integer("kind", it.kind);
            values[4] = Json.account("payer", it.payer);
            values[5] = Json.account("provider", it.provider);
            values[6] = Json.integer("unitPrice", it.unitPrice);
            values[7] = Json.integer("upperBound", it.upperBound);
            values[8] = Json.integer("expiry", it.expiry);
            string memory fields =
                '[{"name":"job","type":"bytes32"},{"name":"shard","type":"uint32"},{"name":"attempt","type":"uint16"},{"name":"kind","type":"uint8"},{"name":"payer","type":"address"},{"name":"provider","type":"address"},{"name":"unitPrice","type":"uint128"},{"name":"upperBound","type":"uint128"},{"name":"expiry","type":"uint64"}]';
            vm.assertEq(FORMATS.orderDigest(it), digest("Order", fields, Json.object(values)), "order digest");
        }
    }

    function test_ReceiptDigestIsEip712() public view {
        for (uint256 i = 0; i < 3; ++i) {
            Receipt memory it = receipt(i);
            string[] memory values = new string[](8);
            values[0] = Json.word("order", it.order);
            values[1] = Json.word("inputDigest", it.inputDigest);
            values[2] = Json.word("outputDigest", it.outputDigest);
            values[3] = Json.integer("started", it.started);
            values[4] = Json.integer("finished", it.finished);
            values[5] = Json.integer("meteredMillis", it.meteredMillis);
            values[6] = Json.integer("promptTokens", it.promptTokens);
            values[7] = Json.integer("completionTokens", it.completionTokens);
            string memory fields =
                '[{"name":"order","type":"bytes32"},{"name":"inputDigest","type":"bytes32"},{"name":"outputDigest","type":"bytes32"},{"name":"started","type":"uint64"},{"name":"finished","type":"uint64"},{"name":"meteredMillis","type":"uint64"},{"name":"promptTokens","type":"uint64"},{"name":"completionTokens","type":"uint64"}]';
            vm.assertEq(
                FORMATS.receiptDigest(it), digest("Receipt", fields, Json.object(values)), "receipt digest"
            );
        }
    }

    function digest(string memory name, string memory fields, string memory message)
        internal
        pure
        returns (bytes32)
    {
        string memory types = string.concat('{"types":{', DOMAIN_TYPE, ',"', name);
        types = string.concat(types, '":', fields, "},");
        string memory json = string.concat(types, '"primaryType":"', name, '",', DOMAIN);
        json = string.concat(json, ',"message":', message, "}");
        return vm.eip712HashTypedData(json);
    }

    function testFuzz_LeafHashFieldByField(Leaf memory it) public view {
        bytes32 typehash = keccak256(
            "Leaf(bytes32 job,uint32 shard,uint16 attempt,uint8 kind,address payer,address provider,uint128 amount,bytes32 order,bytes32 receipt)"
        );
        bytes memory encoded = bytes.concat(
            typehash,
            it.job,
            bytes32(uint256(it.shard)),
            bytes32(uint256(it.attempt)),
            bytes32(uint256(it.kind))
        );
        encoded = bytes.concat(
            encoded,
            bytes32(uint256(uint160(it.payer))),
            bytes32(uint256(uint160(it.provider))),
            bytes32(uint256(it.amount)),
            it.order,
            it.receipt
        );
        bytes32 twice = keccak256(bytes.concat(keccak256(encoded)));
        vm.assertEq(FORMATS.leafHash(it), twice, "leaf hash");
    }

    function testFuzz_HeaderHashFieldByField(Header memory it) public view {
        bytes32 typehash = keccak256(
            "Header(uint64 sequence,uint32 count,uint128 total,uint128 cumulative,bytes32 previous,bytes32 jobsRoot,bytes32 payRoot,bytes32 spendRoot,bytes32 ledgerHash,bytes32 dataHash)"
        );
        bytes memory encoded = bytes.concat(
            typehash,
            bytes32(CHAIN),
            bytes32(uint256(uint160(address(SETTLEMENT)))),
            bytes32(uint256(it.sequence)),
            bytes32(uint256(it.count))
        );
        encoded = bytes.concat(
            encoded,
            bytes32(uint256(it.total)),
            bytes32(uint256(it.cumulative)),
            it.previous,
            it.jobsRoot,
            it.payRoot,
            it.spendRoot,
            it.ledgerHash,
            it.dataHash
        );
        vm.assertEq(SETTLEMENT.headerHash(it), keccak256(encoded), "header hash");
    }

    function test_LedgerHashIsOverPackedEntries() public pure {
        (bytes32[] memory debits, bytes32[] memory credits) = ledger(2);
        bytes32 left = keccak256(bytes.concat(debits[0], debits[1]));
        bytes32 right = keccak256(bytes.concat(credits[0]));
        vm.assertEq(FORMATS.ledgerHash(debits, credits), keccak256(bytes.concat(left, right)), "ledger hash");
    }

    function test_LeavesAreInTreeOrder() public pure {
        for (uint256 i = 1; i < LEAVES; ++i) {
            vm.assertTrue(sortKey(leaf(i - 1)) < sortKey(leaf(i)), "order");
        }
    }

    /// Works because the jobs of the vectors are small numbers.
    function sortKey(Leaf memory it) private pure returns (uint256) {
        return uint256(uint160(it.provider)) << 96 | uint256(it.job) << 64 | uint256(it.shard) << 32
            | uint256(it.kind) << 16 | it.attempt;
    }

    function testFuzz_EveryLeafIsProvableAndNoOther(uint256 count, uint256 index, uint256 other) public pure {
        count = within(count, 1, LEAVES);
        index = within(index, 0, count - 1);
        other = within(other, 0, LEAVES - 1);
        bytes32 root = JobsTree.root(leaves(count));
        bytes32[] memory proof = JobsTree.proof(leaves(count), index);
        vm.assertTrue(FORMATS.verify(root, leaf(index), proof), "its proof");
        if (other != index) vm.assertFalse(FORMATS.verify(root, leaf(other), proof), "another's proof");
        Leaf memory dearer = leaf(index);
        dearer.amount = dearer.amount - 1;
        vm.assertFalse(FORMATS.verify(root, dearer, proof), "another amount");
    }
}
