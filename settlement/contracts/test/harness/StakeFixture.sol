// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SpillwayStake} from "../../src/stake/SpillwayStake.sol";
import {TestToken} from "../../src/development/TestToken.sol";
import {vm} from "./Cheats.sol";

/// A stake contract with three tiers, nothing bonded yet.
abstract contract StakeFixture {
    address internal constant DISPUTES = address(0xd15);
    address internal constant PROVIDER = address(0xb0b);
    address internal constant SECOND = address(0xb0c);
    address internal constant STRANGER = address(0x5754a);
    uint64 internal constant START = 1_800_000_000;
    uint64 internal constant DELAY = 7 days;
    uint96 internal constant BOND = 1_000e6;

    TestToken internal token;
    SpillwayStake internal stake;

    function setUp() public virtual {
        vm.warp(START);
        token = new TestToken();
        stake = new SpillwayStake(token, DISPUTES, DELAY, ladder(3));
    }

    /// A ladder of `count` tiers: from 500 tokens on 5 % off, from 1,000 on 10 % and so on.
    function ladder(uint256 count) internal pure returns (SpillwayStake.Tier[] memory tiers) {
        tiers = new SpillwayStake.Tier[](count);
        for (uint256 i = 0; i < count; ++i) {
            tiers[i] =
                SpillwayStake.Tier({minimum: uint96(500e6 * (i + 1)), discountBps: uint16(500 * (i + 1))});
        }
    }

    function bond(address from, address account, uint256 amount) internal {
        token.mint(from, amount);
        vm.prank(from);
        token.approve(address(stake), amount);
        vm.prank(from);
        stake.bond(account, amount);
    }

    function request(address account, uint256 amount) internal {
        vm.prank(account);
        stake.requestUnbond(amount);
    }

    function unbond(address account) internal returns (uint256) {
        vm.prank(account);
        return stake.unbond();
    }

    function slash(address account, uint256 amount) internal returns (uint256) {
        vm.prank(DISPUTES);
        return stake.slash(account, amount);
    }

    function requireStake(address account, uint256 bonded, uint256 unbonding, uint256 availableAt)
        internal
        view
    {
        SpillwayStake.Stake memory its = stake.stakeOf(account);
        vm.assertEq(its.bonded, bonded, "bonded");
        vm.assertEq(its.unbonding, unbonding, "unbonding");
        vm.assertEq(its.availableAt, availableAt, "available at");
        vm.assertEq(stake.slashable(account), bonded + unbonding, "slashable");
    }
}
