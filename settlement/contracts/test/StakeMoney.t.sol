// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SpillwayStake} from "../src/stake/SpillwayStake.sol";
import {vm} from "./harness/Cheats.sol";
import {StakeFixture} from "./harness/StakeFixture.sol";

/// A random sequence of calls beside a plain model of two stakes.
contract StakeMoneyTest is StakeFixture {
    struct Model {
        uint256 bonded;
        uint256 unbonding;
        uint256 availableAt;
        uint256 paid;
    }

    mapping(address account => Model) private models;
    uint256 private bondedInAll;
    uint256 private slashed;

    function testFuzz_MoneyIsConserved(uint256[32] memory steps) public {
        uint256 time = START;
        for (uint256 i = 0; i < steps.length; ++i) {
            time += (steps[i] >> 16) % 4 days;
            vm.warp(time);
            act(steps[i] % 5, steps[i] & 8 == 0 ? PROVIDER : SECOND, (steps[i] >> 128) % BOND, time);
            requireConserved();
        }
    }

    function act(uint256 action, address account, uint256 amount, uint256 time) private {
        if (action < 2) add(account, amount);
        else if (action == 2) ask(account, amount, time);
        else if (action == 3) take(account, time);
        else lose(account, amount / 4);
    }

    function add(address account, uint256 amount) private {
        bond(STRANGER, account, amount);
        models[account].bonded += amount;
        bondedInAll += amount;
    }

    function ask(address account, uint256 amount, uint256 time) private {
        Model storage model = models[account];
        if (amount > model.bonded) {
            vm.expectRevert(abi.encodeWithSelector(SpillwayStake.BondTooSmall.selector, model.bonded, amount));
            request(account, amount);
            return;
        }
        request(account, amount);
        model.bonded -= amount;
        model.unbonding += amount;
        model.availableAt = time + DELAY;
    }

    function take(address account, uint256 time) private {
        Model storage model = models[account];
        if (model.unbonding != 0 && time < model.availableAt) {
            vm.expectRevert(abi.encodeWithSelector(SpillwayStake.UnbondTooEarly.selector, model.availableAt));
            unbond(account);
            return;
        }
        vm.assertEq(unbond(account), model.unbonding, "paid");
        model.paid += model.unbonding;
        model.unbonding = 0;
    }

    function lose(address account, uint256 amount) private {
        Model storage model = models[account];
        uint256 leaving = amount < model.unbonding ? amount : model.unbonding;
        uint256 staying = amount - leaving < model.bonded ? amount - leaving : model.bonded;
        vm.assertEq(slash(account, amount), leaving + staying, "slashed");
        model.unbonding -= leaving;
        model.bonded -= staying;
        slashed += leaving + staying;
    }

    function requireConserved() private view {
        uint256 held = requireModel(PROVIDER) + requireModel(SECOND);
        uint256 out = models[PROVIDER].paid + models[SECOND].paid + slashed;
        vm.assertEq(token.balanceOf(address(stake)), held, "held");
        vm.assertEq(token.balanceOf(DISPUTES), slashed, "slashed");
        vm.assertEq(bondedInAll, held + out, "in = held + out");
    }

    /// What `account` has in the contract.
    function requireModel(address account) private view returns (uint256) {
        Model memory model = models[account];
        requireStake(account, model.bonded, model.unbonding, model.availableAt);
        vm.assertEq(token.balanceOf(account), model.paid, "token");
        return model.bonded + model.unbonding;
    }
}
