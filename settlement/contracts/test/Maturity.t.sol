// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {vm, within} from "./harness/Cheats.sol";
import {SettlementFixture} from "./harness/SettlementFixture.sol";

contract MaturityTest is SettlementFixture {
    function test_ACreditMaturesAfterOneToTwoWindows() public {
        post(simple(7e6));
        uint64 matures = (START / WINDOW + 2) * WINDOW;
        vm.warp(matures - 1);
        vm.assertEq(settlement.claim(PROVIDER), 0, "early");
        vm.assertEq(settlement.balances(PROVIDER).pending, 7e6, "pending");

        vm.warp(matures);
        vm.assertEq(settlement.balances(PROVIDER).claimable, 7e6, "claimable");
        vm.expectEmit(address(settlement));
        emit ISpillwaySettlement.Claimed(PROVIDER, 7e6, 0, 7e6);
        vm.prank(STRANGER);
        vm.assertEq(settlement.claim(PROVIDER), 7e6, "claimed by anyone");
        vm.assertEq(token.balanceOf(PROVIDER), 7e6, "provider");
        vm.assertEq(token.balanceOf(STRANGER), 0, "stranger");
        vm.assertEq(settlement.claim(PROVIDER), 0, "again");
        vm.assertEq(settlement.balances(PROVIDER).claimed, 7e6, "claimed in all");
    }

    /// Credits at any rhythm: at each moment exactly those of two epochs ago and older have matured.
    function testFuzz_SteadyPostingNeitherBlocksNorSkips(uint64 step, uint96 amount, uint256 claims) public {
        step = uint64(within(step, 1, 3 * WINDOW));
        amount = uint96(within(amount, 1, 1e6));
        uint64 time = START;
        uint256[40] memory epochs;
        for (uint256 i = 0; i < epochs.length; ++i) {
            vm.warp(time);
            post(simple(amount));
            epochs[i] = time / WINDOW;
            if (claims >> i & 1 == 1) settlement.claim(PROVIDER);
            requireMatured(epochs, i + 1, time, amount);
            time += step;
        }
        vm.warp(time + 2 * WINDOW);
        settlement.claim(PROVIDER);
        vm.assertEq(token.balanceOf(PROVIDER), amount * epochs.length, "all of it in the end");
    }

    function requireMatured(uint256[40] memory epochs, uint256 posts, uint64 time, uint256 amount)
        internal
        view
    {
        uint256 matured;
        for (uint256 i = 0; i < posts; ++i) {
            if (epochs[i] + 2 <= time / WINDOW) matured += amount;
        }
        ISpillwaySettlement.Balances memory held = settlement.balances(PROVIDER);
        vm.assertEq(uint256(held.claimable) + held.claimed, matured, "matured");
        vm.assertEq(held.pending, posts * amount - matured, "pending");
    }
}
