// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SpillwayStake} from "../src/stake/SpillwayStake.sol";
import {vm, within} from "./harness/Cheats.sol";
import {FeeToken} from "./harness/FeeToken.sol";
import {StakeFixture} from "./harness/StakeFixture.sol";

contract StakeTermsTest is StakeFixture {
    function test_TheTermsAreKept() public view {
        vm.assertEq(address(stake.token()), address(token), "token");
        vm.assertEq(stake.disputes(), DISPUTES, "disputes");
        vm.assertEq(stake.unbondDelay(), DELAY, "delay");
        SpillwayStake.Tier[] memory tiers = stake.allTiers();
        vm.assertEq(keccak256(abi.encode(tiers)), keccak256(abi.encode(ladder(3))), "tiers");
    }

    function test_ATokenIsAContract() public {
        refuse(IERC20(STRANGER), DISPUTES, DELAY, ladder(3), "token");
    }

    function test_SomebodyDecidesDisputes() public {
        refuse(token, address(0), DELAY, ladder(3), "disputes");
    }

    function testFuzz_TheDelayIsNinetyDaysAtMost(uint64 delay) public {
        new SpillwayStake(token, DISPUTES, 90 days, ladder(3));
        delay = uint64(within(delay, 90 days + 1, type(uint64).max));
        refuse(token, DISPUTES, delay, ladder(3), "unbondDelay");
    }

    function test_ThereAreEightTiersAtMost() public {
        new SpillwayStake(token, DISPUTES, DELAY, ladder(8));
        refuse(token, DISPUTES, DELAY, ladder(9), "tiers");
    }

    function test_TierMinimumsAscend() public {
        SpillwayStake.Tier[] memory tiers = ladder(3);
        tiers[2].minimum = tiers[1].minimum;
        refuse(token, DISPUTES, DELAY, tiers, "tiers");
    }

    function test_TierDiscountsAscend() public {
        SpillwayStake.Tier[] memory tiers = ladder(3);
        tiers[1].discountBps = tiers[0].discountBps;
        refuse(token, DISPUTES, DELAY, tiers, "tiers");
    }

    function testFuzz_NoTierGivesMoreThanTheFee(uint16 discount) public {
        SpillwayStake.Tier[] memory tiers = ladder(1);
        tiers[0].discountBps = 10_000;
        new SpillwayStake(token, DISPUTES, DELAY, tiers);
        tiers[0].discountBps = uint16(within(discount, 10_001, type(uint16).max));
        refuse(token, DISPUTES, DELAY, tiers, "tiers");
    }

    function test_WithoutTiersThereIsNoDiscount() public {
        stake = new SpillwayStake(token, DISPUTES, DELAY, ladder(0));
        bond(PROVIDER, PROVIDER, BOND);
        vm.assertEq(stake.feeDiscountBps(PROVIDER), 0, "discount");
    }

    function refuse(
        IERC20 token_,
        address disputes,
        uint64 delay,
        SpillwayStake.Tier[] memory tiers,
        string memory field
    ) private {
        vm.expectRevert(abi.encodeWithSelector(SpillwayStake.InvalidParameter.selector, field));
        new SpillwayStake(token_, disputes, delay, tiers);
    }
}

contract StakeTest is StakeFixture {
    // Bonding

    function testFuzz_AnyoneBondsForAnAccount(uint96 amount, bool forItself) public {
        address from = forItself ? PROVIDER : STRANGER;
        token.mint(from, amount);
        vm.prank(from);
        token.approve(address(stake), amount);
        vm.expectEmit(address(stake));
        emit SpillwayStake.Bonded(PROVIDER, from, amount, amount);
        vm.prank(from);
        stake.bond(PROVIDER, amount);
        requireStake(PROVIDER, amount, 0, 0);
        requireStake(STRANGER, 0, 0, 0);
        vm.assertEq(token.balanceOf(address(stake)), amount, "held");
    }

    function test_BondsAddUp() public {
        bond(PROVIDER, PROVIDER, BOND);
        bond(STRANGER, PROVIDER, 5);
        requireStake(PROVIDER, BOND + 5, 0, 0);
    }

    function test_ABondIsForSomebody() public {
        vm.expectRevert(abi.encodeWithSelector(SpillwayStake.AccountMissing.selector));
        stake.bond(address(0), 1);
    }

    function test_ATokenThatTakesAFeeIsRefused() public {
        FeeToken taking = new FeeToken();
        stake = new SpillwayStake(taking, DISPUTES, DELAY, ladder(3));
        taking.mint(PROVIDER, 100);
        vm.prank(PROVIDER);
        taking.approve(address(stake), 100);
        vm.expectRevert(abi.encodeWithSelector(SpillwayStake.TokenAmountMismatch.selector, 100, 99));
        vm.prank(PROVIDER);
        stake.bond(PROVIDER, 100);
    }

    function test_ABondFitsNinetySixBits() public {
        bond(PROVIDER, PROVIDER, type(uint96).max);
        token.mint(PROVIDER, 1);
        vm.prank(PROVIDER);
        token.approve(address(stake), 1);
        vm.expectRevert(
            abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 96, uint256(1) << 96)
        );
        vm.prank(PROVIDER);
        stake.bond(PROVIDER, 1);
    }

    // Leaving

    function testFuzz_WhatLeavesCountsForNothingAtOnce(uint96 amount) public {
        bond(PROVIDER, PROVIDER, BOND);
        amount = uint96(within(amount, 0, BOND));
        vm.expectEmit(address(stake));
        emit SpillwayStake.UnbondRequested(PROVIDER, amount, START + DELAY);
        request(PROVIDER, amount);
        requireStake(PROVIDER, BOND - amount, amount, START + DELAY);
        vm.assertEq(stake.headroom(PROVIDER, 0, 10_000), BOND - amount, "headroom");
        vm.assertEq(stake.feeDiscountBps(PROVIDER), (BOND - amount) / 500e6 * 500, "discount");
    }

    function testFuzz_NoMoreLeavesThanIsBonded(uint256 amount) public {
        bond(PROVIDER, PROVIDER, BOND);
        request(PROVIDER, 400e6);
        amount = within(amount, BOND - 400e6 + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(SpillwayStake.BondTooSmall.selector, BOND - 400e6, amount));
        request(PROVIDER, amount);
    }

    function test_ASecondRequestAddsAndStartsTheDelayAnew() public {
        bond(PROVIDER, PROVIDER, BOND);
        request(PROVIDER, 300e6);
        vm.warp(START + DELAY - 1);
        request(PROVIDER, 200e6);
        requireStake(PROVIDER, 500e6, 500e6, START + 2 * DELAY - 1);
        vm.warp(START + DELAY);
        refuseEarly(START + 2 * DELAY - 1);
        vm.warp(START + 2 * DELAY - 1);
        vm.assertEq(unbond(PROVIDER), 500e6, "both");
    }

    function testFuzz_NothingIsPaidBeforeTheDelay(uint64 wait) public {
        bond(PROVIDER, PROVIDER, BOND);
        request(PROVIDER, BOND);
        vm.warp(START + within(wait, 0, DELAY - 1));
        refuseEarly(START + DELAY);
    }

    function testFuzz_AllIsPaidFromTheDelayOn(uint96 amount, uint64 later) public {
        bond(PROVIDER, PROVIDER, BOND);
        amount = uint96(within(amount, 1, BOND));
        request(PROVIDER, amount);
        vm.warp(START + DELAY + within(later, 0, 1000 days));
        vm.expectEmit(address(stake));
        emit SpillwayStake.Unbonded(PROVIDER, amount);
        vm.assertEq(unbond(PROVIDER), amount, "paid");
        vm.assertEq(token.balanceOf(PROVIDER), amount, "token");
        requireStake(PROVIDER, BOND - amount, 0, START + DELAY);
        vm.assertEq(unbond(PROVIDER), 0, "once");
    }

    function test_WhoAskedForNothingGetsNothing() public {
        bond(PROVIDER, PROVIDER, BOND);
        vm.assertEq(unbond(PROVIDER), 0, "never asked");
        request(PROVIDER, 0);
        vm.assertEq(unbond(PROVIDER), 0, "asked for nothing");
        vm.assertEq(unbond(STRANGER), 0, "has nothing");
        requireStake(PROVIDER, BOND, 0, START + DELAY);
    }

    function test_WhatWasBondedByAnotherLeavesToTheAccount() public {
        bond(STRANGER, PROVIDER, BOND);
        vm.expectRevert(abi.encodeWithSelector(SpillwayStake.BondTooSmall.selector, 0, 1));
        request(STRANGER, 1);
        request(PROVIDER, BOND);
        vm.warp(START + DELAY);
        unbond(PROVIDER);
        vm.assertEq(token.balanceOf(PROVIDER), BOND, "account");
        vm.assertEq(token.balanceOf(STRANGER), 0, "who paid");
    }

    function test_ABondDuringTheDelayStaysBonded() public {
        bond(PROVIDER, PROVIDER, BOND);
        request(PROVIDER, BOND);
        bond(PROVIDER, PROVIDER, 700e6);
        requireStake(PROVIDER, 700e6, BOND, START + DELAY);
        vm.assertEq(stake.feeDiscountBps(PROVIDER), 500, "counts at once");
    }

    // Slashing

    function testFuzz_OnlyDisputesSlash(address caller) public {
        vm.assume(caller != DISPUTES);
        bond(PROVIDER, PROVIDER, BOND);
        vm.expectRevert(abi.encodeWithSelector(SpillwayStake.NotDisputes.selector, caller));
        vm.prank(caller);
        stake.slash(PROVIDER, 1);
    }

    function testFuzz_WhatLeavesIsTakenFirstAndAllAtMost(uint96 leaving, uint256 amount) public {
        bond(PROVIDER, PROVIDER, BOND);
        bond(SECOND, SECOND, BOND);
        leaving = uint96(within(leaving, 0, BOND));
        request(PROVIDER, leaving);
        uint256 due = amount < BOND ? amount : BOND;
        uint256 first = due < leaving ? due : leaving;
        vm.expectEmit(address(stake));
        emit SpillwayStake.Slashed(PROVIDER, due);
        vm.assertEq(slash(PROVIDER, amount), due, "taken");
        requireStake(PROVIDER, BOND - leaving - (due - first), leaving - first, START + DELAY);
        requireStake(SECOND, BOND, 0, 0);
        vm.assertEq(token.balanceOf(DISPUTES), due, "disputes");
    }

    function test_SlashingWorksUntilTheStakeHasLeft() public {
        bond(PROVIDER, PROVIDER, BOND);
        request(PROVIDER, BOND);
        vm.warp(START + DELAY - 1);
        vm.assertEq(slash(PROVIDER, 100e6), 100e6, "within the delay");
        vm.warp(START + DELAY + 1 days);
        vm.assertEq(slash(PROVIDER, 100e6), 100e6, "not taken out yet");
        vm.assertEq(unbond(PROVIDER), BOND - 200e6, "the rest leaves");
        vm.assertEq(slash(PROVIDER, 100e6), 0, "gone");
    }

    function test_SlashingAllThatLeavesLeavesNothingToPay() public {
        bond(PROVIDER, PROVIDER, BOND);
        request(PROVIDER, 400e6);
        slash(PROVIDER, 400e6);
        vm.assertEq(unbond(PROVIDER), 0, "nothing, and no refusal");
        requireStake(PROVIDER, 600e6, 0, START + DELAY);
    }

    // Tiers and headroom

    function test_ATierBeginsAtItsMinimum() public {
        requireDiscount(499_999_999, 0);
        requireDiscount(1, 500);
        requireDiscount(499_999_999, 500);
        requireDiscount(1, 1000);
        requireDiscount(500e6, 1500);
        requireDiscount(1_000_000e6, 1500);
    }

    function test_ASlashLowersTheTier() public {
        bond(PROVIDER, PROVIDER, BOND);
        slash(PROVIDER, 1);
        vm.assertEq(stake.feeDiscountBps(PROVIDER), 500, "discount");
    }

    function test_WithoutCoverThereIsNoLimit() public view {
        vm.assertEq(stake.headroom(STRANGER, 1e30, 0), type(uint256).max, "no limit");
    }

    function test_HeadroomIsWhatTheStakeCoversLessWhatIsOpen() public {
        bond(PROVIDER, PROVIDER, BOND);
        vm.assertEq(stake.headroom(PROVIDER, 0, 10_000), BOND, "one for one");
        vm.assertEq(stake.headroom(PROVIDER, 100e6, 2_500), 4 * BOND - 100e6, "a quarter");
        vm.assertEq(stake.headroom(PROVIDER, BOND, 10_000), 0, "all open");
        vm.assertEq(stake.headroom(PROVIDER, BOND + 1, 10_000), 0, "more than all");
        vm.assertEq(stake.headroom(STRANGER, 0, 10_000), 0, "no stake");
    }

    function testFuzz_HeadroomIsNeverMoreThanIsCovered(uint96 bonded, uint256 unsettled, uint256 cover)
        public
    {
        bond(PROVIDER, PROVIDER, bonded);
        cover = within(cover, 1, type(uint256).max);
        uint256 room = stake.headroom(PROVIDER, unsettled, cover);
        uint256 covered = uint256(bonded) * 10_000 / cover;
        vm.assertLe(room, covered, "within the cover");
        vm.assertEq(room, unsettled < covered ? covered - unsettled : 0, "less what is open");
    }

    /// What the account carries in all, at the limit, is covered by what is bonded.
    function testFuzz_WhatIsOpenedWithinTheHeadroomIsCovered(uint96 bonded, uint128 unsettled, uint16 cover)
        public
    {
        bond(PROVIDER, PROVIDER, bonded);
        cover = uint16(within(cover, 1, type(uint16).max));
        uint256 room = stake.headroom(PROVIDER, unsettled, cover);
        if (room == 0) return;
        vm.assertLe((unsettled + room) * cover, uint256(bonded) * 10_000, "covered");
        vm.assertGe((unsettled + room + 1) * cover, uint256(bonded) * 10_000 + 1, "and no unit less");
    }

    function requireDiscount(uint256 more, uint256 discount) private {
        bond(PROVIDER, PROVIDER, more);
        vm.assertEq(stake.feeDiscountBps(PROVIDER), discount, "discount");
    }

    function refuseEarly(uint64 availableAt) private {
        vm.expectRevert(abi.encodeWithSelector(SpillwayStake.UnbondTooEarly.selector, availableAt));
        unbond(PROVIDER);
    }
}
