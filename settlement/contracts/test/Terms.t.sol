// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwayDisputes} from "../src/disputes/ISpillwayDisputes.sol";
import {SpillwayDisputes} from "../src/disputes/SpillwayDisputes.sol";
import {SpillwaySums} from "../src/disputes/SpillwaySums.sol";
import {TestToken} from "../src/development/TestToken.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../src/settlement/SpillwaySettlement.sol";
import {SpillwayStake} from "../src/stake/SpillwayStake.sol";
import {vm} from "./harness/Cheats.sol";
import {Deployment} from "./harness/Deployment.sol";
import {DisputesFixture} from "./harness/DisputesFixture.sol";

/// What a disputes contract refuses to be deployed with, and the fee discount that it answers for.
contract TermsTest is DisputesFixture {
    /// Terms that hold for the disputes contract that is deployed next.
    function standing() private returns (ISpillwayDisputes.Terms memory) {
        return standingWith(token, UNBOND, false);
    }

    function standingWith(TestToken staked, uint64 unbondDelay, bool ofAnother)
        private
        returns (ISpillwayDisputes.Terms memory)
    {
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 4);
        ISpillwaySettlement.Parameters memory its =
            Deployment.parameters(address(token), OWNER, POSTER, WINDOW, DELAY);
        its.disputes = predicted;
        settlement = new SpillwaySettlement(its);
        address other = ofAnother ? STRANGER : predicted;
        stake = new SpillwayStake(staked, other, unbondDelay, tiers());
        sums = new SpillwaySums(settlement, predicted);
        return terms(its.authority);
    }

    function tiers() private pure returns (SpillwayStake.Tier[] memory list) {
        list = new SpillwayStake.Tier[](1);
        list[0] = SpillwayStake.Tier({minimum: 100e6, discountBps: 2500});
    }

    function refuse(ISpillwayDisputes.Terms memory its, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.InvalidParameter.selector, field));
        new SpillwayDisputes(its);
    }

    function test_TheTermsThatStandAreAcceptedAndShown() public {
        disputes = new SpillwayDisputes(standing());
        vm.assertEq(address(disputes.settlement()), address(settlement), "settlement");
        vm.assertEq(address(disputes.token()), address(token), "token");
        vm.assertEq(disputes.bond(), BOND, "bond");
        vm.assertEq(disputes.penalty(), PENALTY, "penalty");
    }

    function test_TheDiscountIsTheOneOfTheStake() public {
        disputes = new SpillwayDisputes(standing());
        vm.assertEq(disputes.feeDiscountBps(PROVIDER), 0, "without a stake");
        bond(PROVIDER, 100e6);
        vm.assertEq(disputes.feeDiscountBps(PROVIDER), 2500, "with one");
    }

    function test_PartsOfAnotherDisputesContractAreRefused() public {
        ISpillwayDisputes.Terms memory its = standing();
        its.settlement = address(Deployment.ledger(address(token), OWNER, POSTER, WINDOW, DELAY));
        refuse(its, "settlement");
        refuse(standingWith(token, UNBOND, true), "stake");
        refuse(standingWith(new TestToken(), UNBOND, false), "stake");
    }

    function test_SumsOfAnotherSettlementContractAreRefused() public {
        address foreseen = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 5);
        SpillwaySums foreign = new SpillwaySums(settlement, foreseen);
        ISpillwayDisputes.Terms memory its = standing();
        its.sums = address(foreign);
        refuse(its, "sums");
    }

    function test_AStakeMustStayUntilTheLastDisputeHasEnded() public {
        refuse(standingWith(token, 2 * WINDOW + APPEAL - 1, false), "unbondDelay");
        new SpillwayDisputes(standingWith(token, 2 * WINDOW + APPEAL, false));
    }

    function test_AddressesMustBeThere() public {
        ISpillwayDisputes.Terms memory its = standing();
        its.signers = STRANGER;
        refuse(its, "signers");
        its = standing();
        its.authority = STRANGER;
        refuse(its, "authority");
        its = standing();
        its.guarantor = address(0);
        refuse(its, "guarantor");
    }

    function test_TimesAreNeitherZeroNorLongerThanThirtyDays() public {
        uint64[2] memory wrong = [uint64(0), 30 days + 1];
        for (uint256 i = 0; i < wrong.length; ++i) {
            ISpillwayDisputes.Terms memory its = standing();
            its.answerTime = wrong[i];
            refuse(its, "answerTime");
            its = standing();
            its.appealTime = wrong[i];
            refuse(its, "appealTime");
        }
    }

    function test_TheChallengerGetsHalfAtMostAndAVerdictAllAtMost() public {
        ISpillwayDisputes.Terms memory its = standing();
        its.challengerBps = 5001;
        refuse(its, "challengerBps");
        its = standing();
        its.verdictCapBps = 10_001;
        refuse(its, "verdictCapBps");
        its = standing();
        its.challengerBps = 5000;
        its.verdictCapBps = 10_000;
        new SpillwayDisputes(its);
    }
}
