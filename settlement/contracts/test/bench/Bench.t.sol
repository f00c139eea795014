// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header} from "../../src/formats/Formats.sol";
import {Batch, Batches} from "../harness/Batches.sol";
import {vm} from "../harness/Cheats.sol";
import {Merkle} from "../harness/Merkle.sol";
import {RootFixture} from "../harness/RootFixture.sol";
import {SettlementFixture} from "../harness/SettlementFixture.sol";
import {Account, SumTrees} from "../harness/SumTrees.sol";
import {CumulativeDrop, OnePerJob} from "./Alternatives.sol";

string constant GROUP = "bench";
// Addresses without zero bytes that calldata would get cheaper.
uint160 constant PAYERS = type(uint160).max / 15;
uint160 constant EARNERS = 2 * PAYERS;
uint160 constant SPREAD = 0x0000101010101010101010101010101010101;
uint256 constant PROVIDER_KEY = 0x9a71;

function name(string memory what, uint256 number) pure returns (string memory) {
    return string.concat(what, " ", vm.toString(number));
}

/// Posts in ledger mode, in the steady state: every slot of the ring and of each account was used before.
contract BenchLedger is SettlementFixture {
    uint64 private time = START;

    function test_Ledger() public {
        prepare(100);
        while (settlement.nextSequence() < settlement.ring()) {
            post(Batches.next(settlement, new bytes32[](0), new bytes32[](0)));
        }
        pass();
        measure(1, 1, 1);
        measure(100, 10, 5);
        measure(1000, 50, 20);
        measure(10000, 100, 100);
        settlement.claim(address(EARNERS));
        pass();
        settlement.claim(address(EARNERS));
        vm.snapshotGasLastCall(GROUP, "ledger claim");
    }

    function measure(uint256 jobs, uint160 payerCount, uint160 providerCount) private {
        post(batchOf(payerCount, providerCount));
        pass();
        post(batchOf(payerCount, providerCount));
        vm.snapshotGasLastCall(GROUP, name("ledger", jobs));
    }

    function pass() private {
        time += 2 * WINDOW;
        vm.warp(time);
    }

    function prepare(uint160 payerCount) private {
        for (uint160 i = 0; i < payerCount; ++i) {
            address payer = address(PAYERS + i * SPREAD);
            fund(payer, 1e6 * 1e6);
            vm.prank(payer);
            settlement.authorizeOrderKey(KEY, type(uint96).max, START + 365 days);
        }
    }

    function batchOf(uint160 payerCount, uint160 providerCount) private view returns (Batch memory) {
        bytes32[] memory debits = new bytes32[](payerCount);
        bytes32[] memory credits = new bytes32[](providerCount);
        for (uint160 i = 0; i < payerCount; ++i) {
            debits[i] = Batches.entry(address(PAYERS + i * SPREAD), uint256(providerCount) * 1_234_567);
        }
        for (uint160 i = 0; i < providerCount; ++i) {
            credits[i] = Batches.entry(address(EARNERS + i * SPREAD), uint256(payerCount) * 1_234_567);
        }
        return Batches.next(settlement, debits, credits);
    }
}

/// Posts in root mode in the steady state: they do not grow with jobs, payers or providers. And what comes after them: a
/// voucher per payer, a claim per provider whenever it likes.
contract BenchRoot is RootFixture {
    uint256 private constant EARNER_COUNT = 100;

    function test_Root() public {
        uint128 each = 1;
        while (settlement.nextSequence() <= settlement.ring() + 2) {
            if (settlement.nextSequence() % 128 == 0) finalise();
            postRoot(accounts(1, each++));
            vm.snapshotGasLastCall(GROUP, "root post");
        }
        for (each = 1_234_567; each < 3_000_000; each += 1_234_567) {
            Header memory header = postRoot(accounts(EARNER_COUNT, each));
            finalise();
            collect(header.cumulative, ORDER_KEY);
            vm.snapshotGasLastCall(GROUP, "root voucher");
            claimOf(header, each, 0);
            vm.snapshotGasLastCall(GROUP, "root claim");
        }
    }

    function claimOf(Header memory header, uint128 each, uint256 index) private {
        Account[] memory all = accounts(EARNER_COUNT, each);
        bytes32[] memory proof = SumTrees.proof(all, index);
        settlement.claimWithProof(header, all[index].account, all[index].cumulative, proof);
    }

    function accounts(uint256 count, uint128 each) private pure returns (Account[] memory all) {
        all = new Account[](count);
        for (uint160 i = 0; i < count; ++i) {
            all[i] = Account(address(EARNERS + i * SPREAD), each);
        }
    }
}

/// The two ways that others pay, in the steady state: accounts and words of bits were used before.
contract BenchAlternatives is SettlementFixture {
    function test_OneTransactionPerJob() public {
        OnePerJob contract_ = new OnePerJob(token);
        token.mint(address(contract_), 1e12);
        pay(contract_, 1);
        pay(contract_, 2);
        vm.snapshotGasLastCall(GROUP, "one per job");
    }

    function pay(OnePerJob contract_, uint256 job) private {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PROVIDER_KEY, contract_.digest(job, 1_234_567));
        contract_.pay(job, vm.addr(PROVIDER_KEY), 1_234_567, abi.encodePacked(r, s, v));
    }

    function test_CumulativeMerkleDrop() public {
        CumulativeDrop drop = new CumulativeDrop(token, OWNER);
        token.mint(address(drop), 1e12);
        for (uint256 each = 1_234_567; each < 4_000_000; each += 1_234_567) {
            bytes32[] memory level = leaves(each);
            vm.prank(OWNER);
            drop.setRoot(Merkle.root(level));
            vm.snapshotGasLastCall(GROUP, "drop root");
            drop.claim(address(EARNERS), each, Merkle.proof(level, 0));
            vm.snapshotGasLastCall(GROUP, "drop claim");
        }
    }

    function leaves(uint256 each) private pure returns (bytes32[] memory level) {
        level = new bytes32[](100);
        for (uint160 i = 0; i < 100; ++i) {
            level[i] = keccak256(bytes.concat(keccak256(abi.encode(address(EARNERS + i * SPREAD), each))));
        }
    }
}
