// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Base} from "./Base.sol";
import {PackedPayer, Payer, Payers} from "./Payers.sol";

/// What shown orders keep of a leaving payer's deposit, and how it is spent.
abstract contract Holds is Base {
    using Payers for Payer;
    using Payers for PackedPayer;

    function _held(address payer) internal view returns (uint256) {
        Hold memory hold = holds[payer];
        return block.timestamp < hold.until ? hold.amount : 0;
    }

    /// Whether a request to leave was not used in time.
    function _hasLapsed(Withdrawal memory asked) internal view returns (bool) {
        return block.timestamp > uint256(asked.withdrawableAt) + 2 * withdrawDelay;
    }

    /// A debit of which key and cap allow `fromCap`: orders that were shown pay for the rest, and for nothing else.
    function _debitedWithHold(
        PackedPayer packed,
        address account,
        uint256 amount,
        uint256 fromCap,
        uint256 today
    ) internal returns (PackedPayer) {
        Payer memory payer = packed.unpack();
        uint256 fromHold = amount - fromCap;
        uint256 held = _held(account);
        if (!packed.mayPay(block.timestamp) && (held == 0 || fromHold > held)) {
            if (payer.expiry == 0) revert OrderKeyMissing(account);
            revert OrderKeyExpired(account, payer.expiry);
        }
        if (fromHold > held) {
            uint256 before = payer.spentDay == today ? payer.spentToday : 0;
            revert DailyCapExceeded(account, payer.capPerDay, before + amount);
        }
        if (amount > payer.deposit) revert DepositTooSmall(account, payer.deposit, amount);
        if (fromHold != 0) holds[account].amount -= uint64(fromHold);
        if (fromCap != 0) packed = packed.debited(fromCap, today);
        payer = packed.unpack();
        payer.deposit -= uint64(fromHold);
        return payer.pack();
    }
}
