// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../src/settlement/SpillwaySettlement.sol";
import {vm} from "./harness/Cheats.sol";
import {RootEconomy} from "./harness/RootEconomy.sol";
import {RootModel} from "./harness/RootModel.sol";
import {RootPayers} from "./harness/RootPayers.sol";

/// What holds in root mode after any sequence of calls. Every call inside `RootEconomy` is compared with its model too.
contract RootInvariantsTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    RootEconomy private economy;
    SpillwaySettlement private settlement;
    mapping(address account => uint256) private claimedBefore;

    function setUp() public {
        economy = new RootEconomy();
        settlement = economy.settlement();
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            economy.deposit(i, i, 5e11);
            economy.authorize(i, 0, 2e11, 0);
        }
    }

    /// forge asks for these two.
    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(economy);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[31] memory actions = [
            RootEconomy.post.selector,
            RootEconomy.post.selector,
            RootEconomy.post.selector,
            RootEconomy.post.selector,
            RootEconomy.postTooMuch.selector,
            RootEconomy.replay.selector,
            RootEconomy.forge.selector,
            RootPayers.pass.selector,
            RootPayers.passDays.selector,
            RootPayers.deposit.selector,
            RootPayers.authorize.selector,
            RootPayers.authorize.selector,
            RootPayers.revoke.selector,
            RootPayers.requestWithdraw.selector,
            RootPayers.withdraw.selector,
            RootPayers.withdraw.selector,
            RootPayers.showOrder.selector,
            RootPayers.showOrder.selector,
            RootPayers.showOrder.selector,
            RootPayers.collect.selector,
            RootPayers.collect.selector,
            RootPayers.collect.selector,
            RootPayers.collectTwo.selector,
            RootEconomy.claim.selector,
            RootEconomy.claim.selector,
            RootEconomy.claim.selector,
            RootEconomy.claimWrongly.selector,
            RootEconomy.freeze.selector,
            RootEconomy.unfreeze.selector,
            RootEconomy.seize.selector,
            RootEconomy.payFees.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(economy);
        targets[0].selectors = new bytes4[](actions.length);
        for (uint256 i = 0; i < actions.length; ++i) {
            targets[0].selectors[i] = actions[i];
        }
    }

    /// One campaign for all: each invariant has its own otherwise, with the same calls.
    /// forge-config: default.invariant.runs = 32
    /// forge-config: default.invariant.depth = 160
    function invariant_RootModeHolds() public {
        moneyIsConservedToTheUnit();
        noMoreIsPaidThanCollectedPostedAndDeposited();
        totalsAndOutsidersAreWhatTheModelSays();
        everyAccountIsWhatTheModelSays();
        claimedOnlyGrowsAndIsAtMostWhatWasEarned();
        capAndShownOrdersBoundTheVouchersOfADay();
        sequencesHaveNoGap();
    }

    function moneyIsConservedToTheUnit() private view {
        ISpillwaySettlement.Totals memory its = settlement.totals();
        RootModel.Sums memory sums = economy.sumsNow();
        uint256 deposits;
        uint256 out = sums.feesPaid + sums.seizedOut;
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            deposits += settlement.balances(economy.account(i)).deposit;
            out += economy.token().balanceOf(economy.account(i));
        }
        uint256 held = economy.token().balanceOf(address(settlement));
        vm.assertEq(held, deposits + its.collected - its.paid + its.fees, "held");
        vm.assertEq(sums.deposited, held + out, "in = held + out");
        vm.assertEq(its.escrow, deposits + its.collected, "escrow");
    }

    function noMoreIsPaidThanCollectedPostedAndDeposited() private view {
        ISpillwaySettlement.Totals memory its = settlement.totals();
        RootModel.Sums memory sums = economy.sumsNow();
        vm.assertLe(its.paid, its.collected, "paid out of the pot");
        vm.assertLe(its.collected, its.cumulative, "collected under what was posted");
        // Payers may leave with what was posted and never vouched for: that alone may be missing.
        uint256 left = sums.withdrawn - sums.withdrawnAtPost;
        vm.assertLe(its.cumulative, its.escrow + left, "posted within the escrow");
    }

    function totalsAndOutsidersAreWhatTheModelSays() private view {
        ISpillwaySettlement.Totals memory its = settlement.totals();
        RootModel.Sums memory sums = economy.sumsNow();
        vm.assertEq(its.cumulative, sums.cumulative, "cumulative");
        vm.assertEq(its.escrow, economy.escrow(), "escrow");
        vm.assertEq(its.collected, sums.collected, "collected");
        vm.assertEq(its.paid, sums.paid, "paid");
        vm.assertEq(its.fees, sums.fees, "fees");
        vm.assertEq(economy.token().balanceOf(economy.DISPUTES()), sums.seizedOut, "disputes");
        vm.assertEq(economy.token().balanceOf(economy.FEE_RECIPIENT()), sums.feesPaid, "fee recipient");
    }

    function everyAccountIsWhatTheModelSays() private view {
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            economy.requireSame(economy.account(i));
        }
    }

    function claimedOnlyGrowsAndIsAtMostWhatWasEarned() private {
        uint256 sum;
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            address account = economy.account(i);
            uint256 claimed = settlement.balances(account).claimed;
            vm.assertGe(claimed, claimedBefore[account], "claimed only grows");
            vm.assertLe(claimed, economy.earnedBy(account), "claimed of what was earned");
            claimedBefore[account] = claimed;
            sum += claimed;
        }
        vm.assertEq(sum, settlement.totals().paid, "all that was paid is somebody's");
    }

    function capAndShownOrdersBoundTheVouchersOfADay() private view {
        uint256 today = economy.today();
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            address payer = economy.account(i);
            uint256 cap = economy.capOn(payer, today);
            vm.assertLe(
                economy.collectedOn(payer, today), cap + economy.heldOn(payer, today), "cap and shown orders"
            );
            vm.assertLe(settlement.orderKey(payer).spentToday, cap, "cap");
        }
    }

    function sequencesHaveNoGap() private view {
        uint256 posts = economy.posts();
        vm.assertEq(settlement.nextSequence(), posts + 1, "next sequence");
        if (posts == 0) return;
        requireKept(economy.oldest());
        requireKept(posts);
        uint256 finalEnd = settlement.finalEnd();
        vm.assertTrue(finalEnd == 1 || economy.isFinal(finalEnd - 2), "all below are final");
        vm.assertFalse(finalEnd <= posts && economy.isFinal(finalEnd - 1), "and no other");
    }

    function requireKept(uint256 sequence) private view {
        vm.assertEq(settlement.headerHashAt(uint64(sequence)), economy.hashAt(sequence), "header");
    }

    function afterInvariant() public {
        RootModel.Sums memory sums = economy.sumsNow();
        economy.everybodyLeaves();
        uint256 out = economy.token().balanceOf(economy.DISPUTES())
            + economy.token().balanceOf(economy.FEE_RECIPIENT());
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            vm.assertEq(settlement.balances(economy.account(i)).deposit, 0, "left with the whole deposit");
            out += economy.token().balanceOf(economy.account(i));
        }
        vm.assertEq(out, sums.deposited, "everything has an owner");
        vm.assertEq(economy.token().balanceOf(address(settlement)), 0, "nothing is left behind");
    }
}
