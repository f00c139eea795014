// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header, Leaf, Order, Receipt, Voucher} from "../../src/formats/Formats.sol";
import {SpillwayFormats} from "../../src/formats/SpillwayFormats.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";
import {TestToken} from "../../src/development/TestToken.sol";
import {Batches} from "./Batches.sol";
import {vm} from "./Cheats.sol";
import {Deployment} from "./Deployment.sol";
import {JobsTree} from "./JobsTree.sol";
import {Json} from "./Json.sol";
import {Account, SumTrees} from "./SumTrees.sol";

/// The content of `vectors.json`, computed by the contract itself at a fixed address and chain.
abstract contract VectorFile {
    string internal constant PATH = "vectors.json";
    uint256 internal constant CHAIN = 31337;
    SpillwaySettlement internal constant SETTLEMENT =
        SpillwaySettlement(0x5a17000000000000000000000000000000000001);
    SpillwayFormats internal constant FORMATS = SpillwayFormats(0x5A17000000000000000000000000000000000002);
    /// Private keys of the signatures: worth nothing, known to everybody.
    uint256 internal constant ORDER_KEY = 1;
    uint256 internal constant RECEIPT_KEY = 2;
    uint256 internal constant LEAVES = 8;

    function placeSettlement() internal {
        vm.chainId(CHAIN);
        SpillwaySettlement made =
            Deployment.ledger(address(new TestToken()), address(1), address(2), 1 hours, 1 days);
        vm.etch(address(SETTLEMENT), address(made).code);
        vm.etch(address(FORMATS), address(new SpillwayFormats(address(SETTLEMENT))).code);
    }

    function content() internal view returns (string memory) {
        string[] memory parts = new string[](10);
        parts[0] = Json.text("about", "Made by the contract (make vectors). Integers are decimal strings.");
        parts[1] = Json.raw("domain", domain());
        parts[2] = Json.raw("orders", Json.array(map(orderJson, 3)));
        parts[3] = Json.raw("receipts", Json.array(map(receiptJson, 3)));
        parts[4] = Json.raw("leaves", Json.array(map(leafJson, LEAVES)));
        parts[5] = Json.raw("trees", Json.array(map(treeJson, 5)));
        parts[6] = Json.raw("ledgers", Json.array(map(ledgerJson, 3)));
        parts[7] = Json.raw("headers", Json.array(map(headerJson, 4)));
        parts[8] = Json.raw("vouchers", Json.array(map(voucherJson, 3)));
        parts[9] = Json.raw("sumTrees", Json.array(map(sumTreeJson, 5)));
        return string.concat(Json.object(parts), "\n");
    }

    function map(function(uint256) view returns (string memory) make, uint256 count)
        private
        view
        returns (string[] memory items)
    {
        items = new string[](count);
        for (uint256 i = 0; i < count; ++i) {
            items[i] = make(i);
        }
    }

    function domain() private view returns (string memory) {
        (, string memory name, string memory version, uint256 chain, address verifier,,) =
            SETTLEMENT.eip712Domain();
        string[] memory fields = new string[](4);
        fields[0] = Json.text("name", name);
        fields[1] = Json.text("version", version);
        fields[2] = Json.integer("chainId", chain);
        fields[3] = Json.account("verifyingContract", verifier);
        return Json.object(fields);
    }

    // Cases: 0 is an ordinary one, 1 is all zero, 2 has every integer at its maximum.

    function order(uint256 i) internal pure returns (Order memory made) {
        if (i == 1) return made;
        made = Order({
            job: keccak256("0b2d7c1e-5f0c-4a3e-9d52-6a9a4f6b8c11"),
            shard: 17,
            attempt: 2,
            kind: 1,
            payer: address(0x00000000000000000000000000000000000A11cE),
            provider: 0x1111222233334444555566667777888899990000,
            unitPrice: 1_200_000,
            upperBound: 2_400_000,
            expiry: 1_800_003_600
        });
        if (i == 0) return made;
        made.shard = type(uint32).max;
        made.attempt = type(uint16).max;
        made.kind = 3;
        made.unitPrice = type(uint128).max;
        made.upperBound = type(uint128).max;
        made.expiry = type(uint64).max;
    }

    function receipt(uint256 i) internal pure returns (Receipt memory made) {
        if (i == 1) return made;
        made = Receipt({
            order: FORMATS.orderHash(order(i)),
            inputDigest: sha256("input"),
            outputDigest: sha256("output"),
            started: 1_800_000_000,
            finished: 1_800_000_090,
            meteredMillis: 88_431,
            promptTokens: 120_000,
            completionTokens: 35_412
        });
        if (i == 0) return made;
        made.started = type(uint64).max;
        made.finished = type(uint64).max;
        made.meteredMillis = type(uint64).max;
        made.promptTokens = type(uint64).max;
        made.completionTokens = type(uint64).max;
    }

    /// In the order of the tree: by provider, job, shard, kind, attempt. Neighbours differ in each of them once.
    function leaf(uint256 i) internal pure returns (Leaf memory) {
        bool second = i >= 4;
        return Leaf({
            job: i == 0 || second ? bytes32(uint256(1)) : bytes32(uint256(2)),
            shard: i == 7 ? type(uint32).max : i == 2 || i == 3 ? 256 : 3,
            attempt: i == 6 || i == 3 ? 10 : i == 5 ? 9 : 2,
            kind: i == 5 || i == 6 ? 3 : 0,
            payer: address(uint160(0xa11ce + i % 3)),
            provider: second
                ? 0xFfFF000000000000000000000000000000000002
                : 0x0000000000000000000000000000000000000B0b,
            // The sum of the last one is the largest.
            amount: i == 7 ? type(uint64).max - 1_000_003 * 28 : uint128(1_000_003 * (i + 1)),
            order: keccak256(abi.encode("order", i)),
            receipt: keccak256(abi.encode("receipt", i))
        });
    }

    function leaves(uint256 count) internal pure returns (Leaf[] memory made) {
        made = new Leaf[](count);
        for (uint256 i = 0; i < count; ++i) {
            made[i] = leaf(i);
        }
    }

    function voucher(uint256 i) internal pure returns (Voucher memory made) {
        if (i == 0) made = Voucher({payer: address(0xa11ce), sequence: 7, cumulative: 12_000_000});
        if (i == 2) {
            made = Voucher({
                payer: address(type(uint160).max), sequence: type(uint64).max, cumulative: type(uint128).max
            });
        }
    }

    /// Ascending by account; the fifth has nothing.
    function accounts(uint256 count) internal pure returns (Account[] memory made) {
        made = new Account[](count);
        for (uint256 i = 0; i < count; ++i) {
            made[i] =
                Account(address(uint160((i + 1) << 150 | 0xb0b)), i == 4 ? 0 : uint128(7_000_001 * (i + 1)));
        }
    }

    function treeSize(uint256 i) internal pure returns (uint256) {
        return [1, 2, 3, 5, 8][i];
    }

    function ledger(uint256 i) internal pure returns (bytes32[] memory debits, bytes32[] memory credits) {
        debits = new bytes32[](i);
        credits = new bytes32[](i == 0 ? 0 : 1);
        for (uint256 j = 0; j < i; ++j) {
            debits[j] = Batches.entry(address(uint160((j + 1) << 152 | 0xa11ce)), 5_000_000 + j);
        }
        if (i != 0) credits[0] = Batches.entry(address(type(uint160).max), Batches.sum(debits));
    }

    /// 0, 1: ledger mode; 2: every integer at its maximum; 3: root mode.
    function header(uint256 i) internal view returns (Header memory made) {
        if (i == 2) {
            bytes32 most = bytes32(type(uint256).max);
            made = Header(
                type(uint64).max,
                type(uint32).max,
                type(uint128).max,
                type(uint128).max,
                most,
                most,
                most,
                most,
                most,
                most
            );
            return made;
        }
        made.sequence = uint64(i + 1);
        made.count = uint32(treeSize(i));
        made.previous = i == 0 ? bytes32(0) : SETTLEMENT.headerHash(header(i - 1));
        made.jobsRoot = JobsTree.root(leaves(treeSize(i)));
        made.dataHash = keccak256(abi.encode("leaves document", i));
        if (i == 3) {
            made.total = 5_000_000;
            made.cumulative = uint128(SumTrees.total(accounts(3)));
            made.payRoot = SumTrees.root(accounts(3));
            made.spendRoot = SumTrees.root(accounts(2));
            return made;
        }
        (bytes32[] memory debits, bytes32[] memory credits) = ledger(i);
        made.total = uint128(Batches.sum(debits));
        made.ledgerHash = FORMATS.ledgerHash(debits, credits);
    }

    // As JSON

    function orderJson(uint256 i) private view returns (string memory) {
        Order memory it = order(i);
        string[] memory fields = new string[](13);
        fields[0] = Json.word("job", it.job);
        fields[1] = Json.integer("shard", it.shard);
        fields[2] = Json.integer("attempt", it.attempt);
        fields[3] = Json.integer("kind", it.kind);
        fields[4] = Json.account("payer", it.payer);
        fields[5] = Json.account("provider", it.provider);
        fields[6] = Json.integer("unitPrice", it.unitPrice);
        fields[7] = Json.integer("upperBound", it.upperBound);
        fields[8] = Json.integer("expiry", it.expiry);
        signed(fields, FORMATS.orderHash(it), FORMATS.orderDigest(it), ORDER_KEY);
        return Json.object(fields);
    }

    function receiptJson(uint256 i) private view returns (string memory) {
        Receipt memory it = receipt(i);
        string[] memory fields = new string[](12);
        fields[0] = Json.word("order", it.order);
        fields[1] = Json.word("inputDigest", it.inputDigest);
        fields[2] = Json.word("outputDigest", it.outputDigest);
        fields[3] = Json.integer("started", it.started);
        fields[4] = Json.integer("finished", it.finished);
        fields[5] = Json.integer("meteredMillis", it.meteredMillis);
        fields[6] = Json.integer("promptTokens", it.promptTokens);
        fields[7] = Json.integer("completionTokens", it.completionTokens);
        signed(fields, FORMATS.receiptHash(it), FORMATS.receiptDigest(it), RECEIPT_KEY);
        return Json.object(fields);
    }

    /// Fills the last four fields: hash, digest, signer and the deterministic (RFC 6979) signature r | s | v.
    function signed(string[] memory fields, bytes32 hash, bytes32 digest, uint256 key) private pure {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        uint256 start = fields.length - 4;
        fields[start] = Json.word("structHash", hash);
        fields[start + 1] = Json.word("digest", digest);
        fields[start + 2] = Json.account("signer", vm.addr(key));
        fields[start + 3] = Json.text("signature", vm.toString(abi.encodePacked(r, s, v)));
    }

    function leafJson(uint256 i) private pure returns (string memory) {
        Leaf memory it = leaf(i);
        string[] memory fields = new string[](10);
        fields[0] = Json.word("job", it.job);
        fields[1] = Json.integer("shard", it.shard);
        fields[2] = Json.integer("attempt", it.attempt);
        fields[3] = Json.integer("kind", it.kind);
        fields[4] = Json.account("payer", it.payer);
        fields[5] = Json.account("provider", it.provider);
        fields[6] = Json.integer("amount", it.amount);
        fields[7] = Json.word("order", it.order);
        fields[8] = Json.word("receipt", it.receipt);
        fields[9] = Json.word("leafHash", FORMATS.leafHash(it));
        return Json.object(fields);
    }

    /// A tree over the first `count` leaves; the first word of each proof is the leaf's position.
    function treeJson(uint256 i) private pure returns (string memory) {
        Leaf[] memory under = leaves(treeSize(i));
        string[] memory fields = new string[](3);
        fields[0] = Json.integer("count", under.length);
        fields[1] = Json.word("root", JobsTree.root(under));
        string[] memory proofs = new string[](under.length);
        for (uint256 j = 0; j < under.length; ++j) {
            proofs[j] = Json.words(vm.toString(j), JobsTree.proof(under, j));
        }
        fields[2] = Json.raw("proofs", Json.object(proofs));
        return Json.object(fields);
    }

    function voucherJson(uint256 i) private view returns (string memory) {
        Voucher memory it = voucher(i);
        string[] memory fields = new string[](7);
        fields[0] = Json.account("payer", it.payer);
        fields[1] = Json.integer("sequence", it.sequence);
        fields[2] = Json.integer("cumulative", it.cumulative);
        signed(fields, FORMATS.voucherHash(it), FORMATS.voucherDigest(it), ORDER_KEY);
        return Json.object(fields);
    }

    /// A sum tree over the first `count` accounts.
    function sumTreeJson(uint256 i) private pure returns (string memory) {
        Account[] memory under = accounts(treeSize(i));
        string[] memory fields = new string[](4);
        fields[0] = Json.word("root", SumTrees.root(under));
        fields[1] = Json.integer("total", SumTrees.total(under));
        string[] memory items = new string[](under.length);
        string[] memory proofs = new string[](under.length);
        for (uint256 j = 0; j < under.length; ++j) {
            string[] memory item = new string[](3);
            item[0] = Json.account("account", under[j].account);
            item[1] = Json.integer("cumulative", under[j].cumulative);
            item[2] = Json.word("leafHash", FORMATS.accountHash(under[j].account, under[j].cumulative));
            items[j] = Json.object(item);
            proofs[j] = Json.words(vm.toString(j), SumTrees.proof(under, j));
        }
        fields[2] = Json.raw("accounts", Json.array(items));
        fields[3] = Json.raw("proofs", Json.object(proofs));
        return Json.object(fields);
    }

    function ledgerJson(uint256 i) private pure returns (string memory) {
        (bytes32[] memory debits, bytes32[] memory credits) = ledger(i);
        string[] memory fields = new string[](3);
        fields[0] = Json.words("debits", debits);
        fields[1] = Json.words("credits", credits);
        fields[2] = Json.word("ledgerHash", FORMATS.ledgerHash(debits, credits));
        return Json.object(fields);
    }

    function headerJson(uint256 i) private view returns (string memory) {
        Header memory it = header(i);
        string[] memory fields = new string[](11);
        fields[0] = Json.integer("sequence", it.sequence);
        fields[1] = Json.integer("count", it.count);
        fields[2] = Json.integer("total", it.total);
        fields[3] = Json.integer("cumulative", it.cumulative);
        fields[4] = Json.word("previous", it.previous);
        fields[5] = Json.word("jobsRoot", it.jobsRoot);
        fields[6] = Json.word("payRoot", it.payRoot);
        fields[7] = Json.word("spendRoot", it.spendRoot);
        fields[8] = Json.word("ledgerHash", it.ledgerHash);
        fields[9] = Json.word("dataHash", it.dataHash);
        fields[10] = Json.word("headerHash", SETTLEMENT.headerHash(it));
        return Json.object(fields);
    }
}
