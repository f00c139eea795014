// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header, Voucher} from "../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../src/settlement/ISpillwaySettlement.sol";
import {vm, within} from "./harness/Cheats.sol";
import {RootFixture} from "./harness/RootFixture.sol";
import {Account, SumTrees} from "./harness/SumTrees.sol";

contract RootTest is RootFixture {
    // Posting

    function test_ARootBatchBooksItsTotalAndKeepsTheHeader() public {
        Header memory header = postRoot(earned(3e6, 4e6));
        vm.assertEq(settlement.totals().cumulative, 7e6, "cumulative");
        vm.assertEq(settlement.totals().escrow, DEPOSIT, "escrow");
        vm.assertTrue(settlement.isPosted(header), "posted");
        vm.assertEq(settlement.nextSequence(), 2, "next");
    }

    function test_TheSameRootAgainChangesNothing() public {
        Header memory header = postRoot(earned(3e6, 4e6));
        vm.prank(STRANGER);
        settlement.postRoot(header);
        vm.assertEq(settlement.totals().cumulative, 7e6, "cumulative");
        vm.assertEq(settlement.nextSequence(), 2, "next");
    }

    function test_AnotherRootAtAUsedSequenceIsRefused() public {
        Header memory header = postRoot(earned(3e6, 4e6));
        bytes32 posted = settlement.headerHash(header);
        header.payRoot = keccak256("other");
        refuse(
            header,
            abi.encodeWithSelector(
                ISpillwaySettlement.SequenceUsed.selector, 1, posted, settlement.headerHash(header)
            )
        );
    }

    function test_OnlyThePosterPostsRoots() public {
        Header memory header = headerOf(earned(1, 1));
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.NotPoster.selector, STRANGER));
        vm.prank(STRANGER);
        settlement.postRoot(header);
    }

    function testFuzz_TheCumulativeTotalMustGoOn(uint128 wrong) public {
        postRoot(earned(3e6, 0));
        Header memory header = headerOf(earned(5e6, 0));
        vm.assume(wrong != header.cumulative);
        header.cumulative = wrong;
        refuse(header, abi.encodeWithSelector(ISpillwaySettlement.CumulativeMismatch.selector, 5e6, wrong));
    }

    function test_NoMoreIsPostedThanWasDeposited() public {
        Header memory header = headerOf(earned(uint128(DEPOSIT), 1));
        refuse(
            header, abi.encodeWithSelector(ISpillwaySettlement.EscrowTooSmall.selector, DEPOSIT, DEPOSIT + 1)
        );
    }

    function test_FieldsOfTheOtherModeAreRefused() public {
        bytes memory refusal = abi.encodeWithSelector(ISpillwaySettlement.FieldsOfOtherMode.selector);
        Header memory header = headerOf(earned(1, 1));
        header.ledgerHash = keccak256("ledger");
        refuse(header, refusal);
        header = headerOf(earned(1, 1));
        header.payRoot = 0;
        refuse(header, refusal);
        header = headerOf(earned(1, 1));
        header.spendRoot = 0;
        refuse(header, refusal);
    }

    function test_CallsOfLedgerModeAreRefused() public {
        bytes memory refusal =
            abi.encodeWithSelector(ISpillwaySettlement.WrongMode.selector, ISpillwaySettlement.Mode.Root);
        Header memory header = headerOf(earned(1, 1));
        vm.expectRevert(refusal);
        vm.prank(POSTER);
        settlement.post(header, new bytes32[](0), new bytes32[](0));
        vm.expectRevert(refusal);
        settlement.claim(PROVIDER);
    }

    function test_TheRingIsNotOverwrittenBeforeItIsFinal() public {
        for (uint256 i = 0; i < settlement.ring(); ++i) {
            postRoot(earned(1, 0));
        }
        Header memory header = headerOf(earned(1, 0));
        refuse(header, abi.encodeWithSelector(ISpillwaySettlement.RingFull.selector, 1));
        finalise();
        postRoot(earned(1, 0));
        vm.assertEq(settlement.headerHashAt(1), 0, "overwritten");
    }

    // Vouchers and claims

    function test_AProviderClaimsWhatIsFinalAndCollected() public {
        Account[] memory all = earned(3e6, 4e6);
        Header memory header = postRoot(all);
        collect(7e6, ORDER_KEY);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.HeaderNotFinal.selector, 1));
        claim(header, all, 0);
        finalise();
        vm.assertEq(claim(header, all, 0), 3e6, "first");
        vm.assertEq(claim(header, all, 0), 0, "again");
        vm.assertEq(claim(header, all, 1), 4e6, "second");
        vm.assertEq(token.balanceOf(PROVIDER), 3e6, "token");
        vm.assertEq(token.balanceOf(address(settlement)), DEPOSIT - 7e6, "left");
        vm.assertEq(settlement.balances(PAYER).deposit, DEPOSIT - 7e6, "deposit");
    }

    function test_ALaterHeaderPaysTheDifference() public {
        Account[] memory all = earned(3e6, 0);
        Header memory header = postRoot(all);
        collect(3e6, ORDER_KEY);
        finalise();
        claim(header, all, 0);
        all = earned(10e6, 1e6);
        header = postRoot(all);
        collect(11e6, ORDER_KEY);
        finalise();
        vm.assertEq(claim(header, all, 0), 7e6, "the difference");
        vm.assertEq(settlement.balances(PROVIDER).claimed, 10e6, "in all");
    }

    function test_WithoutVouchersNothingIsPaidAndNothingIsLost() public {
        Account[] memory all = earned(3e6, 4e6);
        Header memory header = postRoot(all);
        finalise();
        vm.assertEq(claim(header, all, 0), 0, "no voucher");
        collect(5e6, ORDER_KEY);
        vm.assertEq(claim(header, all, 0), 3e6, "all of it");
        vm.assertEq(claim(header, all, 1), 2e6, "what is there");
        collect(7e6, ORDER_KEY);
        vm.assertEq(claim(header, all, 1), 2e6, "the rest");
    }

    function test_VouchersBringNoMoreThanWasPosted() public {
        postRoot(earned(3e6, 0));
        collect(100e6, ORDER_KEY);
        vm.assertEq(settlement.totals().collected, 3e6, "posted in all");
        vm.assertEq(settlement.collected(PAYER), 3e6, "of the payer");
        postRoot(earned(9e6, 0));
        collect(100e6, ORDER_KEY);
        vm.assertEq(settlement.totals().collected, 9e6, "the same voucher again goes on");
    }

    function test_AnOlderVoucherBringsNothing() public {
        postRoot(earned(9e6, 0));
        collect(9e6, ORDER_KEY);
        collect(4e6, ORDER_KEY);
        vm.assertEq(settlement.totals().collected, 9e6, "collected");
    }

    function test_TheCapOfTheDayBoundsVouchers() public {
        postRoot(earned(600e6, 0));
        collect(600e6, ORDER_KEY);
        vm.assertEq(settlement.totals().collected, CAP, "one day's cap");
        vm.warp(START + 1 days);
        collect(600e6, ORDER_KEY);
        vm.assertEq(settlement.totals().collected, 600e6, "the rest on the next day");
    }

    function test_AVoucherByAStrangersKeyIsRefused() public {
        postRoot(earned(3e6, 0));
        Voucher[] memory vouchers = new Voucher[](1);
        vouchers[0] = Voucher({payer: PAYER, sequence: 1, cumulative: 3e6});
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = signed(OTHER_KEY, formats.voucherDigest(vouchers[0]));
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.SignatureRefused.selector, PAYER));
        settlement.collect(vouchers, signatures);
    }

    function testFuzz_AProofOfMoreThanWasEarnedIsRefused(uint128 more, bool withOther) public {
        Account[] memory all = earned(3e6, 4e6);
        Header memory header = postRoot(all);
        collect(7e6, ORDER_KEY);
        finalise();
        more = uint128(within(more, 3e6 + 1, type(uint128).max));
        bytes32[] memory proof = SumTrees.proof(all, withOther ? 1 : 0);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.ProofMismatch.selector, PROVIDER));
        settlement.claimWithProof(header, PROVIDER, more, proof);
    }

    function test_TheFormatsProveAnAccountAsTheContractDoes() public {
        Account[] memory accounts = earned(3e6, 4e6);
        Header memory header = postRoot(accounts);
        bytes32[] memory proof = SumTrees.proof(accounts, 1);
        bytes32 first = formats.accountHash(PROVIDER, 3e6);
        bytes32 second = formats.accountHash(SECOND, 4e6);
        vm.assertEq(formats.sumParent(first, 3e6, second, 4e6), header.payRoot, "root");
        vm.assertTrue(formats.verifyAccount(header.payRoot, 7e6, SECOND, 4e6, proof), "its own sum");
        vm.assertFalse(formats.verifyAccount(header.payRoot, 7e6, SECOND, 5e6, proof), "another sum");
        vm.assertFalse(formats.verifyAccount(header.payRoot, 8e6, SECOND, 4e6, proof), "another total");
    }

    function test_FinalIsWhatNobodyCanDisputeAnyMore() public {
        postRoot(earned(3e6, 0));
        vm.assertEq(settlement.finalEnd(), 1, "nothing yet");
        finalise();
        vm.assertEq(settlement.finalEnd(), 2, "all below 2");
        vm.assertEq(settlement.brokenFrom(), 0, "nothing is broken");
    }

    function test_WhatAKeyEverSignedStaysSigned() public {
        bytes32 digest = formats.orderDigest(orderOf(1e6));
        bytes memory signature = signed(ORDER_KEY, digest);
        vm.assertTrue(settlement.everSigned(PAYER, digest, signature), "the key of now");
        vm.prank(PAYER);
        settlement.authorizeOrderKey(vm.addr(OTHER_KEY), CAP, START + 365 days);
        vm.warp(START + 100 days);
        vm.assertTrue(settlement.everSigned(PAYER, digest, signature), "a key that was replaced");
        vm.assertFalse(settlement.everSigned(PAYER, digest, signed(0xbad, digest)), "a stranger's");
        vm.assertFalse(settlement.everSigned(PROVIDER, digest, signature), "for somebody else");
    }

    function test_AMadeUpHeaderPaysNothing() public {
        Account[] memory all = earned(3e6, 4e6);
        Header memory header = postRoot(all);
        collect(7e6, ORDER_KEY);
        finalise();
        all = earned(7e6, 0);
        header.payRoot = SumTrees.root(all);
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.HeaderNotFinal.selector, 1));
        claim(header, all, 0);
    }

    /// Whatever is posted, vouched for and claimed: money in = deposits + pot + paid, nobody gets more than was earned.
    function testFuzz_MoneyIsConserved(uint64[8] memory steps, uint128[8] memory vouched) public {
        uint128 first;
        uint128 second;
        for (uint256 i = 0; i < steps.length; ++i) {
            first += uint128(within(steps[i], 0, 60e6));
            second += uint128(within(uint256(steps[i]) >> 7, 0, 60e6));
            Account[] memory all = earned(first, second);
            Header memory header = postRoot(all);
            collect(uint128(within(vouched[i], 0, 900e6)), ORDER_KEY);
            finalise();
            claim(header, all, steps[i] % 2);
            requireConserved(first, second);
        }
    }

    function requireConserved(uint128 first, uint128 second) private view {
        ISpillwaySettlement.Totals memory its = settlement.totals();
        uint256 deposit = settlement.balances(PAYER).deposit;
        uint256 out = token.balanceOf(PROVIDER) + token.balanceOf(SECOND);
        vm.assertEq(out, its.paid, "paid");
        vm.assertEq(token.balanceOf(address(settlement)), deposit + its.collected - its.paid, "held");
        vm.assertEq(DEPOSIT, deposit + its.collected, "in");
        vm.assertLe(its.paid, its.collected, "paid out of the pot");
        vm.assertLe(its.collected, its.cumulative, "collected under what was posted");
        vm.assertLe(token.balanceOf(PROVIDER), first, "first");
        vm.assertLe(token.balanceOf(SECOND), second, "second");
    }

    function refuse(Header memory header, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(POSTER);
        settlement.postRoot(header);
    }
}
