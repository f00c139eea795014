// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Order} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {vm} from "./harness/Cheats.sol";
import {RootFixture} from "./harness/RootFixture.sol";

/// Leaving: nothing can stop it, and what was ordered is not lost by it. Root mode, where no balance says it all.
contract ExitTest is RootFixture {
    function test_APayerLeavesInAPauseAndWithoutAnyRoot() public {
        request(DEPOSIT);
        vm.warp(START + DELAY - 1);
        vm.prank(OWNER);
        settlement.pause(PAUSE);
        vm.warp(START + DELAY);
        vm.assertEq(withdraw(), DEPOSIT, "withdrawn");
        vm.assertEq(token.balanceOf(PAYER), DEPOSIT, "token");
        vm.assertEq(settlement.totals().escrow, 0, "escrow");
    }

    function test_AVoucherDuringTheDelayReducesTheExit() public {
        postRoot(earned(30e6, 0));
        request(DEPOSIT);
        vm.warp(START + 1 days);
        collect(30e6, ORDER_KEY);
        vm.warp(START + DELAY);
        vm.assertEq(withdraw(), DEPOSIT - 30e6, "withdrawn");
    }

    function test_ShownOrdersAreHeldBackAndThenPaidOut() public {
        request(DEPOSIT);
        show(40e6, ORDER_KEY);
        vm.assertEq(settlement.held(PAYER), 40e6, "held");
        vm.warp(START + DELAY - 1);
        vm.assertEq(settlement.held(PAYER), 40e6, "still held");
        vm.warp(START + DELAY);
        vm.assertEq(settlement.held(PAYER), 0, "held for one delay");
        vm.assertEq(withdraw(), DEPOSIT, "withdrawn");
    }

    function test_AHeldAmountStaysAskedFor() public {
        request(DEPOSIT);
        vm.warp(START + 1 days);
        show(40e6, ORDER_KEY);
        vm.warp(START + DELAY);
        vm.assertEq(withdraw(), DEPOSIT - 40e6, "first");
        vm.warp(START + 1 days + DELAY);
        vm.assertEq(withdraw(), 40e6, "then the rest");
    }

    function test_AVoucherIsPaidOutOfTheHoldAfterTheKeyIsGone() public {
        postRoot(earned(40e6, 0));
        vm.prank(PAYER);
        settlement.authorizeOrderKey(address(0), 0, 0);
        request(DEPOSIT);
        show(25e6, ORDER_KEY);
        collect(40e6, ORDER_KEY);
        vm.assertEq(settlement.totals().collected, 25e6, "no more than was shown");
        vm.assertEq(settlement.held(PAYER), 0, "held");
        vm.warp(START + DELAY);
        vm.assertEq(withdraw(), DEPOSIT - 25e6, "withdrawn");
    }

    function test_ARevokedKeyIsGoodForOneDaysCapAtMost() public {
        vm.prank(PAYER);
        settlement.authorizeOrderKey(address(0), 0, 0);
        vm.expectRevert(
            abi.encodeWithSelector(ISpillwaySettlement.RevokedKeySpent.selector, PAYER, uint256(CAP))
        );
        this.showOut(uint128(CAP) + 1, ORDER_KEY);
        show(CAP, ORDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.RevokedKeySpent.selector, PAYER, 0));
        this.showOut(1, ORDER_KEY);
    }

    function test_ARevokedKeyEndsWithTheDelay() public {
        vm.prank(PAYER);
        settlement.authorizeOrderKey(address(0), 0, 0);
        vm.warp(START + DELAY);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.SignatureRefused.selector, PAYER));
        this.showOut(1, ORDER_KEY);
    }

    function test_AnOrderIsShownOnceAndOnlyWhileItsPayerLeaves() public {
        bytes32 hash = formats.orderHash(orderOf(1e6));
        bytes memory refusal = abi.encodeWithSelector(ISpillwaySettlement.OrderNotShowable.selector, hash);
        vm.expectRevert(refusal);
        this.showOut(1e6, ORDER_KEY);
        request(DEPOSIT);
        show(1e6, ORDER_KEY);
        vm.expectRevert(refusal);
        this.showOut(1e6, ORDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.SignatureRefused.selector, PAYER));
        this.showOut(2e6, OTHER_KEY);
    }

    function test_ARequestThatWasNotUsedLapses() public {
        request(DEPOSIT);
        vm.warp(START + 3 * DELAY + 1);
        vm.assertEq(withdraw(), 0, "lapsed");
        vm.assertEq(settlement.balances(PAYER).withdrawRequested, 0, "asked for");
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT, "deposit");
    }

    /// A request that lapsed is none: the payer goes on, and only its cap of the day bounds what it owes.
    function test_ALapsedRequestLetsNobodyShowOrders() public {
        vm.prank(PAYER);
        settlement.requestWithdraw(1);
        vm.warp(START + 3 * DELAY + 1);
        Order memory order = orderOf(uint128(DEPOSIT));
        order.expiry = uint64(block.timestamp) + 1 days;
        bytes memory signature = signed(ORDER_KEY, formats.orderDigest(order));
        bytes32 hash = formats.orderHash(order);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.OrderNotShowable.selector, hash));
        settlement.showOrder(order, signature);
    }

    /// Whoever holds the order key may delay a leaving payer by two delays at most, once the payer revoked it.
    function test_NobodyKeepsAPayerForLongerThanTwoDelays() public {
        vm.prank(PAYER);
        settlement.authorizeOrderKey(address(0), 0, 0);
        request(DEPOSIT);
        vm.warp(START + DELAY - 1);
        show(CAP, ORDER_KEY);
        vm.warp(START + DELAY);
        vm.assertEq(withdraw(), DEPOSIT - CAP, "what is not held");
        vm.warp(START + 2 * DELAY - 1);
        vm.assertEq(withdraw(), CAP, "all");
    }

    function request(uint256 amount) private {
        vm.prank(PAYER);
        settlement.requestWithdraw(amount);
    }

    function withdraw() private returns (uint256) {
        vm.prank(PAYER);
        return settlement.withdraw();
    }

    /// A call of its own, so that `expectRevert` waits for the whole of it.
    function showOut(uint128 upperBound, uint256 key) external {
        show(upperBound, key);
    }
}
