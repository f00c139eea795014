// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {Header} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../src/settlement/SpillwaySettlement.sol";
import {Batch} from "./harness/Batches.sol";
import {vm} from "./harness/Cheats.sol";
import {Deployment} from "./harness/Deployment.sol";
import {RootFixture} from "./harness/RootFixture.sol";
import {SettlementFixture} from "./harness/SettlementFixture.sol";
import {Account, SumTrees} from "./harness/SumTrees.sol";

/// Who may stop what, and for how long; ledger mode with a disputes contract.
contract GateTest is SettlementFixture {
    address private constant DISPUTES = address(0xd15);
    uint64 private constant PAUSE = 1 days;

    function setUp() public override {
        super.setUp();
        ISpillwaySettlement.Parameters memory its =
            Deployment.parameters(address(token), OWNER, POSTER, WINDOW, DELAY);
        its.disputes = DISPUTES;
        its.longestPause = PAUSE;
        settlement = new SpillwaySettlement(its);
        fund(PAYER, DEPOSIT);
        vm.prank(PAYER);
        settlement.authorizeOrderKey(KEY, CAP, START + 365 days);
    }

    function test_APauseStopsPostingAndClaimingAndEndsByItself() public {
        post(simple(7e6));
        vm.warp(START + 2 * WINDOW);
        pause(PAUSE);
        uint64 until = START + 2 * WINDOW + PAUSE;
        postRefused(simple(1e6), abi.encodeWithSelector(ISpillwaySettlement.IsPaused.selector, until));
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.IsPaused.selector, until));
        settlement.claim(PROVIDER);
        vm.warp(until);
        post(simple(1e6));
        vm.assertEq(settlement.claim(PROVIDER), 7e6, "claimed");
    }

    function test_ARepeatIsAcceptedInAPause() public {
        Batch memory batch = simple(7e6);
        post(batch);
        pause(PAUSE);
        post(batch);
        vm.assertEq(settlement.nextSequence(), 2, "next");
    }

    function test_PausesAreBoundedAndFarApart() public {
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.InvalidParameter.selector, "duration"));
        pause(PAUSE + 1);
        pause(PAUSE);
        uint64 next = START + 2 * PAUSE;
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.PauseTooSoon.selector, next));
        pause(1);
        vm.warp(next);
        pause(1);
        vm.assertEq(settlement.pausedUntil(), next + 1, "paused");
    }

    function test_UnpausingEndsAPause() public {
        pause(PAUSE);
        vm.prank(OWNER);
        settlement.unpause();
        post(simple(1e6));
        vm.assertEq(settlement.nextSequence(), 2, "next");
        // It does not bring the next pause nearer than the rule says.
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.PauseTooSoon.selector, START + PAUSE));
        pause(1);
    }

    function test_OnlyTheAuthorityPausesAndReplacesThePoster() public {
        bytes memory refusal =
            abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, STRANGER);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        settlement.pause(1);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        settlement.unpause();
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        settlement.setPoster(STRANGER);
    }

    function test_APosterProvenToLieIsStoppedUntilThereIsAnother() public {
        post(simple(1e6));
        vm.prank(DISPUTES);
        settlement.markBroken(1);
        postRefused(simple(1e6), abi.encodeWithSelector(ISpillwaySettlement.IsBroken.selector, 1));
        vm.prank(OWNER);
        settlement.setPoster(POSTER);
        post(simple(1e6));
        vm.assertEq(settlement.nextSequence(), 3, "next");
    }

    function test_AFrozenProviderWaitsAndOthersDoNot() public {
        post(simple(7e6));
        vm.warp(START + 2 * WINDOW);
        uint64 until = START + 5 days;
        vm.prank(DISPUTES);
        settlement.freeze(PROVIDER, until);
        vm.expectRevert(
            abi.encodeWithSelector(ISpillwaySettlement.IsFrozen.selector, PROVIDER, until)
        );
        settlement.claim(PROVIDER);
        vm.assertEq(settlement.frozenUntil(PROVIDER), until, "until");
        vm.prank(DISPUTES);
        settlement.unfreeze(PROVIDER);
        vm.assertEq(settlement.claim(PROVIDER), 7e6, "claimed");
    }

    function test_AFreezeEndsByItself() public {
        post(simple(7e6));
        vm.prank(DISPUTES);
        settlement.freeze(PROVIDER, START + 1 days);
        vm.warp(START + 1 days);
        vm.assertEq(settlement.claim(PROVIDER), 7e6, "claimed");
    }

    function test_SeizedCreditsGoToThePayerLatestFirst() public {
        post(simple(7e6));
        vm.warp(START + 2 * WINDOW);
        post(simple(5e6));
        vm.prank(DISPUTES);
        vm.assertEq(settlement.seize(PROVIDER, PAYER, 6e6), 6e6, "seized");
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT - 12e6 + 6e6, "deposit");
        ISpillwaySettlement.Balances memory its = settlement.balances(PROVIDER);
        vm.assertEq(its.pending, 0, "the latest first");
        vm.assertEq(its.claimable, 6e6, "claimable");
        vm.prank(DISPUTES);
        vm.assertEq(settlement.seize(PROVIDER, address(0), 100e6), 6e6, "no more than is there");
        vm.assertEq(token.balanceOf(DISPUTES), 6e6, "to the disputes contract");
        vm.assertEq(token.balanceOf(address(settlement)), settlement.balances(PAYER).deposit, "held");
    }

    function test_OnlyTheDisputesContractFreezesAndSeizes() public {
        bytes memory refusal = abi.encodeWithSelector(ISpillwaySettlement.NotDisputes.selector, STRANGER);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        settlement.freeze(PROVIDER, START + 1);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        settlement.unfreeze(PROVIDER);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        settlement.seize(PROVIDER, STRANGER, 1);
        vm.expectRevert(refusal);
        vm.prank(STRANGER);
        settlement.markBroken(1);
    }

    function pause(uint64 duration) private {
        vm.prank(OWNER);
        settlement.pause(duration);
    }
}

contract RootGateTest is RootFixture {
    function test_HeadersFromABrokenOneOnPayNothing() public {
        Account[] memory good = earned(3e6, 0);
        Header memory first = postRoot(good);
        Account[] memory bad = earned(90e6, 0);
        Header memory second = postRoot(bad);
        collect(90e6, ORDER_KEY);
        vm.prank(DISPUTES);
        settlement.markBroken(2);
        finalise();
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.IsBroken.selector, 2));
        claim(second, bad, 0);
        vm.assertEq(claim(first, good, 0), 3e6, "what was right is paid");
        vm.prank(OWNER);
        settlement.setPoster(STRANGER);
        Header memory third = headerOf(bad);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.IsBroken.selector, 2));
        vm.prank(STRANGER);
        settlement.postRoot(third);
    }

    function test_WhatAProofShowsCanBeSeizedOnce() public {
        Account[] memory all = earned(3e6, 4e6);
        Header memory header = postRoot(all);
        collect(7e6, ORDER_KEY);
        finalise();
        bytes32[] memory proof = SumTrees.proof(all, 0);
        vm.prank(DISPUTES);
        vm.assertEq(settlement.seizeWithProof(header, PROVIDER, 3e6, proof, PAYER, 2e6), 2e6, "seized");
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT - 7e6 + 2e6, "deposit");
        vm.assertEq(claim(header, all, 0), 1e6, "the rest");
        vm.prank(DISPUTES);
        vm.assertEq(settlement.seizeWithProof(header, PROVIDER, 3e6, proof, PAYER, 9e6), 0, "nothing is left");
    }
}
