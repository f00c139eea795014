// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Evidence, Unpaid} from "../src/disputes/Evidence.sol";
import {ISpillwayDisputes, Verdict} from "../src/disputes/ISpillwayDisputes.sol";
import {Formats, Leaf} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {vm, within} from "./harness/Cheats.sol";
import {LineBatches, PostedLines} from "./harness/PostedLines.sol";
import {RootDisputesFixture} from "./harness/RootDisputesFixture.sol";
import {Account, SumTrees} from "./harness/SumTrees.sol";

/// Root mode: pay roots that are withheld or wrong, and where a refund comes from.
contract PayTest is RootDisputesFixture {
    using Formats for Leaf;
    using LineBatches for PostedLines;

    function refuse(bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(CHALLENGER);
    }

    function nothing() private pure returns (bytes memory) {
        return abi.encodeWithSelector(Evidence.NothingProven.selector);
    }

    // Withheld

    function challenge(PostedLines memory lines, uint256 index) private returns (uint256 id) {
        vm.prank(CHALLENGER);
        return disputes.challengePay(lines.line(index));
    }

    function test_AnAnswerIsAllThatAClaimNeeds() public {
        Account[] memory all = earned(7e6, 5e6, 0);
        PostedLines memory lines = postRoots(threeLeaves(0), all);
        uint256 id = challenge(lines, 2);
        bytes32[] memory proof = SumTrees.proof(all, 1);
        vm.expectEmit(address(disputes));
        emit ISpillwayDisputes.PayShown(id, SECOND, 5e6, proof);
        disputes.answerPay(id, lines.header, 5e6, proof);
        vm.assertEq(deposited(SECOND), BOND, "the bond is the provider's");
        vm.assertEq(settlement.brokenFrom(), 0, "nothing is broken");
        requireBacked(0);
    }

    function test_AWrongAnswerIsNone() public {
        Account[] memory all = earned(7e6, 5e6, 0);
        PostedLines memory lines = postRoots(threeLeaves(0), all);
        uint256 id = challenge(lines, 2);
        refuse(nothing());
        disputes.answerPay(id, lines.header, 4e6, SumTrees.proof(all, 1));
        refuse(nothing());
        disputes.answerPay(id, lines.header, 5e6, SumTrees.proof(all, 0));
        refuse(nothing());
        disputes.answerPay(id, lines.header, 5e6, new bytes32[](1));
        PostedLines memory later = postRoots(threeLeaves(10), earned(14e6, 10e6, 0));
        refuse(abi.encodeWithSelector(Evidence.HeaderNotPosted.selector, 2));
        disputes.answerPay(id, later.header, 10e6, SumTrees.proof(earned(14e6, 10e6, 0), 1));
    }

    function test_WithoutAnAnswerTheRootsPayNothing() public {
        PostedLines memory good = postRoots(threeLeaves(0), earned(7e6, 5e6, 0));
        finalise();
        PostedLines memory lines = postRoots(threeLeaves(10), earned(14e6, 10e6, 0));
        uint64 deadline = uint64(block.timestamp) + ANSWER;
        uint256 id = challenge(lines, 2);
        uint256 other = challenge(lines, 0);
        collect(24e6);
        vm.warp(deadline);
        disputes.resolvePay(id);
        vm.assertEq(settlement.brokenFrom(), 2, "broken");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "penalty");
        refuse(abi.encodeWithSelector(ISpillwaySettlement.IsBroken.selector, 2));
        claim(lines, earned(14e6, 10e6, 0), 0);
        vm.assertEq(claim(good, earned(7e6, 5e6, 0), 0), 7e6, "what was final before is paid");
        disputes.resolvePay(other);
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "one penalty a batch");
        uint256 reward = uint256(PENALTY) * CHALLENGER_BPS / 10_000;
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + reward, "both bonds, one reward");
        requireBacked(0);
    }

    // Wrong

    function requireBroken(uint64 sequence) private view {
        vm.assertEq(settlement.brokenFrom(), sequence, "broken");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "penalty");
    }

    function wrongPay(PostedLines memory lines, Unpaid memory before, Account[] memory accounts, uint256 last)
        private
    {
        uint256 after_ = last == 1 ? 2 : last;
        uint256 account = last == 1 ? 0 : 1;
        vm.prank(CHALLENGER);
        sums.proveWrongPay(
            lines.line(last),
            lines.leaves[after_],
            lines.proof(after_),
            before,
            accounts[account].cumulative,
            SumTrees.proof(accounts, account)
        );
    }

    function test_AFirstPayThatIsNotItsLinesBreaksTheBatch() public {
        Account[] memory lies = earned(8e6, 4e6, 0);
        PostedLines memory lines = postRoots(threeLeaves(0), lies);
        wrongPay(lines, none(), lies, 1);
        requireBroken(1);
    }

    function test_APayThatDoesNotGrowByItsLinesBreaksTheBatch() public {
        Account[] memory first = earned(7e6, 5e6, 0);
        PostedLines memory one = postRoots(threeLeaves(0), first);
        Account[] memory lies = earned(15e6, 9e6, 0);
        PostedLines memory two = postRoots(threeLeaves(10), lies);
        wrongPay(two, unpaid(one.header, first, 1), lies, 2);
        requireBroken(2);
    }

    function test_APayThatGrowsByItsLinesIsRight() public {
        Account[] memory first = earned(7e6, 5e6, 0);
        PostedLines memory one = postRoots(threeLeaves(0), first);
        refuse(nothing());
        wrongPayCall(one, none(), first);
        Account[] memory second = earned(14e6, 10e6, 0);
        PostedLines memory two = postRoots(threeLeaves(10), second);
        refuse(nothing());
        wrongPayCall(two, unpaid(one.header, first, 1), second);
        // Against itself it would seem to have grown too little.
        refuse(nothing());
        wrongPayCall(two, unpaid(two.header, second, 1), second);
    }

    function wrongPayCall(PostedLines memory lines, Unpaid memory before, Account[] memory accounts) private {
        sums.proveWrongPay(
            lines.line(2),
            lines.leaves[2],
            lines.proof(2),
            before,
            accounts[1].cumulative,
            SumTrees.proof(accounts, 1)
        );
    }

    function test_OnlyTheLastLineOfAProviderShowsItsPay() public {
        Account[] memory all = earned(7e6, 5e6, 0);
        PostedLines memory lines = postRoots(threeLeaves(0), all);
        refuse(nothing());
        sums.proveWrongPay(
            lines.line(0), lines.leaves[1], lines.proof(1), none(), 7e6, SumTrees.proof(all, 0)
        );
    }

    function test_APayBelowTheLinesOfOneBatchBreaksIt() public {
        Account[] memory lies = earned(7e6, 4e6, 1e6);
        PostedLines memory lines = postRoots(threeLeaves(0), lies);
        bytes32[] memory proof = SumTrees.proof(lies, 0);
        refuse(nothing());
        sums.proveTooLittlePay(lines.line(1), 7e6, proof);
        proof = SumTrees.proof(lies, 1);
        vm.prank(CHALLENGER);
        sums.proveTooLittlePay(lines.line(2), 4e6, proof);
        requireBroken(1);
    }

    // Where a refund comes from

    function test_ARefundIsTakenOutOfWhatIsFinalAndUnpaid() public {
        Account[] memory first = earned(7e6, 5e6, 0);
        PostedLines memory one = postRoots(threeLeaves(0), first);
        collect(100e6);
        finalise();
        PostedLines memory two = postRoots(threeLeaves(1), earned(14e6, 10e6, 0)); // Shards 1 and 2 again.
        collect(100e6);
        uint256 before = deposited(PAYER);
        disputes.proveDuplicate(one.line(1), two.line(0), unpaid(one.header, first, 0));
        vm.assertEq(deposited(PAYER), before + 3e6, "the line is given back");
        vm.assertEq(settlement.balances(PROVIDER).claimed, 3e6, "it counts as claimed");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY, "no more than the penalty");
        vm.assertEq(claim(one, first, 0), 4e6, "the provider gets the rest");
        requireBacked(0);
    }

    function test_WithoutAFinalHeaderTheStakePays() public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[2].shard = 1;
        PostedLines memory lines = postRoots(leaves, earned(7e6, 5e6, 0));
        collect(100e6);
        uint256 before = deposited(PAYER);
        disputes.proveDuplicate(lines.line(1), lines.line(2), none());
        vm.assertEq(deposited(PAYER), before + 5e6, "the line is given back");
        vm.assertEq(stake.slashable(GUARANTOR), STAKE - PENALTY - 5e6, "by the guarantor");
    }

    function test_ADebtIsCollectedWithAProof() public {
        vm.prank(address(disputes));
        stake.slash(PROVIDER, type(uint128).max);
        uint256 before = token.balanceOf(address(disputes));
        Account[] memory all = earned(7e6, 5e6, 0);
        PostedLines memory lines = postRoots(threeLeaves(0), all);
        collect(100e6);
        uint256 id = openVerdict(lines);
        vm.warp(START + APPEAL);
        disputes.executeVerdict(id, none());
        vm.assertEq(disputes.debtOf(PROVIDER, PAYER), 4e6, "owed");
        uint256 deposit = deposited(PAYER);
        vm.assertEq(disputes.collectDebt(PROVIDER, PAYER, unpaid(lines.header, all, 0)), 4e6, "taken");
        vm.assertEq(deposited(PAYER), deposit + 4e6, "given back");
        vm.assertEq(token.balanceOf(address(disputes)), before, "nothing stays");
    }

    function openVerdict(PostedLines memory lines) private returns (uint256 id) {
        Verdict memory its = Verdict({
            headerHash: settlement.headerHashAt(1),
            leafHash: lines.leaves[1].hash(),
            fault: ISpillwayDisputes.Fault.SlaBreach,
            refund: 4e6,
            slash: 1e6,
            expiry: START + 1 hours
        });
        bytes[] memory signatures = signedVerdict(its, 0, 2);
        vm.prank(CHALLENGER);
        return disputes.openVerdict(lines.line(1), its, signatures);
    }

    /// Whatever both earn, a batch that adds up cannot be broken.
    function testFuzz_HonestRootsCannotBeBroken(uint64 a, uint64 b, uint64 c) public {
        Leaf[] memory leaves = threeLeaves(0);
        leaves[0].amount = uint128(within(a, 0, 100e6));
        leaves[1].amount = uint128(within(b, 0, 100e6));
        leaves[2].amount = uint128(within(c, 1, 100e6));
        Account[] memory all = earned(leaves[0].amount + leaves[1].amount, leaves[2].amount, 0);
        PostedLines memory lines = postRoots(leaves, all);
        for (uint256 i = 0; i < 3; ++i) {
            bytes32[] memory proof = SumTrees.proof(all, i == 2 ? 1 : 0);
            uint128 cumulative = all[i == 2 ? 1 : 0].cumulative;
            uint256 next = i == 2 ? 2 : i + 1;
            refuse(nothing());
            sums.proveTooLittlePay(lines.line(i), cumulative, proof);
            refuse(nothing());
            sums.proveWrongPay(
                lines.line(i), lines.leaves[next], lines.proof(next), none(), cumulative, proof
            );
        }
    }
}
