// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header, Order} from "../../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {SpillwayFormats} from "../../src/formats/SpillwayFormats.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";
import {TestToken} from "../../src/development/TestToken.sol";
import {vm} from "./Cheats.sol";
import {Deployment} from "./Deployment.sol";
import {Discounts} from "./Discounts.sol";

/// A plain model of the settlement contract in root mode: what each call must do, or be refused with.
abstract contract RootModel {
    uint256 public constant ACCOUNTS = 4;
    uint64 public constant WINDOW = 1 hours;
    uint64 public constant DELAY = 1 days;
    /// The smallest that is allowed, so that a run overwrites it.
    uint32 public constant RING = 16;
    uint16 public constant FEE_BPS = 300;
    address public constant POSTER = address(0x9057e2);
    address public constant DISPUTES = address(0xd15);
    address public constant FEE_RECIPIENT = address(0xfee);
    uint256 private constant ACCOUNT_KEYS = 0xacc0;
    uint256 private constant ORDER_KEYS = 0x0de0;
    uint256 private constant STRANGER_KEY = 0xbad;

    struct Payer {
        uint256 deposit;
        uint256 collected;
        uint256 withdrawn;
        uint256 cap;
        uint256 expiry;
        uint256 asked;
        uint256 payableAt;
        uint256 held;
        uint256 heldUntil;
        address key;
    }

    struct Provider {
        uint256 earned;
        uint256 claimed;
        uint256 received;
        uint256 disputes;
        uint256 frozenUntil;
    }

    struct Former {
        uint256 until;
        uint256 left;
    }

    struct Root {
        Header header;
        bytes32 hash;
        uint128[ACCOUNTS] earned;
        uint256 epoch;
    }

    /// `seizedOut` went to no payer, `seizedBack` to some payer's deposit.
    struct Sums {
        uint256 deposited;
        uint256 withdrawn;
        uint256 cumulative;
        uint256 collected;
        uint256 paid;
        uint256 fees;
        uint256 feesPaid;
        uint256 seizedOut;
        uint256 seizedBack;
        uint256 withdrawnAtPost;
    }

    TestToken public token;
    SpillwaySettlement public settlement;
    SpillwayFormats public formats;
    uint64 public time = 1_800_000_000;

    address[ACCOUNTS] private accounts;
    Sums internal sums;
    Root[] internal roots;
    mapping(address account => Payer) internal payers;
    mapping(address account => Provider) internal providers;
    mapping(address payer => mapping(address key => Former)) internal formers;
    mapping(address payer => mapping(uint256 day => uint256)) public spentOn;

    constructor() {
        vm.warp(time);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            accounts[i] = vm.addr(ACCOUNT_KEYS + i);
        }
        token = new TestToken();
        vm.etch(DISPUTES, address(new Discounts()).code);
        Discounts(DISPUTES).set(account(1), 5000);
        Discounts(DISPUTES).set(account(2), 12_000);
        ISpillwaySettlement.Parameters memory its =
            Deployment.parameters(address(token), address(this), POSTER, WINDOW, DELAY);
        its.mode = ISpillwaySettlement.Mode.Root;
        its.disputes = DISPUTES;
        its.ring = RING;
        its.feeBps = FEE_BPS;
        its.feeRecipient = FEE_RECIPIENT;
        settlement = new SpillwaySettlement(its);
        formats = new SpillwayFormats(address(settlement));
    }

    // Who is who

    function account(uint256 index) public view returns (address) {
        return accounts[index % ACCOUNTS];
    }

    /// One of the three private keys that the payer may authorise.
    function orderKey(uint256 who, uint256 choice) internal pure returns (uint256) {
        return ORDER_KEYS + who % ACCOUNTS * 3 + choice % 3;
    }

    /// The payer's own private key, a stranger's, or one that was authorised now, once or never.
    function signingKey(uint256 who, uint256 choice) internal view returns (uint256) {
        choice %= 12;
        if (choice == 0) return ACCOUNT_KEYS + who % ACCOUNTS;
        if (choice == 1) return STRANGER_KEY;
        for (uint256 i = 0; choice < 8 && i < 3; ++i) {
            uint256 key = orderKey(who, i);
            if (vm.addr(key) == payers[account(who)].key) return key;
        }
        return orderKey(who, choice);
    }

    // What the invariants read

    function earnedBy(address provider) external view returns (uint256) {
        return providers[provider].earned;
    }

    function sumsNow() external view returns (Sums memory) {
        return sums;
    }

    function posts() public view returns (uint256) {
        return roots.length;
    }

    function hashAt(uint256 sequence) external view returns (bytes32) {
        return roots[sequence - 1].hash;
    }

    /// The oldest sequence that the ring still holds.
    function oldest() public view returns (uint256) {
        return roots.length >= RING ? roots.length + 1 - RING : 1;
    }

    function escrow() public view returns (uint256) {
        return sums.deposited + sums.seizedBack - sums.withdrawn;
    }

    function isFinal(uint256 index) public view returns (bool) {
        return roots[index].epoch + 2 <= time / WINDOW;
    }

    function today() public view returns (uint256) {
        return time / 1 days;
    }

    // What the contract must answer; no bytes for no refusal

    function postRefusal(uint256 cumulative) internal view returns (bytes memory) {
        bool isFull = roots.length >= RING && !isFinal(roots.length - RING);
        if (isFull) return abi.encodeWithSelector(ISpillwaySettlement.RingFull.selector, oldest());
        if (cumulative <= escrow()) return "";
        return abi.encodeWithSelector(ISpillwaySettlement.EscrowTooSmall.selector, escrow(), cumulative);
    }

    function forgottenRefusal(uint256 sequence) internal view returns (bytes memory) {
        if (sequence >= oldest()) return "";
        return abi.encodeWithSelector(ISpillwaySettlement.SequenceForgotten.selector, sequence, oldest());
    }

    function withdrawRefusal(address payer) internal view returns (bytes memory) {
        Payer storage its = payers[payer];
        if (its.asked == 0 || time >= its.payableAt) return "";
        return abi.encodeWithSelector(ISpillwaySettlement.WithdrawTooEarly.selector, its.payableAt);
    }

    function signerRefusal(address payer, address signer) internal view returns (bytes memory) {
        bool isCurrent = signer == payers[payer].key && time <= payers[payer].expiry + DELAY;
        if (signer == payer || isCurrent || time < formers[payer][signer].until) return "";
        return abi.encodeWithSelector(ISpillwaySettlement.SignatureRefused.selector, payer);
    }

    /// While the payer leaves or has no good key.
    function mayBeShownFor(address payer) internal view returns (bool) {
        Payer storage its = payers[payer];
        bool leaves = its.asked != 0 && time <= its.payableAt + 2 * DELAY;
        return leaves || time > its.expiry;
    }

    function showRefusal(Order memory order, bytes32 hash, address signer)
        internal
        view
        returns (bytes memory refusal)
    {
        Payer storage its = payers[order.payer];
        if (!mayBeShownFor(order.payer) || time > order.expiry + DELAY) {
            return abi.encodeWithSelector(ISpillwaySettlement.OrderNotShowable.selector, hash);
        }
        refusal = signerRefusal(order.payer, signer);
        uint256 left = formers[order.payer][signer].left;
        bool isFormer = signer != order.payer && signer != its.key;
        if (refusal.length != 0 || !isFormer || order.upperBound <= left) return refusal;
        return abi.encodeWithSelector(ISpillwaySettlement.RevokedKeySpent.selector, order.payer, left);
    }

    function headerRefusal(uint256 index) internal view returns (bytes memory) {
        if (isFinal(index) && index + 1 >= oldest()) return "";
        return abi.encodeWithSelector(ISpillwaySettlement.HeaderNotFinal.selector, index + 1);
    }

    function claimRefusal(address provider, uint256 index) internal view returns (bytes memory) {
        Provider storage its = providers[provider];
        if (its.disputes == 0 || time >= its.frozenUntil) return headerRefusal(index);
        return abi.encodeWithSelector(ISpillwaySettlement.IsFrozen.selector, provider, its.frozenUntil);
    }

    // What moves

    function least(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }

    function heldOf(address payer) public view returns (uint256) {
        return time < payers[payer].heldUntil ? payers[payer].held : 0;
    }

    function capLeft(address payer) internal view returns (uint256) {
        uint256 spent = spentOn[payer][today()];
        bool isGood = time <= payers[payer].expiry && spent < payers[payer].cap;
        return isGood ? payers[payer].cap - spent : 0;
    }

    /// What a voucher over `cumulative` brings, and how much of it under the cap.
    function voucherBrings(address payer, address signer, uint256 cumulative)
        internal
        view
        returns (uint256 amount, uint256 fromCap)
    {
        Payer storage its = payers[payer];
        if (cumulative <= its.collected) return (0, 0);
        fromCap = signer == payer || signer == its.key ? capLeft(payer) : 0;
        amount = least(cumulative - its.collected, sums.cumulative - sums.collected);
        amount = least(amount, least(its.deposit, fromCap + heldOf(payer)));
        fromCap = least(fromCap, amount);
    }

    function withdrawable(address payer) internal view returns (uint256) {
        Payer storage its = payers[payer];
        bool hasLapsed = time > its.payableAt + 2 * DELAY;
        return hasLapsed ? 0 : least(its.asked, its.deposit - least(its.deposit, heldOf(payer)));
    }

    /// What a claim by the root at `index` takes from the pot.
    function claimable(uint256 who, uint256 index) internal view returns (uint256) {
        uint256 earned = roots[index].earned[who % ACCOUNTS];
        uint256 claimed = providers[account(who)].claimed;
        uint256 funds = least(sums.collected, roots[index].header.cumulative);
        if (earned <= claimed || funds <= sums.paid) return 0;
        return least(earned - claimed, funds - sums.paid);
    }

    function feeOf(address provider, uint256 amount) internal view returns (uint256) {
        uint256 discount = least(Discounts(DISPUTES).feeDiscountBps(provider), 10_000);
        return amount * FEE_BPS * (10_000 - discount) / 1e8;
    }

    // Comparing

    /// The next call must be refused so, if `refusal` is any.
    function expects(bytes memory refusal) internal returns (bool isRefused) {
        isRefused = refusal.length != 0;
        if (isRefused) vm.expectRevert(refusal);
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function requireSame(address account_) public view {
        Payer memory payer = payers[account_];
        ISpillwaySettlement.Balances memory its = settlement.balances(account_);
        vm.assertEq(its.deposit, payer.deposit, "deposit");
        vm.assertEq(settlement.collected(account_), payer.collected, "collected");
        vm.assertEq(settlement.held(account_), heldOf(account_), "held");
        vm.assertEq(settlement.orderKey(account_).spentToday, spentOn[account_][today()], "spent today");
        bool hasLapsed = time > payer.payableAt + 2 * DELAY;
        vm.assertEq(its.withdrawRequested, hasLapsed ? 0 : payer.asked, "asked for");
        requireSameProvider(account_, its.claimed, payer.withdrawn);
    }

    function requireSameProvider(address account_, uint256 claimed, uint256 withdrawn) private view {
        Provider memory provider = providers[account_];
        vm.assertEq(claimed, provider.claimed, "claimed");
        vm.assertEq(token.balanceOf(account_), withdrawn + provider.received, "token");
        bool isFrozen = provider.disputes != 0 && time < provider.frozenUntil;
        vm.assertEq(settlement.frozenUntil(account_), isFrozen ? provider.frozenUntil : 0, "frozen until");
    }

    /// All that the contract says about batches and accounts.
    function fingerprint() internal view returns (bytes32 print) {
        print = keccak256(abi.encode(settlement.nextSequence(), settlement.finalEnd(), settlement.totals()));
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            address its = account(i);
            print = keccak256(abi.encode(print, settlement.balances(its), settlement.orderKey(its)));
            print = keccak256(abi.encode(print, settlement.held(its), settlement.collected(its)));
        }
    }
}
