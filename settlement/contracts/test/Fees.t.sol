// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../src/settlement/SpillwaySettlement.sol";
import {vm, within} from "./harness/Cheats.sol";
import {Deployment} from "./harness/Deployment.sol";
import {Discounts} from "./harness/Discounts.sol";
import {SettlementFixture} from "./harness/SettlementFixture.sol";

/// A fee of 3 % of each claim, rounded down, kept until somebody pays it out.
contract FeesTest is SettlementFixture {
    address private constant RECIPIENT = address(0xfee);
    Discounts private discounts;

    function setUp() public override {
        super.setUp();
        discounts = new Discounts();
        settlement = new SpillwaySettlement(with(300, RECIPIENT));
        fund(PAYER, DEPOSIT);
        vm.prank(PAYER);
        settlement.authorizeOrderKey(KEY, CAP, START + 365 days);
    }

    function with(uint16 bps, address recipient) private returns (ISpillwaySettlement.Parameters memory its) {
        its = Deployment.parameters(address(token), OWNER, POSTER, WINDOW, DELAY);
        its.disputes = address(discounts);
        its.feeBps = bps;
        its.feeRecipient = recipient;
    }

    function test_AClaimLeavesTheFeeAndAnyonePaysItOut() public {
        vm.assertEq(claimOf(7e6 + 33), 7e6 + 33 - 210_000, "paid");
        vm.assertEq(token.balanceOf(PROVIDER), 7e6 + 33 - 210_000, "provider");
        vm.assertEq(settlement.balances(PROVIDER).claimed, 7e6 + 33, "claimed counts both");
        vm.assertEq(settlement.totals().fees, 210_000, "kept");
        vm.prank(STRANGER);
        vm.assertEq(settlement.payFees(), 210_000, "fees");
        vm.assertEq(token.balanceOf(RECIPIENT), 210_000, "recipient");
        vm.assertEq(settlement.payFees(), 0, "once");
    }

    function test_ADiscountIsTakenOffTheFeeAndNeverMoreThanAll() public {
        discounts.set(PROVIDER, 5000);
        vm.assertEq(claimOf(1e6), 1e6 - 15_000, "half of it");
        discounts.set(PROVIDER, 20_000);
        vm.assertEq(claimOf(1e6), 1e6, "no fee, and no bonus");
    }

    function testFuzz_FeeAndPayTogetherAreTheClaim(uint256 amount, uint256 discount) public {
        amount = within(amount, 1, CAP);
        discounts.set(PROVIDER, discount % 12_000);
        uint256 paid = claimOf(amount);
        vm.assertEq(paid + settlement.totals().fees, amount, "sum");
        vm.assertLe(settlement.totals().fees, amount * 300 / 10_000, "at most 3 %");
    }

    function test_AFeeNeedsARecipientAndStaysSmall() public {
        refuse(with(1001, RECIPIENT), "feeBps");
        refuse(with(1, address(0)), "feeRecipient");
    }

    function refuse(ISpillwaySettlement.Parameters memory its, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.InvalidParameter.selector, field));
        new SpillwaySettlement(its);
    }

    function claimOf(uint256 amount) private returns (uint256) {
        post(simple(amount));
        vm.warp((block.timestamp / WINDOW + 2) * WINDOW);
        return settlement.claim(PROVIDER);
    }
}
