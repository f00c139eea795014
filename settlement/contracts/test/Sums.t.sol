// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Evidence} from "../src/disputes/Evidence.sol";
import {ISpillwayDisputes} from "../src/disputes/ISpillwayDisputes.sol";
import {Header, Leaf} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {Batches} from "./harness/Batches.sol";
import {vm, within} from "./harness/Cheats.sol";
import {DisputesFixture} from "./harness/DisputesFixture.sol";
import {LineBatches, PostedLines} from "./harness/PostedLines.sol";

/// Ledger mode: batches that do not add up, and one that does.
contract SumsTest is DisputesFixture {
    using LineBatches for PostedLines;

    uint256 private constant REWARD = uint256(PENALTY) * CHALLENGER_BPS / 10_000;

    function next() private view returns (PostedLines memory) {
        return LineBatches.next(settlement, threeLeaves(0));
    }

    function word(uint256 index, uint256 sum, uint256 running) private pure returns (bytes32) {
        return bytes32(index << 128 | sum << 64 | running);
    }

    function postSealed(PostedLines memory lines) private {
        lines.seal();
        postLines(lines);
    }

    function requireBroken() private view {
        vm.assertEq(settlement.brokenFrom(), 1, "the poster is stopped");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "penalty");
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + REWARD, "reward");
        requireBacked(0);
    }

    // One leaf

    function wrongLeaf(PostedLines memory lines, uint256 index) private {
        vm.prank(CHALLENGER);
        sums.proveWrongLeaf(lines.line(index));
        requireBroken();
    }

    function test_ALeafBeyondTheCountBreaksTheBatch() public {
        PostedLines memory lines = next();
        lines.header.count = 2;
        postSealed(lines);
        wrongLeaf(lines, 2);
    }

    function test_SumsThatDoNotStartAtTheFirstLeafBreakTheBatch() public {
        PostedLines memory lines = next();
        lines.words[0] = word(0, 3e6 + 1, 3e6);
        postSealed(lines);
        wrongLeaf(lines, 0);
    }

    function test_ARunningSumThatDoesNotStartAtTheFirstLeafBreaksTheBatch() public {
        PostedLines memory lines = next();
        lines.words[0] = word(0, 3e6, 2e6);
        postSealed(lines);
        wrongLeaf(lines, 0);
    }

    function test_ALastLeafThatMissesTheTotalBreaksTheBatch() public {
        PostedLines memory lines = next();
        lines.words[2] = word(2, 11e6, 5e6);
        postSealed(lines);
        wrongLeaf(lines, 2);
    }

    // Two neighbours

    function wrongNeighbours(PostedLines memory lines, uint256 left, uint256 right) private {
        vm.prank(CHALLENGER);
        sums.proveWrongNeighbours(
            lines.header, lines.leaves[left], lines.proof(left), lines.leaves[right], lines.proof(right)
        );
        requireBroken();
    }

    function test_ASumThatDoesNotGoOnBreaksTheBatch() public {
        PostedLines memory lines = next();
        lines.words[1] = word(1, 8e6, 7e6);
        postSealed(lines);
        wrongNeighbours(lines, 0, 1);
    }

    function test_ARunningSumThatDoesNotGoOnBreaksTheBatch() public {
        PostedLines memory lines = next();
        lines.words[1] = word(1, 7e6, 4e6);
        postSealed(lines);
        wrongNeighbours(lines, 0, 1);
    }

    function test_ARunningSumThatGoesOnToTheNextProviderBreaksTheBatch() public {
        PostedLines memory lines = next();
        lines.words[2] = word(2, 12e6, 12e6);
        postSealed(lines);
        wrongNeighbours(lines, 1, 2);
    }

    function test_LeavesThatDoNotAscendBreakTheBatch() public {
        Leaf[] memory leaves = threeLeaves(0);
        (leaves[0].shard, leaves[1].shard) = (1, 0);
        refuseOrder(leaves, 0);
    }

    function test_TheSameAttemptTwiceBreaksTheBatch() public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[1].shard = 0;
        refuseOrder(leaves, 0);
    }

    function test_ProvidersThatDoNotAscendBreakTheBatch() public {
        Leaf[] memory leaves = threeLeaves(0);
        (leaves[1], leaves[2]) = (leaves[2], leaves[1]);
        refuseOrder(leaves, 1);
    }

    function testFuzz_JobKindAndAttemptAscendToo(uint8 field) public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[1].shard = leaves[0].shard;
        if (field % 3 == 0) (leaves[0].job, leaves[1].job) = (bytes32(uint256(2)), bytes32(uint256(1)));
        if (field % 3 == 1) leaves[0].kind = 1;
        if (field % 3 == 2) leaves[0].attempt = 1;
        refuseOrder(leaves, 0);
    }

    function refuseOrder(Leaf[] memory leaves, uint256 left) private {
        PostedLines memory lines = LineBatches.next(settlement, leaves);
        postLines(lines);
        wrongNeighbours(lines, left, left + 1);
    }

    function test_TwoLeavesAtOnePlaceBreakTheBatch() public {
        PostedLines memory lines = next();
        lines.words[2] = lines.words[1];
        postSealed(lines);
        wrongNeighbours(lines, 1, 2);
    }

    // Entries

    function wrongCredit(PostedLines memory lines, uint256 last) private {
        uint256 after_ = last + 1 < lines.leaves.length ? last + 1 : last;
        vm.prank(CHALLENGER);
        sums.proveWrongCredit(
            lines.line(last), lines.leaves[after_], lines.proof(after_), lines.debits, lines.credits
        );
        requireBroken();
    }

    function withCredits(uint256 first, uint256 second) private returns (PostedLines memory lines) {
        lines = next();
        lines.credits[0] = Batches.entry(PROVIDER, first);
        lines.credits[1] = Batches.entry(SECOND, second);
        postSealed(lines);
    }

    function excessCredit(PostedLines memory lines, address provider) private {
        vm.prank(CHALLENGER);
        sums.proveExcessCredit(lines.header, lines.leaves, lines.debits, lines.credits, provider);
    }

    function test_ACreditThatIsTooLargeIsTakenBack() public {
        PostedLines memory lines = withCredits(10e6, 2e6);
        excessCredit(lines, PROVIDER);
        requireBroken();
        vm.assertEq(unpaidOf(PROVIDER), 7e6, "what its lines come to");
        vm.assertEq(disputes.reserve(), PENALTY - REWARD + 3e6, "kept for whom it belongs to");
        refuse(abi.encodeWithSelector(ISpillwayDisputes.AlreadyRaised.selector, keyOf(PROVIDER)));
        sums.proveExcessCredit(lines.header, lines.leaves, lines.debits, lines.credits, PROVIDER);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveExcessCredit(lines.header, lines.leaves, lines.debits, lines.credits, SECOND);
    }

    function keyOf(address account) private pure returns (bytes32) {
        bytes4 report = bytes4(keccak256("reportCredit(uint64,address,address,uint256)"));
        return keccak256(abi.encode(report, uint64(1), account));
    }

    function test_ACreditThatIsNotItsLinesBreaksTheBatchOnce() public {
        PostedLines memory lines = withCredits(10e6, 2e6);
        wrongCredit(lines, 2);
        refuse(abi.encodeWithSelector(ISpillwayDisputes.AlreadyRaised.selector, brokenKey(1)));
        sums.proveWrongCredit(lines.line(1), lines.leaves[2], lines.proof(2), lines.debits, lines.credits);
        excessCredit(lines, PROVIDER);
        vm.assertEq(unpaidOf(PROVIDER), 7e6, "taken back all the same");
        requireBroken();
    }

    function brokenKey(uint256 sequence) private pure returns (bytes32) {
        return keccak256(abi.encode(ISpillwayDisputes.Fault.BrokenSum, sequence));
    }

    /// A poster whose positions lie can break its own batch, and takes nothing from those whose lines they are.
    function testFuzz_NoPositionTakesAProvidersPay(uint64 sum, uint64 running) public {
        PostedLines memory lines = next();
        lines.words[1] = word(1, sum, running);
        postSealed(lines);
        vm.prank(CHALLENGER);
        try sums.proveWrongCredit(
            lines.line(1), lines.leaves[2], lines.proof(2), lines.debits, lines.credits
        ) {}
            catch {}
        vm.assertEq(unpaidOf(PROVIDER), 7e6, "its pay");
        vm.assertEq(unpaidOf(SECOND), 5e6, "and the other's");
    }

    function test_ACreditForNobodysWorkIsTakenBack() public {
        address before = address(0xb0a);
        address between = address(0xbbb);
        PostedLines memory lines = next();
        lines.leaves[2].provider = address(0xc0c);
        lines.credits = new bytes32[](3);
        lines.credits[0] = Batches.entry(before, 2e6);
        lines.credits[1] = Batches.entry(PROVIDER, 7e6);
        lines.credits[2] = Batches.entry(between, 3e6);
        postSealed(lines);
        uint256 snapshot = vm.snapshotState();
        withoutLine(lines, 0, 0, before);
        vm.revertToState(snapshot);
        withoutLine(lines, 1, 2, between);
        excessCredit(lines, before);
        excessCredit(lines, between);
        vm.assertEq(unpaidOf(before) + unpaidOf(between), 0, "taken back");
        vm.assertEq(disputes.reserve(), PENALTY - REWARD + 5e6, "kept");
    }

    function withoutLine(PostedLines memory lines, uint256 left, uint256 right, address provider) private {
        vm.prank(CHALLENGER);
        sums.proveCreditWithoutLine(
            lines.line(left), lines.leaves[right], lines.proof(right), lines.debits, lines.credits, provider
        );
        requireBroken();
    }

    function test_ACreditBehindTheLastLeafBreaksTheBatch() public {
        PostedLines memory lines = next();
        lines.credits[1] = Batches.entry(address(0xfff), 5e6);
        postSealed(lines);
        withoutLine(lines, 2, 2, address(0xfff));
    }

    function test_AProviderWithALineIsNotWithoutOne() public {
        PostedLines memory lines = next();
        postLines(lines);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveCreditWithoutLine(
            lines.line(0), lines.leaves[1], lines.proof(1), lines.debits, lines.credits, PROVIDER
        );
        // Between leaves that do not follow one another anybody might be.
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveCreditWithoutLine(
            lines.line(0), lines.leaves[2], lines.proof(2), lines.debits, lines.credits, SECOND
        );
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveCreditWithoutLine(
            lines.line(1), lines.leaves[2], lines.proof(2), lines.debits, lines.credits, PROVIDER
        );
    }

    function test_APayerWhoPaidTooMuchIsGivenItBack() public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[2].payer = OTHER_PAYER;
        PostedLines memory lines = LineBatches.next(settlement, leaves);
        lines.debits = new bytes32[](2);
        lines.debits[0] = Batches.entry(PAYER, 10e6);
        lines.debits[1] = Batches.entry(OTHER_PAYER, 2e6);
        postSealed(lines);
        vm.prank(CHALLENGER);
        sums.proveExcessDebit(lines.header, lines.leaves, lines.debits, lines.credits, PAYER);
        vm.assertEq(deposited(PAYER), DEPOSIT - 7e6, "just its lines");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY - 3e6, "the guarantor pays");
        requireBacked(0);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveExcessDebit(lines.header, lines.leaves, lines.debits, lines.credits, OTHER_PAYER);
    }

    /// The whole-batch proof computes the very tree that posters build, for any count.
    function testFuzz_TheTreeOfAllLeavesIsTheOneThatWasPosted(uint8 count, uint64 salt) public {
        Leaf[] memory leaves = many(within(count, 1, 24), salt);
        PostedLines memory lines = LineBatches.next(settlement, leaves);
        lines.debits[0] = Batches.entry(OTHER_PAYER, Batches.sum(lines.debits));
        postSealed(lines);
        vm.prank(CHALLENGER);
        sums.proveExcessDebit(lines.header, lines.leaves, lines.debits, lines.credits, OTHER_PAYER);
        vm.assertEq(deposited(OTHER_PAYER), DEPOSIT, "all of it");
    }

    // An honest batch

    function many(uint256 count, uint64 salt) private pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 draw = uint256(keccak256(abi.encode(salt, i)));
            address provider = address(uint160(0x1000 + i / (1 + salt % 4)));
            leaves[i] = leafOf(provider, uint32(i), uint128(draw % 10e6));
        }
    }

    function refuse(bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(CHALLENGER);
    }

    /// Whatever is shown of a batch that adds up, nothing is proven and nobody loses anything.
    function testFuzz_AnHonestBatchCannotBeBroken(uint8 count, uint64 salt, uint8 a, uint8 b) public {
        PostedLines memory lines = LineBatches.next(settlement, many(within(count, 1, 12), salt));
        postLines(lines);
        uint256 i = a % lines.leaves.length;
        uint256 j = b % lines.leaves.length;
        bytes memory refusal = abi.encodeWithSelector(Evidence.NothingProven.selector);
        refuse(refusal);
        sums.proveWrongLeaf(lines.line(i));
        refuse(refusal);
        sums.proveWrongNeighbours(
            lines.header, lines.leaves[i], lines.proof(i), lines.leaves[j], lines.proof(j)
        );
        refuse(refusal);
        sums.proveWrongCredit(lines.line(i), lines.leaves[j], lines.proof(j), lines.debits, lines.credits);
        refuse(refusal);
        sums.proveCreditWithoutLine(
            lines.line(i),
            lines.leaves[j],
            lines.proof(j),
            lines.debits,
            lines.credits,
            lines.leaves[uint256(salt) % lines.leaves.length].provider
        );
        refuse(refusal);
        sums.proveExcessDebit(lines.header, lines.leaves, lines.debits, lines.credits, PAYER);
        refuse(refusal);
        sums.proveExcessCredit(
            lines.header, lines.leaves, lines.debits, lines.credits, lines.leaves[i].provider
        );
        vm.assertEq(settlement.brokenFrom(), 0, "nothing is broken");
    }

    function test_EntriesOfAnotherBatchProveNothing() public {
        PostedLines memory lines = next();
        postLines(lines);
        lines.credits[0] = Batches.entry(PROVIDER, 1);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveWrongCredit(lines.line(1), lines.leaves[2], lines.proof(2), lines.debits, lines.credits);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveExcessDebit(lines.header, lines.leaves, lines.debits, lines.credits, PAYER);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveCreditWithoutLine(
            lines.line(1), lines.leaves[2], lines.proof(2), lines.debits, lines.credits, address(0xbbb)
        );
    }

    function test_LeavesOfAnotherBatchProveNoDebit() public {
        PostedLines memory lines = next();
        postLines(lines);
        lines.leaves[0].amount = 1;
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveExcessDebit(lines.header, lines.leaves, lines.debits, lines.credits, PAYER);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        sums.proveExcessDebit(lines.header, new Leaf[](0), lines.debits, lines.credits, PAYER);
    }

    // What follows

    function broken() private returns (Header memory) {
        PostedLines memory lines = next();
        lines.words[2] = word(2, 11e6, 5e6);
        postSealed(lines);
        wrongLeaf(lines, 2);
        return lines.header;
    }

    function test_ABrokenPosterPostsNothingMoreAndAnotherOneGoesOn() public {
        broken();
        PostedLines memory lines = LineBatches.next(settlement, threeLeaves(10));
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.IsBroken.selector, 1));
        postLines(lines);
        vm.prank(OWNER);
        settlement.setPoster(STRANGER);
        vm.prank(STRANGER);
        settlement.post(lines.header, lines.debits, lines.credits);
        vm.assertEq(settlement.nextSequence(), 3, "posted");
    }

    function test_ANewPosterDoesNotAnswerForTheOneBefore() public {
        PostedLines memory lines = next();
        lines.words[2] = word(2, 11e6, 5e6);
        postSealed(lines);
        vm.prank(OWNER);
        settlement.setPoster(STRANGER);
        sums.proveWrongLeaf(lines.line(2));
        vm.assertEq(settlement.brokenFrom(), 0, "posting goes on");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "the guarantor pays all the same");
    }

    function test_OnlyTheSumsContractReports() public {
        bytes memory refusal = abi.encodeWithSelector(ISpillwayDisputes.NotSums.selector, STRANGER);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        disputes.reportBroken(1, STRANGER);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        disputes.reportDebit(1, STRANGER, PAYER, 1);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        disputes.reportCredit(1, STRANGER, PROVIDER, 1);
    }

    function test_LedgerModeHasNoPayToAskFor() public {
        PostedLines memory lines = next();
        postLines(lines);
        refuse(abi.encodeWithSelector(Evidence.NothingProven.selector));
        disputes.challengePay(lines.line(0));
    }
}
