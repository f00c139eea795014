// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";
import {TestToken} from "../../src/development/TestToken.sol";
import {Batch, Batches} from "./Batches.sol";
import {vm} from "./Cheats.sol";
import {Deployment} from "./Deployment.sol";

/// A settlement contract with one funded payer, whose key is good for a year, and one provider.
abstract contract SettlementFixture {
    address internal constant OWNER = address(0x0a11);
    address internal constant POSTER = address(0x9057e2);
    address internal constant PAYER = address(0xa11ce);
    address internal constant PROVIDER = address(0xb0b);
    address internal constant STRANGER = address(0x5754a);
    address internal constant KEY = address(0x6e1);

    uint64 internal constant WINDOW = 1 hours;
    uint64 internal constant DELAY = 3 days;
    uint64 internal constant START = 1_800_000_000;
    uint96 internal constant CAP = 500e6;
    uint256 internal constant DEPOSIT = 1_000e6;

    TestToken internal token;
    SpillwaySettlement internal settlement;

    function setUp() public virtual {
        vm.warp(START);
        token = new TestToken();
        settlement = Deployment.ledger(address(token), OWNER, POSTER, WINDOW, DELAY);
        fund(PAYER, DEPOSIT);
        vm.prank(PAYER);
        settlement.authorizeOrderKey(KEY, CAP, START + 365 days);
    }

    function fund(address payer, uint256 amount) internal {
        token.mint(payer, amount);
        vm.prank(payer);
        token.approve(address(settlement), amount);
        vm.prank(payer);
        settlement.deposit(amount);
    }

    /// A batch in which PAYER pays PROVIDER.
    function simple(uint256 amount) internal view returns (Batch memory) {
        bytes32[] memory debits = Batches.list(Batches.entry(PAYER, amount));
        bytes32[] memory credits = Batches.list(Batches.entry(PROVIDER, amount));
        return Batches.next(settlement, debits, credits);
    }

    function post(Batch memory batch) internal {
        vm.prank(POSTER);
        settlement.post(batch.header, batch.debits, batch.credits);
    }

    function postRefused(Batch memory batch, bytes memory refusal) internal {
        vm.expectRevert(refusal);
        post(batch);
    }
}
