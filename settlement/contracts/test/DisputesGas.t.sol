// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwayDisputes, Verdict} from "../src/disputes/ISpillwayDisputes.sol";
import {Formats, Leaf, Order} from "../src/formats/Formats.sol";
import {Batches} from "./harness/Batches.sol";
import {vm} from "./harness/Cheats.sol";
import {DisputesFixture} from "./harness/DisputesFixture.sol";
import {LineBatches, PostedLines} from "./harness/PostedLines.sol";

/// Gas of whole transactions about one line of a batch of 1,000.
contract DisputesGasTest is DisputesFixture {
    using Formats for Leaf;
    using LineBatches for PostedLines;

    string private constant DISPUTES = "disputes";
    uint256 private constant LINES = 1000;

    function posted() private returns (PostedLines memory lines) {
        Leaf[] memory leaves = new Leaf[](LINES);
        for (uint256 i = 0; i < LINES; ++i) {
            leaves[i] = leafOf(i < LINES / 2 ? PROVIDER : SECOND, uint32(i), 1e5);
        }
        lines = LineBatches.next(settlement, leaves);
        lines.debits = Batches.list(Batches.entry(PAYER, lines.header.total));
        lines.seal();
        postLines(lines);
    }

    function test_GasOfChallenges() public {
        PostedLines memory lines = posted();
        vm.prank(CHALLENGER);
        uint256 id = disputes.challengeOrder(lines.line(7));
        vm.snapshotGasLastCall(DISPUTES, "challengeOrder: first of a challenger");
        vm.prank(CHALLENGER);
        uint256 other = disputes.challengeOrder(lines.line(8));
        vm.snapshotGasLastCall(DISPUTES, "challengeOrder");
        Order memory order = orderOf(lines.leaves[7], 1e5);
        bytes memory signature = signed(ORDER_KEY, formats.orderDigest(order));
        disputes.answerOrder(id, lines.leaves[7], order, signature);
        vm.snapshotGasLastCall(DISPUTES, "answerOrder");
        vm.warp(START + ANSWER);
        disputes.resolveOrder(other, none());
        vm.snapshotGasLastCall(DISPUTES, "resolveOrder");
    }

    function test_GasOfProofs() public {
        PostedLines memory first = posted();
        PostedLines memory second = posted();
        vm.prank(CHALLENGER);
        disputes.proveDuplicate(first.line(3), second.line(3), none());
        vm.snapshotGasLastCall(DISPUTES, "proveDuplicate");
        Verdict memory its = Verdict({
            headerHash: settlement.headerHashAt(1),
            leafHash: first.leaves[5].hash(),
            fault: ISpillwayDisputes.Fault.WrongResult,
            refund: 1e5,
            slash: 1e6,
            expiry: START + 1 hours
        });
        bytes[] memory signatures = signedVerdict(its, 0, 1);
        vm.prank(CHALLENGER);
        disputes.openVerdict(first.line(5), its, signatures);
        vm.snapshotGasLastCall(DISPUTES, "openVerdict: 2 verifiers");
    }

    function test_GasOfABrokenDebit() public {
        PostedLines memory lines = posted();
        PostedLines memory wrong = LineBatches.next(settlement, lines.leaves);
        wrong.debits = new bytes32[](2);
        wrong.debits[0] = Batches.entry(PAYER, wrong.header.total - 1e6);
        wrong.debits[1] = Batches.entry(OTHER_PAYER, 1e6);
        wrong.seal();
        postLines(wrong);
        vm.prank(CHALLENGER);
        sums.proveExcessDebit(wrong.header, wrong.leaves, wrong.debits, wrong.credits, OTHER_PAYER);
        vm.snapshotGasLastCall(DISPUTES, "proveExcessDebit: 1,000 lines");
    }

    function test_GasOfStakes() public {
        token.mint(address(this), 20e6);
        token.approve(address(stake), 20e6);
        stake.bond(PROVIDER, 10e6);
        vm.snapshotGasLastCall(DISPUTES, "bond");
        vm.prank(PROVIDER);
        stake.requestUnbond(10e6);
        vm.snapshotGasLastCall(DISPUTES, "requestUnbond");
        vm.warp(START + UNBOND);
        vm.prank(PROVIDER);
        stake.unbond();
        vm.snapshotGasLastCall(DISPUTES, "unbond: first of a provider");
    }
}
