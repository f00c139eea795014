// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Line, Unpaid} from "../../src/disputes/Evidence.sol";
import {Verdict} from "../../src/disputes/ISpillwayDisputes.sol";
import {ISpillwayDisputes} from "../../src/disputes/ISpillwayDisputes.sol";
import {SpillwayDisputes} from "../../src/disputes/SpillwayDisputes.sol";
import {SpillwaySigners} from "../../src/disputes/SpillwaySigners.sol";
import {SpillwaySums} from "../../src/disputes/SpillwaySums.sol";
import {Formats, Leaf, Order} from "../../src/formats/Formats.sol";
import {SpillwayFormats} from "../../src/formats/SpillwayFormats.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";
import {SpillwayStake} from "../../src/stake/SpillwayStake.sol";
import {vm} from "./Cheats.sol";
import {Deployment} from "./Deployment.sol";
import {PostedLines} from "./PostedLines.sol";
import {SettlementFixture} from "./SettlementFixture.sol";

/// Settlement, stake, sums, signers and disputes, deployed as one; a guarantor and two providers with a stake; two payers.
abstract contract DisputesFixture is SettlementFixture {
    using Formats for Order;

    address internal constant GUARANTOR = address(0x60a2);
    address internal constant CHALLENGER = address(0xc4a1);
    address internal constant SECOND = address(0xb0c);
    address internal constant OTHER_PAYER = address(0xca201);
    uint256 internal constant ORDER_KEY = 0x5161;
    uint256 internal constant OTHER_KEY = 0x07e2;
    uint256 internal constant RECEIPT_KEY = 0x2ec1;
    /// Their addresses ascend.
    uint256 internal constant VERIFIERS = 3;

    uint64 internal constant ANSWER = 2 days;
    uint64 internal constant APPEAL = 3 days;
    uint64 internal constant UNBOND = 7 days;
    uint96 internal constant BOND = 5e6;
    uint96 internal constant PENALTY = 50e6;
    uint16 internal constant CHALLENGER_BPS = 4000;
    uint16 internal constant VERDICT_CAP_BPS = 2000;
    uint256 internal constant STAKE = 300e6;

    SpillwayFormats internal formats;
    SpillwayStake internal stake;
    SpillwaySums internal sums;
    SpillwaySigners internal signers;
    SpillwayDisputes internal disputes;

    function mode() internal pure virtual returns (ISpillwaySettlement.Mode) {
        return ISpillwaySettlement.Mode.Ledger;
    }

    function setUp() public virtual override {
        super.setUp();
        deploy();
        formats = new SpillwayFormats(address(settlement));
        open(PAYER);
        open(OTHER_PAYER);
        bond(GUARANTOR, STAKE);
        bond(PROVIDER, STAKE);
        bond(SECOND, STAKE);
        give(CHALLENGER, 100e6);
    }

    function deploy() private {
        address authority = address(settlement.authority());
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 5);
        ISpillwaySettlement.Parameters memory its =
            Deployment.parameters(address(token), OWNER, POSTER, WINDOW, DELAY);
        its.mode = mode();
        its.disputes = predicted;
        settlement = new SpillwaySettlement(its);
        stake = new SpillwayStake(token, predicted, UNBOND, new SpillwayStake.Tier[](0));
        sums = new SpillwaySums(settlement, predicted);
        signers = new SpillwaySigners(authority, 2, verifiers());
        disputes = new SpillwayDisputes(terms(authority));
        vm.assertEq(address(disputes), predicted, "where it was predicted");
    }

    function terms(address authority) internal view returns (ISpillwayDisputes.Terms memory) {
        return ISpillwayDisputes.Terms({
            settlement: address(settlement),
            stake: address(stake),
            sums: address(sums),
            signers: address(signers),
            authority: authority,
            guarantor: GUARANTOR,
            answerTime: ANSWER,
            appealTime: APPEAL,
            bond: BOND,
            penalty: PENALTY,
            challengerBps: CHALLENGER_BPS,
            verdictCapBps: VERDICT_CAP_BPS
        });
    }

    // People

    function open(address payer) internal {
        fund(payer, DEPOSIT);
        vm.prank(payer);
        settlement.authorizeOrderKey(vm.addr(ORDER_KEY), CAP, START + 365 days);
    }

    function bond(address account, uint256 amount) internal {
        token.mint(address(this), amount);
        token.approve(address(stake), amount);
        stake.bond(account, amount);
    }

    /// Money for bonds, approved.
    function give(address challenger, uint256 amount) internal {
        token.mint(challenger, amount);
        vm.prank(challenger);
        token.approve(address(disputes), type(uint256).max);
    }

    function verifierKey(uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("verifier", index)));
    }

    function verifiers() internal pure returns (address[] memory list) {
        list = new address[](VERIFIERS);
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            list[i] = vm.addr(verifierKey(i));
        }
    }

    /// By two verifiers, ascending by address as the contract wants them.
    function signedVerdict(Verdict memory verdict, uint256 a, uint256 b)
        internal
        view
        returns (bytes[] memory signatures)
    {
        if (vm.addr(verifierKey(a)) > vm.addr(verifierKey(b))) (a, b) = (b, a);
        bytes32 digest = signers.verdictDigest(verdict);
        signatures = new bytes[](2);
        signatures[0] = signed(verifierKey(a), digest);
        signatures[1] = signed(verifierKey(b), digest);
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    // Work

    function orderOf(Leaf memory leaf, uint128 upperBound) internal pure returns (Order memory) {
        return Order({
            job: leaf.job,
            shard: leaf.shard,
            attempt: leaf.attempt,
            kind: leaf.kind,
            payer: leaf.payer,
            provider: leaf.provider,
            unitPrice: 1e6,
            upperBound: upperBound,
            expiry: START + 7 days
        });
    }

    /// A line whose order allows just its amount.
    function leafOf(address provider, uint32 shard, uint128 amount) internal pure returns (Leaf memory leaf) {
        leaf.job = keccak256("job");
        leaf.shard = shard;
        leaf.payer = PAYER;
        leaf.provider = provider;
        leaf.amount = amount;
        leaf.order = orderOf(leaf, amount).hash();
        leaf.receipt = keccak256(abi.encode("receipt", provider, shard));
    }

    /// Two lines of PROVIDER and one of SECOND, in the order of the tree.
    function threeLeaves(uint32 firstShard) internal pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](3);
        leaves[0] = leafOf(PROVIDER, firstShard, 3e6);
        leaves[1] = leafOf(PROVIDER, firstShard + 1, 4e6);
        leaves[2] = leafOf(SECOND, firstShard + 2, 5e6);
    }

    function postLines(PostedLines memory lines) internal {
        vm.prank(POSTER);
        settlement.post(lines.header, lines.debits, lines.credits);
    }

    function none() internal pure returns (Unpaid memory unpaid) {}

    // What happened

    /// From here every header posted so far is final.
    function finalise() internal {
        vm.warp((block.timestamp / WINDOW + 2) * WINDOW);
    }

    function deposited(address payer) internal view returns (uint256) {
        return settlement.balances(payer).deposit;
    }

    function unpaidOf(address provider) internal view returns (uint256) {
        ISpillwaySettlement.Balances memory its = settlement.balances(provider);
        return uint256(its.pending) + its.claimable;
    }

    /// The disputes contract holds what it says it keeps, and `open` bonds.
    function requireBacked(uint256 openBonds) internal view {
        uint256 kept = disputes.reserve() + openBonds * BOND;
        vm.assertEq(token.balanceOf(address(disputes)), kept, "kept by disputes");
    }
}
