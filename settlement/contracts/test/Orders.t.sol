// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Evidence, Line} from "../src/disputes/Evidence.sol";
import {ISpillwayDisputes} from "../src/disputes/ISpillwayDisputes.sol";
import {Formats, Leaf, Order} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {vm, within} from "./harness/Cheats.sol";
import {DisputesFixture} from "./harness/DisputesFixture.sol";
import {LineBatches, PostedLines} from "./harness/PostedLines.sol";

/// A line that no order of its payer covers.
contract OrdersTest is DisputesFixture {
    using Formats for Leaf;
    using Formats for Order;
    using LineBatches for PostedLines;

    uint256 private constant REWARD = uint256(PENALTY) * CHALLENGER_BPS / 10_000;

    function posted() private returns (PostedLines memory lines) {
        lines = LineBatches.next(settlement, threeLeaves(0));
        postLines(lines);
    }

    function challenge(PostedLines memory lines, uint256 index) private returns (uint256 id) {
        vm.prank(CHALLENGER);
        return disputes.challengeOrder(lines.line(index));
    }

    function answer(uint256 id, Leaf memory leaf, uint128 upperBound) private {
        Order memory order = orderOf(leaf, upperBound);
        disputes.answerOrder(id, leaf, order, signed(ORDER_KEY, formats.orderDigest(order)));
    }

    function refuseAnswer(uint256 id, Leaf memory leaf, uint128 upperBound, bytes memory refusal) private {
        Order memory order = orderOf(leaf, upperBound);
        bytes memory signature = signed(ORDER_KEY, formats.orderDigest(order));
        vm.expectRevert(refusal);
        disputes.answerOrder(id, leaf, order, signature);
    }

    // Challenged and not answered

    function test_AnUnansweredLineIsVoid() public {
        PostedLines memory lines = posted();
        vm.assertEq(disputes.disputeCount(), 0, "nothing yet");
        uint256 id = challenge(lines, 1);
        requireBacked(1);
        ISpillwayDisputes.Dispute memory its = disputes.dispute(id);
        vm.assertEq(disputes.disputeCount(), id + 1, "counted");
        vm.assertEq(its.leafHash, lines.leaves[1].hash(), "leaf");
        vm.assertEq(its.rank, uint256(1) << 32 | 1, "place");
        vm.assertTrue(its.state == ISpillwayDisputes.State.Open, "open");
        vm.warp(START + ANSWER);
        disputes.resolveOrder(id, none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 4e6, "the payer has it back");
        vm.assertEq(unpaidOf(PROVIDER), 3e6, "out of what the provider had not got");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "the guarantor answers");
        vm.assertEq(stake.slashable(PROVIDER), STAKE, "the provider does not");
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + REWARD, "bond and reward");
        vm.assertEq(disputes.reserve(), PENALTY - REWARD, "the rest is kept");
        requireBacked(0);
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.DisputeNotOpen.selector, id));
        disputes.resolveOrder(id, none());
    }

    function test_AnUnansweredLineThatWasClaimedIsPaidByTheGuarantor() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        finalise();
        settlement.claim(PROVIDER);
        vm.warp(START + ANSWER);
        disputes.resolveOrder(id, none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 4e6, "the payer has it back");
        vm.assertEq(token.balanceOf(PROVIDER), 7e6, "the provider keeps it");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY - 4e6, "the guarantor paid both");
        uint256 most = uint256(PENALTY + 4e6) * CHALLENGER_BPS / 10_000;
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + most, "a share of all that was taken");
        requireBacked(0);
    }

    function test_WhatNobodyCanPayYetIsADebtOfTheProvider() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        finalise();
        settlement.claim(PROVIDER);
        vm.warp(START + ANSWER);
        emptyGuarantor();
        disputes.resolveOrder(id, none());
        vm.assertEq(disputes.debtOf(PROVIDER, PAYER), 4e6, "owed");
        vm.assertEq(disputes.collectDebt(PROVIDER, PAYER, none()), 0, "nothing is there");
        lines = LineBatches.next(settlement, threeLeaves(10));
        postLines(lines);
        vm.assertEq(disputes.collectDebt(PROVIDER, PAYER, none()), 4e6, "as soon as something is there");
        vm.assertEq(disputes.debtOf(PROVIDER, PAYER), 0, "settled");
        vm.assertEq(deposited(PAYER), DEPOSIT - 24e6 + 4e6, "the payer has it back");
        vm.assertEq(disputes.collectDebt(PROVIDER, PAYER, none()), 0, "once");
    }

    function test_ADebtorGetsNothingForATime() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        finalise();
        settlement.claim(PROVIDER);
        emptyGuarantor();
        vm.warp(START + ANSWER);
        disputes.resolveOrder(id, none());
        uint64 until = START + ANSWER + APPEAL;
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.IsFrozen.selector, PROVIDER, until));
        settlement.claim(PROVIDER);
        vm.warp(until);
        settlement.claim(PROVIDER);
    }

    function emptyGuarantor() private {
        vm.prank(address(disputes));
        stake.slash(GUARANTOR, type(uint128).max);
        vm.prank(address(disputes));
        token.transfer(address(0xdead), STAKE);
    }

    function test_APayerWhoChallengesGetsItsMoneyAndNoReward() public {
        give(PAYER, BOND);
        PostedLines memory lines = posted();
        vm.prank(PAYER);
        uint256 id = disputes.challengeOrder(lines.line(1));
        vm.warp(START + ANSWER);
        disputes.resolveOrder(id, none());
        vm.assertEq(token.balanceOf(PAYER), BOND, "the bond");
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 4e6, "the line");
        vm.assertEq(disputes.reserve(), PENALTY, "the penalty is kept");
    }

    function test_TheReserveGoesToWhomTheAuthoritySays() public {
        uint256 id = challenge(posted(), 1);
        vm.warp(START + ANSWER);
        disputes.resolveOrder(id, none());
        vm.prank(OWNER);
        disputes.compensate(OTHER_PAYER, 7e6);
        vm.assertEq(deposited(OTHER_PAYER), DEPOSIT + 7e6, "deposit");
        vm.assertEq(disputes.reserve(), PENALTY - REWARD - 7e6, "reserve");
        requireBacked(0);
        vm.expectRevert(notAllowed());
        vm.prank(STRANGER);
        disputes.compensate(STRANGER, 1);
    }

    function notAllowed() private pure returns (bytes memory) {
        return abi.encodeWithSignature("AccessManagedUnauthorized(address)", STRANGER);
    }

    // Answered

    function test_AnAnsweredChallengeCostsTheBond() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        answer(id, lines.leaves[1], 4e6);
        vm.assertEq(deposited(PROVIDER), BOND, "the provider has the bond");
        vm.assertEq(unpaidOf(PROVIDER), 7e6, "and its pay");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE, "nobody lost a stake");
        requireBacked(0);
        vm.warp(START + ANSWER);
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.DisputeNotOpen.selector, id));
        disputes.resolveOrder(id, none());
    }

    function test_ALineIsChallengedOnce() public {
        PostedLines memory lines = posted();
        answer(challenge(lines, 1), lines.leaves[1], 4e6);
        bytes32 what = keccak256(abi.encode(ISpillwayDisputes.Fault.MissingOrder, uint256(1) << 32 | 1));
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.AlreadyRaised.selector, what));
        challenge(lines, 1);
    }

    function test_AKeyThatWasRevokedSinceStillAnswers() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        vm.prank(PAYER);
        settlement.authorizeOrderKey(address(0), 0, 0);
        answer(id, lines.leaves[1], 4e6);
        vm.assertEq(deposited(PROVIDER), BOND, "the provider has the bond");
    }

    function test_AnOrderOfAStrangersKeyIsNoAnswer() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        Order memory order = orderOf(lines.leaves[1], 4e6);
        bytes memory signature = signed(OTHER_KEY, formats.orderDigest(order));
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.OrderNotSigned.selector, PAYER));
        disputes.answerOrder(id, lines.leaves[1], order, signature);
    }

    function test_AnotherOrderIsNoAnswer() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        bytes32 named = lines.leaves[1].order;
        bytes memory refusal = abi.encodeWithSelector(ISpillwayDisputes.OrderMismatch.selector, named);
        refuseAnswer(id, lines.leaves[1], 5e6, refusal);
    }

    function test_TheOrderOfAnotherLineIsNoAnswer() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        bytes memory refusal = abi.encodeWithSelector(
            ISpillwayDisputes.LeafMismatch.selector, lines.leaves[1].hash(), lines.leaves[0].hash()
        );
        refuseAnswer(id, lines.leaves[0], 3e6, refusal);
    }

    function test_FromTheDeadlineOnNothingIsAnsweredAndBeforeItNothingResolved() public {
        PostedLines memory lines = posted();
        uint256 id = challenge(lines, 1);
        uint64 deadline = START + ANSWER;
        vm.warp(deadline - 1);
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.TooEarly.selector, deadline));
        disputes.resolveOrder(id, none());
        vm.warp(deadline);
        bytes memory tooLate = abi.encodeWithSelector(ISpillwayDisputes.TooLate.selector, deadline);
        refuseAnswer(id, lines.leaves[1], 4e6, tooLate);
    }

    function test_AChallengeIsAnsweredByItsOwnKindOnly() public {
        uint256 id = challenge(posted(), 1);
        bytes memory refusal = abi.encodeWithSelector(ISpillwayDisputes.DisputeNotOpen.selector, id);
        vm.warp(START + APPEAL);
        vm.expectRevert(refusal);
        disputes.executeVerdict(id, none());
        vm.expectRevert(refusal);
        disputes.resolvePay(id);
        refusal = abi.encodeWithSelector(ISpillwayDisputes.DisputeNotOpen.selector, id + 1);
        vm.expectRevert(refusal);
        disputes.resolveOrder(id + 1, none());
    }

    // What can be challenged

    function test_AFinalBatchCannotBeDisputed() public {
        PostedLines memory lines = posted();
        finalise();
        vm.expectRevert(abi.encodeWithSelector(Evidence.HeaderFinal.selector, 1));
        challenge(lines, 1);
    }

    function test_AMadeUpHeaderIsRefused() public {
        PostedLines memory lines = posted();
        lines.header.dataHash = keccak256("another");
        vm.expectRevert(abi.encodeWithSelector(Evidence.HeaderNotPosted.selector, 1));
        challenge(lines, 1);
    }

    function testFuzz_AMadeUpLineIsRefused(uint128 amount, uint8 word, bytes32 other) public {
        PostedLines memory lines = posted();
        amount = uint128(within(amount, 0, type(uint64).max));
        vm.assume(amount != 4e6);
        lines.leaves[1].amount = amount;
        bytes memory refusal =
            abi.encodeWithSelector(Evidence.LineNotInBatch.selector, lines.leaves[1].hash());
        PostedLines memory honest = LineBatches.next(settlement, threeLeaves(0));
        bytes32[] memory proof = honest.proof(1);
        proof[word % proof.length] = other;
        vm.expectRevert(refusal);
        vm.prank(CHALLENGER);
        disputes.challengeOrder(lineWith(lines, proof));
    }

    function lineWith(PostedLines memory lines, bytes32[] memory proof) private pure returns (Line memory) {
        return Line(lines.header, lines.leaves[1], proof);
    }

    // Exceeded

    function test_WhatExceedsTheOrderIsGivenBack() public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[1].order = orderOf(leaves[1], 2500000).hash();
        PostedLines memory lines = LineBatches.next(settlement, leaves);
        postLines(lines);
        vm.prank(CHALLENGER);
        disputes.proveExceededOrder(lines.line(1), orderOf(leaves[1], 2500000), none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 1500000, "the excess");
        vm.assertEq(unpaidOf(PROVIDER), 5500000, "the provider keeps what was ordered");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "penalty");
        requireBacked(0);
    }

    function test_AnOrderForSomethingElseVoidsTheLine() public {
        Leaf[] memory leaves = threeLeaves(0);
        Order memory order = orderOf(leaves[0], 9e6);
        leaves[1].order = order.hash();
        PostedLines memory lines = LineBatches.next(settlement, leaves);
        postLines(lines);
        disputes.proveExceededOrder(lines.line(1), order, none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 4e6, "all of the line");
        bytes32 what = keccak256(abi.encode(ISpillwayDisputes.Fault.ExceededOrder, uint256(1) << 32 | 1));
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.AlreadyRaised.selector, what));
        disputes.proveExceededOrder(lines.line(1), order, none());
    }

    function testFuzz_AnOrderThatCoversTheLineProvesNothing(uint128 upperBound) public {
        upperBound = uint128(within(upperBound, 4e6, type(uint128).max));
        Leaf[] memory leaves = threeLeaves(0);
        leaves[1].order = orderOf(leaves[1], upperBound).hash();
        PostedLines memory lines = LineBatches.next(settlement, leaves);
        postLines(lines);
        vm.expectRevert(Evidence.NothingProven.selector);
        disputes.proveExceededOrder(lines.line(1), orderOf(leaves[1], upperBound), none());
    }

    function test_AnOrderThatTheLineDoesNotNameProvesNothing() public {
        PostedLines memory lines = posted();
        Order memory order = orderOf(lines.leaves[1], 1e6);
        bytes32 named = lines.leaves[1].order;
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.OrderMismatch.selector, named));
        disputes.proveExceededOrder(lines.line(1), order, none());
    }

    function test_TwoFaultsOfOneLineGiveBackNoMoreThanItCost() public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[1].order = orderOf(leaves[1], 1e6).hash();
        PostedLines memory lines = LineBatches.next(settlement, leaves);
        postLines(lines);
        uint256 id = challenge(lines, 1);
        disputes.proveExceededOrder(lines.line(1), orderOf(leaves[1], 1e6), none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 3e6, "the excess");
        vm.warp(START + ANSWER);
        disputes.resolveOrder(id, none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 4e6, "and the rest, no more");
        vm.assertEq(unpaidOf(PROVIDER), 3e6, "the other line stands");
    }
}
