// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Order, Voucher} from "../../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {vm, within} from "./Cheats.sol";
import {RootModel} from "./RootModel.sol";

/// What payers do in root mode, and others with what payers signed. Every call is compared with the model.
abstract contract RootPayers is RootModel {
    // What vouchers brought on a day, and what allowed it: the largest cap in force when they came, and what orders held
    // when the day was first looked at or were shown for on it. Read from the contract, not from the model.
    mapping(address payer => mapping(uint256 day => uint256)) public collectedOn;
    mapping(address payer => mapping(uint256 day => uint256)) public capOn;
    mapping(address payer => mapping(uint256 day => uint256)) public heldOn;
    mapping(address payer => mapping(uint256 day => bool)) private isLookedAt;
    mapping(address payer => uint256) private collectedBefore;
    uint256 private ordersMade;

    // Time

    function pass(uint64 seconds_) external {
        moveOn(within(seconds_, 1, 10 hours));
    }

    function passDays(uint64 seconds_) external {
        moveOn(within(seconds_, 10 hours, 3 days));
    }

    function moveOn(uint256 seconds_) internal {
        time += uint64(seconds_);
        vm.warp(time);
    }

    // Payers

    function deposit(uint256 who, uint256 payer, uint64 amount) external {
        amount = uint64(within(amount, 0, 1e12));
        address from = account(who);
        token.mint(from, amount);
        vm.prank(from);
        token.approve(address(settlement), amount);
        vm.prank(from);
        settlement.depositFor(account(payer), amount);
        payers[account(payer)].deposit += amount;
        sums.deposited += amount;
        requireSame(account(payer));
    }

    /// Small numbers are what forge tries most: then the cap is large and the key good for long.
    function authorize(uint256 who, uint256 choice, uint96 less, uint64 sooner) external {
        address key = vm.addr(orderKey(who, choice));
        uint96 cap = uint96(4e11 - within(less, 0, 4e11));
        setKey(account(who), key, cap, time + 12 days - uint64(within(sooner, 0, 12 days)));
    }

    function revoke(uint256 who) external {
        setKey(account(who), address(0), 0, 0);
    }

    function setKey(address payer, address key, uint96 cap, uint64 expiry) private {
        vm.prank(payer);
        settlement.authorizeOrderKey(key, cap, expiry);
        Payer storage its = payers[payer];
        if (its.key != address(0)) remember(formers[payer][its.key], its.cap);
        (its.key, its.cap, its.expiry) = (key, cap, expiry);
        requireSame(payer);
    }

    function remember(Former storage former, uint256 cap) private {
        if (time >= former.until || former.left < cap) former.left = cap;
        former.until = time + DELAY;
    }

    function requestWithdraw(uint256 who, uint64 amount) external {
        amount = uint64(within(amount, 0, 2e12));
        vm.prank(account(who));
        settlement.requestWithdraw(amount);
        payers[account(who)].asked = amount;
        payers[account(who)].payableAt = time + DELAY;
        requireSame(account(who));
    }

    function withdraw(uint256 who) external {
        address payer = account(found(who, hasAsked));
        bool isRefused = expects(withdrawRefusal(payer));
        vm.prank(payer);
        uint256 paid = settlement.withdraw();
        if (isRefused) return;
        vm.assertEq(paid, withdrawable(payer), "withdrawn");
        bookWithdrawn(payer, paid);
        requireSame(payer);
    }

    function bookWithdrawn(address payer, uint256 paid) private {
        Payer storage its = payers[payer];
        bool staysAsked = time <= its.payableAt + 2 * DELAY && least(heldOf(payer), its.deposit) != 0;
        its.asked = staysAsked ? its.asked - paid : 0;
        its.deposit -= paid;
        its.withdrawn += paid;
        sums.withdrawn += paid;
    }

    function showOrder(uint256 who, uint256 choice, uint128 upperBound, uint64 age) external {
        who = found(who, mayBeShownFor);
        uint256 key = signingKey(who, choice);
        Order memory order = orderOf(who, upperBound, age);
        bytes32 hash = formats.orderHash(order);
        bytes memory signature = signed(key, formats.orderDigest(order));
        look(order.payer);
        bool isRefused = expects(showRefusal(order, hash, vm.addr(key)));
        settlement.showOrder(order, signature);
        if (isRefused) return;
        bookShown(order, vm.addr(key));
        vm.expectRevert(abi.encodeWithSelector(ISpillwaySettlement.OrderNotShowable.selector, hash));
        settlement.showOrder(order, signature);
        refuseMoreThanLeft(order, key);
    }

    /// A former key that was just used is good for what is left, and for no unit more.
    function refuseMoreThanLeft(Order memory order, uint256 key) private {
        address signer = vm.addr(key);
        if (signer == order.payer || signer == payers[order.payer].key) return;
        order.job = bytes32(++ordersMade);
        order.upperBound = uint128(formers[order.payer][signer].left + 1);
        bytes memory signature = signed(key, formats.orderDigest(order));
        expects(showRefusal(order, formats.orderHash(order), signer));
        settlement.showOrder(order, signature);
    }

    /// Mostly the next account of which `isWanted` is true: others are only refused.
    function found(uint256 who, function(address) view returns (bool) isWanted)
        private
        view
        returns (uint256)
    {
        if (who % 16 < ACCOUNTS) return who;
        for (uint256 i = who % ACCOUNTS; i < who % ACCOUNTS + ACCOUNTS; ++i) {
            if (isWanted(account(i))) return i;
        }
        return who;
    }

    function hasAsked(address payer) private view returns (bool) {
        return payers[payer].asked != 0;
    }

    /// Mostly of a size that a deposit may cover; some are too old to be shown.
    function orderOf(uint256 who, uint128 upperBound, uint64 age) private returns (Order memory order) {
        order.job = bytes32(++ordersMade);
        order.payer = account(who);
        order.provider = account(who % ACCOUNTS + 1);
        order.upperBound = upperBound % 8 == 0 ? upperBound : uint128(within(upperBound, 0, 4e11));
        order.expiry = time + 2 days - uint64(within(age, 0, 4 days));
    }

    function bookShown(Order memory order, address signer) private {
        Payer storage its = payers[order.payer];
        if (signer != order.payer && signer != its.key) {
            formers[order.payer][signer].left -= order.upperBound;
        }
        its.held = least(heldOf(order.payer) + order.upperBound, type(uint64).max);
        its.heldUntil = time + DELAY;
        heldOn[order.payer][today()] += order.upperBound;
        requireSame(order.payer);
    }

    // Vouchers

    function collect(uint256 who, uint256 choice, uint128 amount) external {
        Voucher[] memory vouchers = new Voucher[](1);
        uint256[] memory keys = new uint256[](1);
        (vouchers[0], keys[0]) = (voucherOf(who, amount), signingKey(who, choice));
        send(vouchers, keys);
    }

    /// Two in one call, which may be of one payer.
    function collectTwo(uint256[2] calldata who, uint256[2] calldata choices, uint128[2] calldata amounts)
        external
    {
        Voucher[] memory vouchers = new Voucher[](2);
        uint256[] memory keys = new uint256[](2);
        for (uint256 i = 0; i < 2; ++i) {
            (vouchers[i], keys[i]) = (voucherOf(who[i], amounts[i]), signingKey(who[i], choices[i]));
        }
        send(vouchers, keys);
    }

    /// Any sum, or a little more than was collected.
    function voucherOf(uint256 who, uint128 amount) private view returns (Voucher memory) {
        address payer = account(who);
        uint256 before = amount % 2 == 0 ? 0 : payers[payer].collected;
        uint256 cumulative = before + within(amount, 0, amount % 2 == 0 ? 2e12 : 1e11);
        return Voucher({payer: payer, sequence: uint64(roots.length), cumulative: uint128(cumulative)});
    }

    function send(Voucher[] memory vouchers, uint256[] memory keys) private {
        bytes[] memory signatures = new bytes[](keys.length);
        for (uint256 i = 0; i < keys.length; ++i) {
            look(vouchers[i].payer);
            signatures[i] = signed(keys[i], formats.voucherDigest(vouchers[i]));
        }
        bool isRefused = expects(collectRefusal(vouchers, keys));
        settlement.collect(vouchers, signatures);
        if (isRefused) return;
        for (uint256 i = 0; i < keys.length; ++i) {
            bookVoucher(vouchers[i], vm.addr(keys[i]));
        }
        for (uint256 i = 0; i < keys.length; ++i) {
            requireSame(vouchers[i].payer);
        }
    }

    /// The first bad signature refuses all.
    function collectRefusal(Voucher[] memory vouchers, uint256[] memory keys)
        private
        view
        returns (bytes memory refusal)
    {
        for (uint256 i = 0; refusal.length == 0 && i < keys.length; ++i) {
            refusal = signerRefusal(vouchers[i].payer, vm.addr(keys[i]));
        }
    }

    function bookVoucher(Voucher memory voucher, address signer) private {
        address payer = voucher.payer;
        (uint256 amount, uint256 fromCap) = voucherBrings(payer, signer, voucher.cumulative);
        Payer storage its = payers[payer];
        its.deposit -= amount;
        its.collected += amount;
        sums.collected += amount;
        if (amount != fromCap) its.held -= amount - fromCap;
        spentOn[payer][today()] += fromCap;
        bookDay(payer);
    }

    function bookDay(address payer) private {
        uint256 collected = settlement.collected(payer);
        collectedOn[payer][today()] += collected - collectedBefore[payer];
        collectedBefore[payer] = collected;
        ISpillwaySettlement.OrderKey memory key = settlement.orderKey(payer);
        bool isLarger = time <= key.expiry && key.capPerDay > capOn[payer][today()];
        if (isLarger) capOn[payer][today()] = key.capPerDay;
    }

    function look(address payer) private {
        if (isLookedAt[payer][today()]) return;
        isLookedAt[payer][today()] = true;
        heldOn[payer][today()] += settlement.held(payer);
    }
}
