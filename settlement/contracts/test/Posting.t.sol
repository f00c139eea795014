// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../src/settlement/SpillwaySettlement.sol";
import {Batch, Batches} from "./harness/Batches.sol";
import {vm, within} from "./harness/Cheats.sol";
import {SettlementFixture} from "./harness/SettlementFixture.sol";

contract PostingTest is SettlementFixture {
    function test_PostMovesMoneyAndKeepsTheHeader() public {
        Batch memory batch = simple(7e6);
        bytes32 hash = settlement.headerHash(batch.header);
        vm.expectEmit(address(settlement));
        emit ISpillwaySettlement.Posted(1, hash, batch.header);
        post(batch);

        vm.assertEq(settlement.nextSequence(), 2, "next sequence");
        vm.assertEq(settlement.headerHashAt(1), hash, "header hash");
        vm.assertTrue(settlement.isPosted(batch.header), "is posted");
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT - 7e6, "deposit");
        vm.assertEq(settlement.balances(PROVIDER).pending, 7e6, "pending");
        vm.assertEq(settlement.balances(PROVIDER).claimable, 0, "claimable");
    }

    function test_TheSameHeaderAgainChangesNothing() public {
        Batch memory batch = simple(7e6);
        post(batch);
        post(batch);
        vm.prank(STRANGER);
        settlement.post(batch.header, new bytes32[](0), new bytes32[](0));
        vm.assertEq(settlement.nextSequence(), 2, "next sequence");
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT - 7e6, "deposit");
        vm.assertEq(settlement.balances(PROVIDER).pending, 7e6, "pending");
    }

    function test_AnotherHeaderAtAUsedSequenceIsRefused() public {
        Batch memory batch = simple(7e6);
        post(batch);
        bytes32 posted = settlement.headerHash(batch.header);
        batch.header.dataHash = keccak256("other");
        bytes32 given = settlement.headerHash(batch.header);
        postRefused(
            batch, abi.encodeWithSelector(ISpillwaySettlement.SequenceUsed.selector, 1, posted, given)
        );
    }

    function test_SequenceZeroIsForgottenNotUsed() public {
        Batch memory batch = simple(7e6);
        batch.header.sequence = 0;
        postRefused(batch, abi.encodeWithSelector(ISpillwaySettlement.SequenceForgotten.selector, 0, 1));
    }

    function testFuzz_AGapIsRefused(uint64 sequence) public {
        vm.assume(sequence > 1);
        Batch memory batch = simple(7e6);
        batch.header.sequence = sequence;
        postRefused(batch, abi.encodeWithSelector(ISpillwaySettlement.SequenceGap.selector, 1, sequence));
    }

    function testFuzz_AWrongPreviousIsRefused(bytes32 wrong) public {
        post(simple(7e6));
        Batch memory batch = simple(7e6);
        bytes32 right = batch.header.previous;
        vm.assume(wrong != right);
        batch.header.previous = wrong;
        postRefused(
            batch, abi.encodeWithSelector(ISpillwaySettlement.PreviousMismatch.selector, right, wrong)
        );
    }

    function test_TheFirstHeaderHasNoPrevious() public {
        Batch memory batch = simple(7e6);
        batch.header.previous = keccak256("something");
        postRefused(
            batch,
            abi.encodeWithSelector(
                ISpillwaySettlement.PreviousMismatch.selector, bytes32(0), batch.header.previous
            )
        );
    }

    function test_EntriesOtherThanTheHeadersAreRefused() public {
        Batch memory batch = simple(7e6);
        batch.credits[0] = Batches.entry(STRANGER, 7e6);
        bytes32 computed = Batches.ledgerHash(batch.debits, batch.credits);
        postRefused(
            batch,
            abi.encodeWithSelector(
                ISpillwaySettlement.LedgerHashMismatch.selector, computed, batch.header.ledgerHash
            )
        );
    }

    function testFuzz_DebitsCreditsAndTotalMustAgree(uint96 debit, uint96 credit, uint128 total) public {
        debit = uint96(within(debit, 0, CAP));
        vm.assume(debit != credit || debit != total);
        Batch memory batch = Batches.next(
            settlement,
            Batches.list(Batches.entry(PAYER, debit)),
            Batches.list(Batches.entry(PROVIDER, credit))
        );
        batch.header.total = total;
        postRefused(
            batch, abi.encodeWithSelector(ISpillwaySettlement.TotalMismatch.selector, total, debit, credit)
        );
    }

    function test_EntriesMustAscendStrictly() public {
        bytes32[] memory twice = new bytes32[](2);
        twice[0] = Batches.entry(PAYER, 1);
        twice[1] = Batches.entry(PAYER, 2);
        bytes memory refusal = abi.encodeWithSelector(ISpillwaySettlement.EntryNotAscending.selector, PAYER);
        bytes32[] memory once = Batches.list(Batches.entry(PAYER, 3));
        postRefused(Batches.next(settlement, twice, once), refusal);
        postRefused(Batches.next(settlement, once, twice), refusal);

        bytes32[] memory nobody = Batches.list(Batches.entry(address(0), 3));
        refusal = abi.encodeWithSelector(ISpillwaySettlement.EntryNotAscending.selector, address(0));
        postRefused(Batches.next(settlement, once, nobody), refusal);
    }

    function test_OnlyThePosterPosts() public {
        Batch memory batch = simple(7e6);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.NotPoster.selector, OWNER));
        vm.prank(OWNER);
        settlement.post(batch.header, batch.debits, batch.credits);
    }

    function test_TheOwnerReplacesThePoster() public {
        Batch memory first = simple(7e6);
        post(first);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, STRANGER));
        vm.prank(STRANGER);
        settlement.setPoster(STRANGER);

        vm.expectEmit(address(settlement));
        emit ISpillwaySettlement.PosterChanged(POSTER, STRANGER);
        vm.prank(OWNER);
        settlement.setPoster(STRANGER);
        vm.assertEq(settlement.poster(), STRANGER, "poster");
        vm.assertEq(settlement.nextSequence(), 2, "sequence survives");

        post(first); // A late copy from the old poster.
        postRefused(simple(7e6), abi.encodeWithSelector(ISpillwaySettlement.NotPoster.selector, POSTER));
    }

    function test_AnEmptyBatchIsABatch() public {
        Batch memory batch = Batches.next(settlement, new bytes32[](0), new bytes32[](0));
        post(batch);
        vm.assertTrue(settlement.isPosted(batch.header), "is posted");
    }

    function test_TheRingKeepsTheLatestHeaders() public {
        uint64 ringSize = settlement.ring();
        Batch memory first = simple(1);
        post(first);
        for (uint64 i = 1; i < ringSize; ++i) {
            post(simple(1));
        }
        postRefused(simple(1), abi.encodeWithSelector(ISpillwaySettlement.RingFull.selector, 1));
        vm.warp((START / WINDOW + 2) * WINDOW);
        vm.assertTrue(settlement.isPosted(first.header), "last moment");
        post(first);

        Batch memory latest = simple(1);
        post(latest);
        vm.assertEq(settlement.headerHashAt(1), bytes32(0), "overwritten");
        vm.assertFalse(settlement.isPosted(first.header), "overwritten");
        vm.assertTrue(settlement.isPosted(latest.header), "latest");
        vm.assertEq(settlement.headerHashAt(ringSize + 2), bytes32(0), "not posted yet");
        postRefused(first, abi.encodeWithSelector(ISpillwaySettlement.SequenceForgotten.selector, 1, 2));
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT - ringSize - 1, "deposit");
    }

    /// The hash names the chain and the contract, so a header of one is not a header of another.
    function test_AHeaderBelongsToOneChainAndContract() public {
        Batch memory batch = simple(7e6);
        bytes32 here = settlement.headerHash(batch.header);
        address elsewhere = address(0xe15e);
        vm.etch(elsewhere, address(settlement).code);
        bytes32 there = SpillwaySettlement(elsewhere).headerHash(batch.header);
        vm.chainId(5);
        vm.assertFalse(here == there, "contract");
        vm.assertFalse(here == settlement.headerHash(batch.header), "chain");
    }

    function test_FieldsOfRootModeAreRefused() public {
        bytes memory refusal = abi.encodeWithSelector(ISpillwaySettlement.FieldsOfOtherMode.selector);
        Batch memory batch = simple(1e6);
        batch.header.cumulative = 1e6;
        postRefused(batch, refusal);
        batch = simple(1e6);
        batch.header.payRoot = keccak256("pay");
        postRefused(batch, refusal);
        batch = simple(1e6);
        batch.header.spendRoot = keccak256("spend");
        postRefused(batch, refusal);
    }
}
