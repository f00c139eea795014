// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Evidence, Line} from "../src/disputes/Evidence.sol";
import {ISpillwayDisputes} from "../src/disputes/ISpillwayDisputes.sol";
import {SpillwaySigners} from "../src/disputes/SpillwaySigners.sol";
import {Leaf, Receipt} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {vm} from "./harness/Cheats.sol";
import {DisputesFixture} from "./harness/DisputesFixture.sol";
import {LineBatches, PostedLines} from "./harness/PostedLines.sol";

/// The same thing twice: a shard that is paid twice, and an attempt with two results.
contract DoublesTest is DisputesFixture {
    using LineBatches for PostedLines;

    uint256 private constant REWARD = uint256(PENALTY) * CHALLENGER_BPS / 10_000;

    function posted(Leaf[] memory leaves) private returns (PostedLines memory lines) {
        lines = LineBatches.next(settlement, leaves);
        postLines(lines);
    }

    // Duplicates

    function test_AShardThatIsPaidAgainInALaterBatchIsVoid() public {
        PostedLines memory first = posted(threeLeaves(0));
        finalise();
        PostedLines memory second = posted(threeLeaves(2)); // Shard 2 once more, by another provider.
        vm.prank(CHALLENGER);
        disputes.proveDuplicate(first.line(2), second.line(0), none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 24e6 + 3e6, "the later line is given back");
        vm.assertEq(unpaidOf(SECOND), 10e6, "the earlier one stands");
        vm.assertEq(unpaidOf(PROVIDER), 11e6, "out of the later provider's pay");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "the guarantor answers");
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + REWARD, "reward");
        requireBacked(0);
    }

    function test_AShardThatIsPaidTwiceInOneBatchIsVoid() public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[2].shard = 1;
        PostedLines memory lines = posted(leaves);
        disputes.proveDuplicate(lines.line(1), lines.line(2), none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 5e6, "the later line");
        bytes32 what = keccak256(abi.encode(ISpillwayDisputes.Fault.Duplicate, uint256(1) << 32 | 2));
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.AlreadyRaised.selector, what));
        disputes.proveDuplicate(lines.line(1), lines.line(2), none());
    }

    function test_TheEarlierOfTwoIsNotVoid() public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[2].shard = 1;
        PostedLines memory lines = posted(leaves);
        refuseDuplicate(lines.line(2), lines.line(1));
        refuseDuplicate(lines.line(1), lines.line(1));
    }

    function test_OtherWorkIsNoDuplicate() public {
        PostedLines memory lines = posted(threeLeaves(0));
        refuseDuplicate(lines.line(0), lines.line(1));
        Leaf[] memory leaves = threeLeaves(0);
        leaves[0].kind = 1; // A check of the same shard.
        leaves[1].job = keccak256("another job");
        PostedLines memory later = posted(leaves);
        refuseDuplicate(lines.line(0), later.line(0));
        refuseDuplicate(lines.line(1), later.line(1));
    }

    function refuseDuplicate(Line memory first, Line memory second) private {
        vm.expectRevert(Evidence.NothingProven.selector);
        disputes.proveDuplicate(first, second, none());
    }

    // Equivocation

    function register() private {
        address key = vm.addr(RECEIPT_KEY);
        bytes memory signature = signed(RECEIPT_KEY, signers.receiptKeyDigest(PROVIDER));
        vm.prank(PROVIDER);
        signers.registerReceiptKey(key, signature);
    }

    function receiptOf(Leaf memory leaf, bytes32 output) private pure returns (Receipt memory receipt) {
        receipt.order = leaf.order;
        receipt.outputDigest = output;
        receipt.started = START;
        receipt.finished = START + 60;
    }

    function signedBy(uint256 key, Receipt memory receipt) private view returns (bytes memory) {
        return signed(key, formats.receiptDigest(receipt));
    }

    function test_TwoResultsOfOneAttemptVoidTheLine() public {
        register();
        PostedLines memory lines = posted(threeLeaves(0));
        prove(lines.line(1), receiptOf(lines.leaves[1], "one"), receiptOf(lines.leaves[1], "other"), "");
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 4e6, "the line is given back");
        vm.assertEq(unpaidOf(PROVIDER), 3e6, "out of its unpaid value");
        vm.assertEq(stake.slashable(PROVIDER), STAKE - PENALTY, "the provider answers");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE, "the guarantor does not");
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + REWARD, "reward");
        requireBacked(0);
    }

    function test_AnEquivocatorIsPaidNothingUntilVerdictsHadTheirTime() public {
        register();
        PostedLines memory lines = posted(threeLeaves(0));
        prove(lines.line(1), receiptOf(lines.leaves[1], "one"), receiptOf(lines.leaves[1], "other"), "");
        finalise();
        uint64 until = START + APPEAL;
        vm.assertEq(settlement.frozenUntil(PROVIDER), until, "frozen");
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.IsFrozen.selector, PROVIDER, until));
        settlement.claim(PROVIDER);
        settlement.claim(SECOND);
        vm.warp(until);
        vm.assertEq(settlement.claim(PROVIDER), 3e6, "the rest is its own");
    }

    function test_OneResultTwiceIsNoEquivocation() public {
        register();
        PostedLines memory lines = posted(threeLeaves(0));
        Receipt memory again = receiptOf(lines.leaves[1], "one");
        again.finished += 5;
        bytes memory refusal = abi.encodeWithSelector(Evidence.NothingProven.selector);
        prove(lines.line(1), receiptOf(lines.leaves[1], "one"), again, refusal);
    }

    function test_ReceiptsOfAnotherOrderAreNoEquivocation() public {
        register();
        PostedLines memory lines = posted(threeLeaves(0));
        bytes memory refusal = abi.encodeWithSelector(Evidence.NothingProven.selector);
        prove(lines.line(1), receiptOf(lines.leaves[0], "one"), receiptOf(lines.leaves[1], "other"), refusal);
        prove(lines.line(1), receiptOf(lines.leaves[1], "one"), receiptOf(lines.leaves[0], "other"), refusal);
    }

    function test_ReceiptsByAKeyOfNobodyAreNoEquivocation() public {
        PostedLines memory lines = posted(threeLeaves(0));
        bytes memory refusal =
            abi.encodeWithSelector(SpillwaySigners.SignatureRefused.selector, vm.addr(RECEIPT_KEY));
        prove(lines.line(1), receiptOf(lines.leaves[1], "one"), receiptOf(lines.leaves[1], "other"), refusal);
    }

    function test_ReceiptsOfAnotherProviderAreNoEquivocation() public {
        register();
        PostedLines memory lines = posted(threeLeaves(0));
        bytes memory refusal =
            abi.encodeWithSelector(SpillwaySigners.SignatureRefused.selector, vm.addr(RECEIPT_KEY));
        prove(lines.line(2), receiptOf(lines.leaves[2], "one"), receiptOf(lines.leaves[2], "other"), refusal);
    }

    function prove(Line memory line, Receipt memory one, Receipt memory other, bytes memory refusal) private {
        bytes memory ofOne = signedBy(RECEIPT_KEY, one);
        bytes memory ofOther = signedBy(RECEIPT_KEY, other);
        if (refusal.length != 0) vm.expectRevert(refusal);
        vm.prank(CHALLENGER);
        disputes.proveEquivocation(line, one, ofOne, other, ofOther, none());
    }

    // Receipt keys

    function test_AReceiptKeyIsTakenOnceAndOnlyWithItsOwnConsent() public {
        register();
        address key = vm.addr(RECEIPT_KEY);
        vm.assertEq(signers.providerOf(key), PROVIDER, "registered");
        bytes memory signature = signed(RECEIPT_KEY, signers.receiptKeyDigest(SECOND));
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.KeyTaken.selector, key, PROVIDER));
        vm.prank(SECOND);
        signers.registerReceiptKey(key, signature);
        address other = vm.addr(OTHER_KEY);
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.SignatureRefused.selector, other));
        vm.prank(SECOND);
        signers.registerReceiptKey(other, signature);
        signature = signed(OTHER_KEY, signers.receiptKeyDigest(PROVIDER)); // For somebody else.
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.SignatureRefused.selector, other));
        vm.prank(SECOND);
        signers.registerReceiptKey(other, signature);
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.SignatureRefused.selector, address(0)));
        signers.registerReceiptKey(other, "not a signature");
    }
}
