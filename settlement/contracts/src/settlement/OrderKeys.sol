// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Formats, Order, Voucher} from "../formats/Formats.sol";
import {Holds} from "./Holds.sol";
import {PackedPayer, Payer, Payers} from "./Payers.sol";

/// What moves a payer's money: keys with a cap per day and an expiry, and what they sign.
abstract contract OrderKeys is Holds {
    using Formats for Order;
    using Formats for Voucher;
    using Payers for Payer;
    using Payers for PackedPayer;

    /// A key that was revoked or replaced, or whose terms changed: until when orders it signed may still be shown once it is
    /// not the payer's any more, and for how much at most.
    struct Former {
        uint64 until;
        uint64 left;
    }

    /// Root mode: what vouchers moved to the pot, what claims took out, fees not paid out yet.
    struct Pot {
        uint64 collected;
        uint64 paid;
        uint64 fees;
    }

    mapping(address payer => address) internal keys;
    // slither-disable-next-line uninitialized-state (written through storage references)
    mapping(address payer => mapping(address key => Former)) internal formers;
    mapping(address payer => uint256) internal collectedOf;
    mapping(bytes32 order => bool) internal shown;
    Pot internal pot;

    /// Lets `key` sign orders for the caller, up to `capPerDay` a day (UTC) and until `expiry` inclusive.
    /// It replaces the caller's key; what was spent today still counts. A zero key with zero cap and expiry
    /// revokes: nothing more is spent but for orders that the old key signed, that are shown while they still may be, and
    /// that come to no more than one day's cap in all.
    function authorizeOrderKey(address key, uint96 capPerDay, uint64 expiry) external {
        if (key == address(0) && (capPerDay != 0 || expiry != 0)) revert KeyMissing();
        Payer memory payer = payers[msg.sender].unpack();
        address old = keys[msg.sender];
        if (old != address(0)) _remember(old, payer.capPerDay);
        keys[msg.sender] = key;
        payer.capPerDay = uint64(Math.min(capPerDay, type(uint64).max));
        payer.expiry = uint40(Math.min(expiry, type(uint40).max));
        payers[msg.sender] = payer.pack();
        emit OrderKeyAuthorized(msg.sender, key, capPerDay, expiry);
    }

    /// A cap that is lowered before the key is revoked still counts for the orders signed under it.
    function _remember(address key, uint64 cap) private {
        Former storage former = formers[msg.sender][key];
        bool isRecent = block.timestamp < former.until;
        if (!isRecent || former.left < cap) former.left = cap;
        former.until = uint64(block.timestamp) + withdrawDelay;
    }

    /// Anyone may show an order, the provider will. It holds money back only while the payer leaves or has no good key:
    /// at other times a post needs no help. Not stopped by a pause.
    function showOrder(Order calldata order, bytes calldata signature) external {
        bytes32 hash = order.hash();
        Withdrawal memory asked = withdrawals[order.payer];
        bool stays = asked.amount == 0 || _hasLapsed(asked);
        bool payerGoesOn = stays && payers[order.payer].mayPay(block.timestamp);
        bool isOld = block.timestamp > uint256(order.expiry) + withdrawDelay;
        if (payerGoesOn || isOld || shown[hash]) revert OrderNotShowable(hash);
        shown[hash] = true;
        address key = _signer(order.payer, _hashTypedDataV4(hash), signature);
        if (key != order.payer && key != keys[order.payer]) _spendFormer(order, key);
        Hold storage hold = holds[order.payer];
        uint256 amount = Math.min(_held(order.payer) + order.upperBound, type(uint64).max);
        hold.amount = uint64(amount);
        hold.until = uint64(block.timestamp) + withdrawDelay;
        emit OrderShown(order.payer, hash, order.upperBound, hold.until);
    }

    function _spendFormer(Order calldata order, address key) private {
        Former storage former = formers[order.payer][key];
        if (order.upperBound > former.left) revert RevokedKeySpent(order.payer, former.left);
        former.left -= uint64(order.upperBound);
    }

    /// Not stopped by a pause: payers leave in it too.
    function collect(Voucher[] calldata vouchers, bytes[] calldata signatures) external onlyIn(Mode.Root) {
        Pot memory its = pot;
        uint256 room = _head().cumulative - its.collected;
        uint256 sum;
        for (uint256 i = 0; i < vouchers.length; ++i) {
            address key = _signer(vouchers[i].payer, _hashTypedDataV4(vouchers[i].hash()), signatures[i]);
            sum += _collect(vouchers[i], key, room - sum);
        }
        its.collected += uint64(sum); // At most the posted cumulative total.
        pot = its;
    }

    /// Takes what is owed within the cap, when the key is the payer's now; and out of shown orders.
    function _collect(Voucher calldata voucher, address key, uint256 room) private returns (uint256 amount) {
        address payer = voucher.payer;
        uint256 before = collectedOf[payer];
        if (voucher.cumulative <= before) return 0;
        PackedPayer stored = payers[payer];
        uint256 today = block.timestamp / 1 days;
        bool isCurrent = key == keys[payer] || key == payer;
        uint256 cap = isCurrent ? stored.capLeft(block.timestamp, today) : 0;
        amount = Math.min(voucher.cumulative - before, Math.min(room, stored.unpack().deposit));
        amount = Math.min(amount, cap + _held(payer));
        if (amount == 0) return 0;
        payers[payer] = _debitedWithHold(stored, payer, amount, Math.min(amount, cap), today);
        collectedOf[payer] = before + amount;
        emit Collected(payer, amount, before + amount);
    }

    /// Whether a key that `payer` ever authorised, or the payer, signed `digest`. Revoked keys count: what they signed
    /// before, they signed.
    function everSigned(address payer, bytes32 digest, bytes calldata signature)
        external
        view
        returns (bool)
    {
        // slither-disable-next-line unused-return (no signer is the only error that matters)
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        bool byKey = signer != address(0)
            && (signer == payer || signer == keys[payer] || formers[payer][signer].until != 0);
        return byKey || _signedByContract(payer, digest, signature);
    }

    /// Who signed for `payer`: a key that it authorised, not longer ago than it may still be shown, or itself (ERC-1271
    /// included).
    function _signer(address payer, bytes32 digest, bytes calldata signature) private view returns (address) {
        // slither-disable-next-line unused-return (no signer is the only error that matters)
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (signer != address(0)) {
            if (signer == payer || signer == keys[payer] && _wasGood(payer)) return signer;
            if (block.timestamp < formers[payer][signer].until) return signer;
        }
        if (_signedByContract(payer, digest, signature)) return payer;
        revert SignatureRefused(payer);
    }

    function _signedByContract(address payer, bytes32 digest, bytes calldata signature)
        private
        view
        returns (bool)
    {
        return payer.code.length != 0 && SignatureChecker.isValidERC1271SignatureNow(payer, digest, signature);
    }

    /// An expired key signed before it expired, as far as anybody can tell.
    function _wasGood(address payer) private view returns (bool) {
        return block.timestamp <= uint256(payers[payer].unpack().expiry) + withdrawDelay;
    }
}
