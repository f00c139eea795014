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

    /// A payer without a good key pays for orders that were shown, and for nothing else.
    function _debitedFromHold(PackedPayer packed, address account, uint256 amount)
        internal
        returns (PackedPayer)
    {
        Payer memory payer = packed.unpack();
        if (amount == 0 || amount > _held(account)) {
            if (payer.expiry == 0) revert OrderKeyMissing(account);
            revert OrderKeyExpired(account, payer.expiry);
        }
        if (amount > payer.deposit) revert DepositTooSmall(account, payer.deposit, amount);
        holds[account].amount -= uint64(amount);
        payer.deposit -= uint64(amount);
        return payer.pack();
    }
}
