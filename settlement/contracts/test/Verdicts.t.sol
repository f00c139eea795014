// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Evidence, Line} from "../src/disputes/Evidence.sol";
import {ISpillwayDisputes, Verdict} from "../src/disputes/ISpillwayDisputes.sol";
import {SpillwaySigners} from "../src/disputes/SpillwaySigners.sol";
import {Formats, Leaf} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {vm, within} from "./harness/Cheats.sol";
import {DisputesFixture} from "./harness/DisputesFixture.sol";
import {LineBatches, PostedLines} from "./harness/PostedLines.sol";

/// A wrong result or a missed promise, which verifiers say and the authority may veto.
contract VerdictsTest is DisputesFixture {
    using Formats for Leaf;
    using LineBatches for PostedLines;

    PostedLines private lines;

    function setUp() public override {
        super.setUp();
        PostedLines memory its = LineBatches.next(settlement, threeLeaves(0));
        postLines(its);
        lines.header = its.header;
        for (uint256 i = 0; i < its.leaves.length; ++i) {
            lines.leaves.push(its.leaves[i]);
        }
        lines.words = its.words;
    }

    function verdict(uint128 refund, uint128 slash) private view returns (Verdict memory) {
        return Verdict({
            headerHash: settlement.headerHashAt(1),
            leafHash: lines.leaves[1].hash(),
            fault: ISpillwayDisputes.Fault.WrongResult,
            refund: refund,
            slash: slash,
            expiry: START + 1 hours
        });
    }

    function open(Verdict memory its) private returns (uint256 id) {
        bytes[] memory signatures = signedVerdict(its, 0, 1);
        Line memory line = lines.line(1);
        vm.prank(CHALLENGER);
        return disputes.openVerdict(line, its, signatures);
    }

    function refuse(Verdict memory its, bytes[] memory signatures, bytes memory refusal) private {
        Line memory line = lines.line(1);
        vm.expectRevert(refusal);
        vm.prank(CHALLENGER);
        disputes.openVerdict(line, its, signatures);
    }

    function test_AVerdictIsExecutedAfterTheAppealTime() public {
        uint256 id = open(verdict(4e6, 20e6));
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 - BOND, "the bond is put up");
        vm.warp(START + APPEAL - 1);
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.TooEarly.selector, START + APPEAL));
        disputes.executeVerdict(id, none());
        vm.warp(START + APPEAL);
        disputes.executeVerdict(id, none());
        vm.assertEq(deposited(PAYER), DEPOSIT - 12e6 + 4e6, "refund");
        vm.assertEq(unpaidOf(PROVIDER), 3e6, "out of unpaid value");
        vm.assertEq(stake.slashable(PROVIDER), STAKE - 20e6, "slash");
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + 8e6, "bond and reward");
        vm.assertEq(disputes.reserve(), 12e6, "the rest");
        requireBacked(0);
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.DisputeNotOpen.selector, id));
        disputes.executeVerdict(id, none());
    }

    function test_AnOpenVerdictFreezesTheProvider() public {
        open(verdict(4e6, 20e6));
        finalise();
        uint64 until = START + APPEAL;
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.IsFrozen.selector, PROVIDER, until));
        settlement.claim(PROVIDER);
    }

    function test_AVetoGivesTheProviderTheBondAndItsPay() public {
        uint256 id = open(verdict(4e6, 20e6));
        vm.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", STRANGER));
        vm.prank(STRANGER);
        disputes.veto(id);
        vm.warp(START + APPEAL - 1);
        vm.prank(OWNER);
        disputes.veto(id);
        vm.assertEq(deposited(PROVIDER), BOND, "bond");
        vm.assertEq(settlement.claim(PROVIDER), 7e6, "unfrozen at once");
        vm.assertEq(stake.slashable(PROVIDER), STAKE, "nothing was slashed");
        requireBacked(0);
    }

    function test_AVetoComesBeforeTheEndOfTheAppeal() public {
        uint256 id = open(verdict(4e6, 20e6));
        vm.warp(START + APPEAL);
        vm.expectRevert(abi.encodeWithSelector(ISpillwayDisputes.TooLate.selector, START + APPEAL));
        vm.prank(OWNER);
        disputes.veto(id);
    }

    function test_AVetoOfOneVerdictDoesNotUndoAnother() public {
        uint256 first = open(verdict(4e6, 20e6));
        Verdict memory late = verdict(4e6, 20e6);
        late.fault = ISpillwayDisputes.Fault.SlaBreach;
        vm.warp(START + 10 minutes);
        open(late);
        vm.prank(OWNER);
        disputes.veto(first);
        vm.assertEq(settlement.frozenUntil(PROVIDER), START + 10 minutes + APPEAL, "still frozen");
        vm.prank(OWNER);
        disputes.veto(first + 1);
        vm.assertEq(settlement.frozenUntil(PROVIDER), 0, "free");
    }

    /// A freeze that lapsed long ago must not keep a later veto from working.
    function test_AVetoWorksAfterAnOlderVerdictWasExecuted() public {
        uint256 id = open(verdict(4e6, 20e6));
        vm.warp(START + APPEAL);
        disputes.executeVerdict(id, none());
        PostedLines memory later = LineBatches.next(settlement, threeLeaves(10));
        postLines(later);
        Verdict memory its = verdict(3e6, 0);
        its.headerHash = settlement.headerHashAt(2);
        its.leafHash = later.leaves[0].hash();
        its.expiry = uint64(block.timestamp);
        bytes[] memory signatures = signedVerdict(its, 1, 2);
        vm.prank(CHALLENGER);
        id = disputes.openVerdict(later.line(0), its, signatures);
        vm.prank(OWNER);
        disputes.veto(id);
        vm.assertEq(settlement.frozenUntil(PROVIDER), 0, "free");
    }

    function testFuzz_AVerdictTakesNoMoreThanItsCap(uint128 slash) public {
        uint256 id = open(verdict(0, slash));
        vm.warp(START + APPEAL);
        disputes.executeVerdict(id, none());
        uint256 most = STAKE * VERDICT_CAP_BPS / 10_000;
        uint256 taken = slash < most ? slash : most;
        vm.assertEq(stake.slashable(PROVIDER), STAKE - taken, "slash");
        uint256 reward = taken * CHALLENGER_BPS / 10_000;
        vm.assertEq(token.balanceOf(CHALLENGER), 100e6 + reward, "reward");
        vm.assertEq(disputes.reserve(), taken - reward, "reserve");
        requireBacked(0);
    }

    function testFuzz_NoMoreIsRefundedThanTheLineCost(uint128 refund) public {
        refund = uint128(within(refund, 4e6 + 1, type(uint128).max));
        Verdict memory its = verdict(refund, 0);
        refuse(
            its,
            signedVerdict(its, 0, 1),
            abi.encodeWithSelector(ISpillwayDisputes.VerdictTooHarsh.selector, "refund", 4e6)
        );
    }

    function test_AVerdictIsForTheLineThatItNames() public {
        Verdict memory its = verdict(1, 1);
        its.leafHash = lines.leaves[0].hash();
        refuse(
            its,
            signedVerdict(its, 0, 1),
            abi.encodeWithSelector(
                ISpillwayDisputes.LeafMismatch.selector, its.leafHash, lines.leaves[1].hash()
            )
        );
        its = verdict(1, 1);
        its.headerHash = keccak256("another");
        refuse(its, signedVerdict(its, 0, 1), abi.encodeWithSelector(Evidence.HeaderNotPosted.selector, 1));
    }

    function test_AVerdictIsNotForWhatCanBeProven() public {
        Verdict memory its = verdict(1, 1);
        its.fault = ISpillwayDisputes.Fault.MissingOrder;
        refuse(its, signedVerdict(its, 0, 1), abi.encodeWithSelector(Evidence.NothingProven.selector));
    }

    function test_AnOldVerdictCountsNoMore() public {
        Verdict memory its = verdict(1, 1);
        bytes[] memory signatures = signedVerdict(its, 0, 1);
        its.expiry = START - 1;
        refuse(its, signatures, abi.encodeWithSelector(SpillwaySigners.VerdictExpired.selector, START - 1));
    }

    function test_ALineIsJudgedOnceForEachFault() public {
        open(verdict(1, 1));
        Verdict memory its = verdict(2, 2);
        bytes32 what = keccak256(abi.encode(ISpillwayDisputes.Fault.WrongResult, uint256(1) << 32 | 1));
        refuse(
            its,
            signedVerdict(its, 1, 2),
            abi.encodeWithSelector(ISpillwayDisputes.AlreadyRaised.selector, what)
        );
    }

    // Who signs

    function test_FewerOrMoreSignaturesThanTheThresholdAreRefused() public {
        Verdict memory its = verdict(1, 1);
        bytes[] memory one = new bytes[](1);
        one[0] = signed(verifierKey(0), signers.verdictDigest(its));
        refuse(its, one, abi.encodeWithSelector(SpillwaySigners.TooFewVerifiers.selector, 1, 2));
        bytes[] memory three = new bytes[](3);
        refuse(its, three, abi.encodeWithSelector(SpillwaySigners.TooFewVerifiers.selector, 3, 2));
    }

    function test_OneVerifierCountsOnce() public {
        Verdict memory its = verdict(1, 1);
        bytes[] memory signatures = signedVerdict(its, 0, 0);
        address signer = vm.addr(verifierKey(0));
        refuse(its, signatures, abi.encodeWithSelector(SpillwaySigners.VerdictRefused.selector, signer));
    }

    function test_AStrangerIsNoVerifierAndAFormerOneIsNoneAnyMore() public {
        Verdict memory its = verdict(1, 1);
        bytes[] memory signatures = signedVerdict(its, 0, 7);
        address stranger = vm.addr(verifierKey(7));
        refuse(its, signatures, abi.encodeWithSelector(SpillwaySigners.VerdictRefused.selector, stranger));
        signatures = signedVerdict(its, 0, 1);
        address former = vm.addr(verifierKey(1));
        vm.prank(OWNER);
        signers.setVerifier(former, false);
        refuse(its, signatures, abi.encodeWithSelector(SpillwaySigners.VerdictRefused.selector, former));
    }

    function test_TheAuthorityChangesVerifiersButNeverBelowTheThreshold() public {
        address other = vm.addr(OTHER_KEY);
        vm.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", STRANGER));
        vm.prank(STRANGER);
        signers.setVerifier(other, true);
        address[] memory all = verifiers();
        vm.prank(OWNER);
        signers.setVerifier(all[0], false);
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.TooFewVerifiers.selector, 1, 2));
        vm.prank(OWNER);
        signers.setVerifier(all[1], false);
        vm.prank(OWNER);
        signers.setVerifier(other, true);
        vm.prank(OWNER);
        signers.setVerifier(other, true);
        vm.assertEq(signers.verifierCount(), 3, "counted once");
    }

    function test_SignersNeedAnAuthorityAThresholdAndEnoughVerifiers() public {
        address authority = address(settlement.authority());
        address[] memory all = verifiers();
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.InvalidParameter.selector, "authority"));
        new SpillwaySigners(STRANGER, 1, all);
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.InvalidParameter.selector, "threshold"));
        new SpillwaySigners(authority, 0, all);
        vm.expectRevert(abi.encodeWithSelector(SpillwaySigners.TooFewVerifiers.selector, 3, 4));
        new SpillwaySigners(authority, 4, all);
    }
}
