// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISpillwaySettlement} from "./ISpillwaySettlement.sol";

/// What posting needs of a payer. `spentDay` counts days (UTC) since 1970, `expiry` is Unix seconds.
struct Payer {
    uint64 deposit;
    uint64 capPerDay;
    uint64 spentToday;
    uint40 expiry;
    uint24 spentDay;
}

/// A `Payer` in one storage slot, from the low bits up in the order of the fields. Packed by hand: the compiler
/// reads and writes a struct field by field, which costs an eighth more per entry of a batch.
type PackedPayer is uint256;

library Payers {
    function unpack(PackedPayer packed) internal pure returns (Payer memory) {
        uint256 word = PackedPayer.unwrap(packed);
        return Payer({
            deposit: uint64(word),
            capPerDay: uint64(word >> 64),
            spentToday: uint64(word >> 128),
            expiry: uint40(word >> 192),
            spentDay: uint24(word >> 232)
        });
    }

    function pack(Payer memory payer) internal pure returns (PackedPayer) {
        return _join(payer.deposit, payer.capPerDay, payer.spentToday, payer.expiry, payer.spentDay);
    }

    /// Whether the payer's order key is good at `time`.
    function mayPay(PackedPayer packed, uint256 time) internal pure returns (bool) {
        return time <= uint40(PackedPayer.unwrap(packed) >> 192);
    }

    /// The state of `account` after a debit on day `today` under a good order key; reverts when it is too much.
    function debited(PackedPayer packed, address account, uint256 amount, uint256 today)
        internal
        pure
        returns (PackedPayer)
    {
        uint256 word = PackedPayer.unwrap(packed);
        uint256 capPerDay = uint64(word >> 64);
        uint256 spent = (word >> 232 == today ? uint64(word >> 128) : 0) + amount;
        if (spent > capPerDay) revert ISpillwaySettlement.DailyCapExceeded(account, capPerDay, spent);
        uint256 deposit = uint64(word);
        if (amount > deposit) revert ISpillwaySettlement.DepositTooSmall(account, deposit, amount);
        return _join(deposit - amount, capPerDay, spent, uint40(word >> 192), today);
    }

    /// The most that `debited` would accept on day `today`.
    function debitable(PackedPayer packed, uint256 today) internal pure returns (uint256) {
        uint256 word = PackedPayer.unwrap(packed);
        uint256 capPerDay = uint64(word >> 64);
        uint256 spent = word >> 232 == today ? uint64(word >> 128) : 0;
        uint256 left = spent < capPerDay ? capPerDay - spent : 0;
        uint256 deposit = uint64(word);
        return left < deposit ? left : deposit;
    }

    /// Each part must fit its field: a debit leaves less than the deposit, and spent is at most the cap.
    function _join(uint256 deposit, uint256 capPerDay, uint256 spentToday, uint256 expiry, uint256 spentDay)
        private
        pure
        returns (PackedPayer)
    {
        return
            PackedPayer.wrap(deposit | capPerDay << 64 | spentToday << 128 | expiry << 192 | spentDay << 232);
    }
}
