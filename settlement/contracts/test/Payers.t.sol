// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../src/settlement/SpillwaySettlement.sol";
import {Batch, Batches} from "./harness/Batches.sol";
import {vm, within} from "./harness/Cheats.sol";
import {Deployment} from "./harness/Deployment.sol";
import {FeeToken} from "./harness/FeeToken.sol";
import {SettlementFixture} from "./harness/SettlementFixture.sol";

contract PayersTest is SettlementFixture {
    // Deposits

    function testFuzz_AnyoneMayDepositForAPayer(uint64 amount) public {
        amount = uint64(within(amount, 0, type(uint64).max - DEPOSIT));
        token.mint(STRANGER, amount);
        vm.prank(STRANGER);
        token.approve(address(settlement), amount);
        vm.expectEmit(address(settlement));
        emit ISpillwaySettlement.Deposited(PAYER, STRANGER, amount);
        vm.prank(STRANGER);
        settlement.depositFor(PAYER, amount);
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT + amount, "payer");
        vm.assertEq(settlement.balances(STRANGER).deposit, 0, "stranger");
    }

    function test_ADepositIsForSomebody() public {
        vm.expectRevert(ISpillwaySettlement.PayerMissing.selector);
        settlement.depositFor(address(0), 1);
    }

    function test_HoldingsFitSixtyFourBits() public {
        uint256 amount = type(uint64).max - DEPOSIT + 1;
        token.mint(STRANGER, amount);
        vm.prank(STRANGER);
        token.approve(address(settlement), amount);
        vm.expectRevert(
            abi.encodeWithSelector(ISpillwaySettlement.HoldingsTooLarge.selector, amount + DEPOSIT)
        );
        vm.prank(STRANGER);
        settlement.deposit(amount);
    }

    function test_ATokenThatTakesAFeeIsRefused() public {
        FeeToken taking = new FeeToken();
        SpillwaySettlement other = Deployment.ledger(address(taking), OWNER, POSTER, WINDOW, DELAY);
        taking.mint(PAYER, 100);
        vm.prank(PAYER);
        taking.approve(address(other), 100);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.TokenAmountMismatch.selector, 100, 99));
        vm.prank(PAYER);
        other.deposit(100);
    }

    // Order keys

    function test_WithoutAKeyNothingIsSpent() public {
        fund(STRANGER, 5e6);
        Batch memory batch = Batches.next(
            settlement, Batches.list(Batches.entry(STRANGER, 1)), Batches.list(Batches.entry(PROVIDER, 1))
        );
        postRefused(batch, abi.encodeWithSelector(ISpillwaySettlement.OrderKeyMissing.selector, STRANGER));
    }

    function test_AKeyExpires() public {
        uint64 expiry = START + 365 days;
        vm.warp(expiry);
        post(simple(1));
        vm.warp(expiry + 1);
        postRefused(
            simple(1), abi.encodeWithSelector(ISpillwaySettlement.OrderKeyExpired.selector, PAYER, expiry)
        );
    }

    function test_APayerRevokes() public {
        vm.prank(PAYER);
        settlement.authorizeOrderKey(address(0), 0, 0);
        postRefused(simple(1), abi.encodeWithSelector(ISpillwaySettlement.OrderKeyMissing.selector, PAYER));
        vm.assertEq(settlement.orderKey(PAYER).key, address(0), "key");
    }

    function test_ACapOrExpiryNeedsAKey() public {
        vm.expectRevert(ISpillwaySettlement.KeyMissing.selector);
        settlement.authorizeOrderKey(address(0), 1, 0);
        vm.expectRevert(ISpillwaySettlement.KeyMissing.selector);
        settlement.authorizeOrderKey(address(0), 0, 1);
    }

    function testFuzz_OrderKeyIsReadable(address key, uint96 cap, uint64 expiry) public {
        vm.assume(key != address(0));
        vm.expectEmit(address(settlement));
        emit ISpillwaySettlement.OrderKeyAuthorized(STRANGER, key, cap, expiry);
        vm.prank(STRANGER);
        settlement.authorizeOrderKey(key, cap, expiry);
        ISpillwaySettlement.OrderKey memory stored = settlement.orderKey(STRANGER);
        vm.assertEq(stored.key, key, "key");
        vm.assertEq(stored.capPerDay, cap > type(uint64).max ? type(uint64).max : cap, "cap");
        vm.assertEq(stored.expiry, expiry > type(uint40).max ? type(uint40).max : expiry, "expiry");
        vm.assertEq(stored.spentToday, 0, "spent");
    }

    function testFuzz_ADayEndsTheCap(uint96 first, uint96 second, uint64 dayPart) public {
        first = uint96(within(first, 0, CAP));
        second = uint96(within(second, uint256(CAP) - first + 1, CAP + 1));
        uint64 midnight = (START / 1 days + 1) * 1 days;
        vm.warp(midnight + within(dayPart, 0, 1 days - 1));
        post(simple(first));
        vm.assertEq(settlement.orderKey(PAYER).spentToday, first, "spent today");

        vm.warp(midnight + 1 days - 1);
        postRefused(simple(second), capExceeded(uint256(first) + second));

        vm.warp(midnight + 1 days);
        vm.assertEq(settlement.orderKey(PAYER).spentToday, 0, "a new day");
        if (second > CAP) postRefused(simple(second), capExceeded(second));
        else if (uint256(first) + second <= DEPOSIT) post(simple(second));
    }

    function test_ANewKeyDoesNotForgetTheDay() public {
        post(simple(CAP));
        vm.prank(PAYER);
        settlement.authorizeOrderKey(address(0x6e2), CAP, START + 1 days);
        postRefused(simple(1), capExceeded(uint256(CAP) + 1));
    }

    function capExceeded(uint256 spent) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ISpillwaySettlement.DailyCapExceeded.selector, PAYER, CAP, spent);
    }

    function test_ADebitNeedsADeposit() public {
        vm.prank(PAYER);
        settlement.authorizeOrderKey(KEY, type(uint96).max, type(uint64).max);
        postRefused(
            simple(DEPOSIT + 1),
            abi.encodeWithSelector(ISpillwaySettlement.DepositTooSmall.selector, PAYER, DEPOSIT, DEPOSIT + 1)
        );
        postRefused(
            simple(type(uint96).max),
            abi.encodeWithSelector(
                ISpillwaySettlement.DailyCapExceeded.selector, PAYER, type(uint64).max, type(uint96).max
            )
        );
        post(simple(DEPOSIT));
        vm.assertEq(settlement.balances(PAYER).deposit, 0, "deposit");
    }

    // Leaving

    function testFuzz_WithdrawPaysWhatWasAskedAfterTheDelay(uint256 asked) public {
        asked = within(asked, 1, type(uint256).max);
        uint256 paid = asked < DEPOSIT ? asked : DEPOSIT;
        vm.prank(PAYER);
        settlement.requestWithdraw(asked);
        vm.assertEq(settlement.balances(PAYER).withdrawableAt, START + DELAY, "withdrawable at");

        vm.warp(START + DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.WithdrawTooEarly.selector, START + DELAY));
        vm.prank(PAYER);
        settlement.withdraw();

        vm.warp(START + DELAY);
        vm.expectEmit(address(settlement));
        emit ISpillwaySettlement.Withdrawn(PAYER, paid);
        vm.prank(PAYER);
        vm.assertEq(settlement.withdraw(), paid, "returned");
        vm.prank(PAYER);
        vm.assertEq(settlement.withdraw(), 0, "again");
        vm.assertEq(token.balanceOf(PAYER), paid, "token");
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT - paid, "deposit");
        vm.assertEq(settlement.balances(PAYER).withdrawRequested, 0, "request");
    }

    function test_PostsStillSpendWhileAWithdrawalWaits() public {
        vm.prank(PAYER);
        settlement.requestWithdraw(DEPOSIT);
        post(simple(400e6));
        vm.warp(START + DELAY);
        vm.prank(PAYER);
        vm.assertEq(settlement.withdraw(), DEPOSIT - 400e6, "what is left");
    }

    function test_ANewRequestReplacesTheOld() public {
        vm.prank(PAYER);
        settlement.requestWithdraw(10);
        vm.warp(START + 1 days);
        vm.prank(PAYER);
        settlement.requestWithdraw(20);
        vm.warp(START + DELAY);
        vm.expectRevert(
            abi.encodeWithSelector(ISpillwaySettlement.WithdrawTooEarly.selector, START + 1 days + DELAY)
        );
        vm.prank(PAYER);
        settlement.withdraw();

        vm.expectEmit(address(settlement));
        emit ISpillwaySettlement.WithdrawRequested(PAYER, 0, 0);
        vm.prank(PAYER);
        settlement.requestWithdraw(0);
        vm.prank(PAYER);
        vm.assertEq(settlement.withdraw(), 0, "taken back");
    }
}
