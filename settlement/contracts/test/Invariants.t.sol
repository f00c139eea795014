// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../src/settlement/SpillwaySettlement.sol";
import {vm} from "./harness/Cheats.sol";
import {Economy} from "./harness/Economy.sol";

/// What holds after any sequence of calls. Every call inside `Economy` is compared with its model as well.
contract InvariantsTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Economy private economy;
    SpillwaySettlement private settlement;
    mapping(address account => uint256) private claimedBefore;

    function setUp() public {
        economy = new Economy();
        settlement = economy.settlement();
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            economy.deposit(i, i, 5e11);
            economy.authorize(i, 1e12, 5 days);
        }
    }

    /// forge asks for these two.
    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(economy);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[12] memory actions = [
            Economy.post.selector,
            Economy.post.selector,
            Economy.post.selector,
            Economy.pass.selector,
            Economy.deposit.selector,
            Economy.authorize.selector,
            Economy.revoke.selector,
            Economy.requestWithdraw.selector,
            Economy.withdraw.selector,
            Economy.claim.selector,
            Economy.replay.selector,
            Economy.forge.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(economy);
        targets[0].selectors = new bytes4[](actions.length);
        for (uint256 i = 0; i < actions.length; ++i) {
            targets[0].selectors[i] = actions[i];
        }
    }

    function invariant_MoneyIsConservedToTheUnit() public view {
        uint256 held;
        uint256 out;
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            ISpillwaySettlement.Balances memory its = settlement.balances(economy.account(i));
            held += uint256(its.deposit) + its.pending + its.claimable;
            (,, uint256 claimed, uint256 withdrawn,,,,) = economy.models(economy.account(i));
            vm.assertEq(its.claimed, claimed, "claimed as the model says");
            out += claimed + withdrawn;
        }
        vm.assertEq(economy.token().balanceOf(address(settlement)), held, "held");
        vm.assertEq(economy.depositedInAll(), held + out, "in = held + out");
    }

    function invariant_EveryAccountIsWhatTheModelSays() public {
        economy.mature();
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            address account = economy.account(i);
            ISpillwaySettlement.Balances memory its = settlement.balances(account);
            (uint256 deposit, uint256 earned, uint256 claimed,,,,,) = economy.models(account);
            vm.assertEq(its.deposit, deposit, "deposit");
            vm.assertEq(uint256(its.claimable) + claimed, economy.maturedOf(account), "matured");
            vm.assertEq(uint256(its.pending) + its.claimable + claimed, earned, "earned");
        }
    }

    function invariant_ClaimedOnlyGrows() public {
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            address account = economy.account(i);
            uint256 claimed = settlement.balances(account).claimed;
            vm.assertGe(claimed, claimedBefore[account], "claimed");
            claimedBefore[account] = claimed;
        }
    }

    function invariant_TheCapOfADayHolds() public view {
        uint256 today = economy.time() / 1 days;
        for (uint256 i = 0; i < economy.ACCOUNTS(); ++i) {
            address account = economy.account(i);
            vm.assertLe(economy.spentOn(account, today), economy.capOn(account, today), "cap");
            vm.assertEq(settlement.orderKey(account).spentToday, economy.spentOn(account, today), "spent");
        }
    }

    function invariant_SequencesHaveNoGap() public view {
        vm.assertEq(settlement.nextSequence(), economy.posts() + 1, "next sequence");
    }

    function afterInvariant() public {
        uint256[] memory due = new uint256[](economy.ACCOUNTS());
        for (uint256 i = 0; i < due.length; ++i) {
            ISpillwaySettlement.Balances memory its = settlement.balances(economy.account(i));
            due[i] = uint256(its.deposit) + its.pending + its.claimable
                + economy.token().balanceOf(economy.account(i));
        }
        economy.leave();
        for (uint256 i = 0; i < due.length; ++i) {
            vm.assertEq(
                economy.token().balanceOf(economy.account(i)), due[i], "everybody left with everything"
            );
        }
        vm.assertEq(economy.token().balanceOf(address(settlement)), 0, "nothing is left behind");
    }
}
