// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Formats, Order, Voucher} from "./Formats.sol";
import {Holds} from "./Holds.sol";
import {PackedPayer, Payer, Payers} from "./Payers.sol";

/// What moves a payer's money: keys with a cap per day and an expiry, and what they sign.
abstract contract OrderKeys is Holds {
    using Formats for Order;
    using Formats for Voucher;
    using Payers for Payer;
    using Payers for PackedPayer;

    /// A revoked or replaced key: until when orders it signed may still be shown, and for how much at most.
    struct Revoked {
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
    mapping(address payer => mapping(address key => Revoked)) internal revoked;
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
        if (old != address(0) && old != key) {
            revoked[msg.sender][old] =
                Revoked({until: uint64(block.timestamp) + withdrawDelay, left: payer.capPerDay});
        }
        keys[msg.sender] = key;
        payer.capPerDay = uint64(Math.min(capPerDay, type(uint64).max));
        payer.expiry = uint40(Math.min(expiry, type(uint40).max));
        payers[msg.sender] = payer.pack();
        emit OrderKeyAuthorized(msg.sender, key, capPerDay, expiry);
    }

    /// Anyone may show an order, the provider will. It holds money back only while the payer leaves or has no good key:
    /// at other times a post needs no help. Not stopped by a pause.
    function showOrder(Order calldata order, bytes calldata signature) external {
        bytes32 hash = order.hash();
        bool payerGoesOn = withdrawals[order.payer].amount == 0 && payers[order.payer].mayPay(block.timestamp);
        bool isOld = block.timestamp > uint256(order.expiry) + withdrawDelay;
        if (payerGoesOn || isOld || shown[hash]) revert OrderNotShowable(hash);
        shown[hash] = true;
        address key = _signer(order.payer, _hashTypedDataV4(hash), signature);
        if (key != order.payer && key != keys[order.payer]) _spendRevoked(order, key);
        Hold storage hold = holds[order.payer];
        uint256 amount = Math.min(_held(order.payer) + order.upperBound, type(uint64).max);
        hold.amount = uint64(amount);
        hold.until = uint64(block.timestamp) + withdrawDelay;
        emit OrderShown(order.payer, hash, order.upperBound, hold.until);
    }

    function _spendRevoked(Order calldata order, address key) private {
        Revoked storage record = revoked[order.payer][key];
        if (order.upperBound > record.left) revert RevokedKeySpent(order.payer, record.left);
        record.left -= uint64(order.upperBound);
    }

    /// Not stopped by a pause: payers leave in it too.
    function collect(Voucher[] calldata vouchers, bytes[] calldata signatures) external onlyIn(Mode.Root) {
        Pot memory its = pot;
        uint256 room = _head().cumulative - its.collected;
        uint256 sum;
        for (uint256 i = 0; i < vouchers.length; ++i) {
            _signer(vouchers[i].payer, _hashTypedDataV4(vouchers[i].hash()), signatures[i]);
            sum += _collect(vouchers[i], room - sum);
        }
        its.collected += uint64(sum); // At most the posted cumulative total.
        pot = its;
    }

    function _collect(Voucher calldata voucher, uint256 room) private returns (uint256 amount) {
        address payer = voucher.payer;
        uint256 before = collectedOf[payer];
        if (voucher.cumulative <= before) return 0;
        amount = Math.min(voucher.cumulative - before, room);
        PackedPayer stored = payers[payer];
        uint256 today = block.timestamp / 1 days;
        bool keyIsGood = stored.mayPay(block.timestamp);
        uint256 most = keyIsGood ? stored.debitable(today) : Math.min(_held(payer), stored.unpack().deposit);
        amount = Math.min(amount, most);
        if (amount == 0) return 0;
        payers[payer] =
            keyIsGood ? stored.debited(payer, amount, today) : _debitedFromHold(stored, payer, amount);
        collectedOf[payer] = before + amount;
        emit Collected(payer, amount, before + amount);
    }

    /// Who signed for `payer`: a key that it authorised, not longer ago than it may still be shown, or itself (ERC-1271
    /// included).
    function _signer(address payer, bytes32 digest, bytes calldata signature) private view returns (address) {
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (signer != address(0)) {
            if (signer == payer || signer == keys[payer] && _wasGood(payer)) return signer;
            if (block.timestamp < revoked[payer][signer].until) return signer;
        }
        if (payer.code.length != 0 && SignatureChecker.isValidERC1271SignatureNow(payer, digest, signature)) {
            return payer;
        }
        revert SignatureRefused(payer);
    }

    /// An expired key signed before it expired, as far as anybody can tell.
    function _wasGood(address payer) private view returns (bool) {
        return block.timestamp <= uint256(payers[payer].unpack().expiry) + withdrawDelay;
    }
}
