// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Batch, Batches} from "./harness/Batches.sol";
import {vm} from "./harness/Cheats.sol";
import {SettlementFixture} from "./harness/SettlementFixture.sol";

/// Gas of whole transactions in the steady state: every ring slot and account was used before. `per job`
/// divides a post by the jobs that such a batch stands for; the post itself does not depend on them.
contract GasTest is SettlementFixture {
    string private constant POST = "post";
    string private constant CALLS = "calls";
    uint64 private time = START;

    function test_GasOfPosts() public {
        prepare(1);
        Batch memory first = batchOf(1, 1);
        post(first);
        vm.snapshotGasLastCall(POST, "first post ever: 1 payer, 1 provider");
        post(first);
        vm.snapshotGasLastCall(POST, "the same again");
        wrapTheRing();
        measure(1, 1, 1);
        measure(100, 10, 5);
        measure(1000, 50, 20);
        measure(10000, 100, 100);
        measure(10000, 1000, 100);
    }

    function test_GasOfCalls() public {
        post(simple(7e6));
        vm.warp(START + 2 * WINDOW);
        settlement.claim(PROVIDER);
        vm.snapshotGasLastCall(CALLS, "claim: first of a provider");
        post(simple(7e6));
        vm.warp(START + 4 * WINDOW);
        settlement.claim(PROVIDER);
        vm.snapshotGasLastCall(CALLS, "claim");

        token.mint(PAYER, 2e6);
        vm.prank(PAYER);
        token.approve(address(settlement), 2e6);
        vm.prank(PAYER);
        settlement.deposit(1e6);
        vm.snapshotGasLastCall(CALLS, "deposit");
        vm.prank(PAYER);
        settlement.authorizeOrderKey(STRANGER, CAP, START + 1 days);
        vm.snapshotGasLastCall(CALLS, "authorizeOrderKey: replace");
        vm.prank(PAYER);
        settlement.requestWithdraw(1e6);
        vm.snapshotGasLastCall(CALLS, "requestWithdraw");
        vm.warp(START + 4 * WINDOW + DELAY);
        vm.prank(PAYER);
        settlement.withdraw();
        vm.snapshotGasLastCall(CALLS, "withdraw");
    }

    function measure(uint256 jobs, uint160 payerCount, uint160 providerCount) internal {
        prepare(payerCount);
        post(batchOf(payerCount, providerCount));
        time += WINDOW;
        vm.warp(time);
        post(batchOf(payerCount, providerCount));
        string memory name = string.concat(
            vm.toString(jobs),
            " jobs, ",
            vm.toString(payerCount),
            " payers, ",
            vm.toString(providerCount),
            " providers"
        );
        uint256 gas = vm.snapshotGasLastCall(POST, name);
        vm.snapshotValue(POST, string.concat(name, ": per job"), gas / jobs);
    }

    function wrapTheRing() internal {
        while (settlement.nextSequence() < settlement.ring()) {
            post(Batches.next(settlement, new bytes32[](0), new bytes32[](0)));
        }
        time += 2 * WINDOW;
        vm.warp(time);
    }

    function prepare(uint160 payerCount) internal {
        for (uint160 i = 0; i < payerCount; ++i) {
            address payer = address(PAYER_BASE + i * SPREAD);
            fund(payer, 1e6 * 1e6);
            vm.prank(payer);
            settlement.authorizeOrderKey(KEY, type(uint96).max, START + 365 days);
        }
    }

    /// Addresses without zero bytes that calldata would get cheaper; about a dollar per job.
    uint160 private constant PAYER_BASE = type(uint160).max / 15;
    uint160 private constant PROVIDER_BASE = 2 * PAYER_BASE;
    uint160 private constant SPREAD = 0x0000101010101010101010101010101010101;

    function batchOf(uint160 payerCount, uint160 providerCount) internal view returns (Batch memory) {
        bytes32[] memory debits = new bytes32[](payerCount);
        bytes32[] memory credits = new bytes32[](providerCount);
        for (uint160 i = 0; i < payerCount; ++i) {
            debits[i] = Batches.entry(address(PAYER_BASE + i * SPREAD), uint256(providerCount) * 1_234_567);
        }
        for (uint160 i = 0; i < providerCount; ++i) {
            credits[i] = Batches.entry(address(PROVIDER_BASE + i * SPREAD), uint256(payerCount) * 1_234_567);
        }
        return Batches.next(settlement, debits, credits);
    }
}
