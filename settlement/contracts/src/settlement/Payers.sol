// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

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

    /// Whether order key, cap of day `today` and deposit all allow a debit of `amount`.
    function covers(PackedPayer packed, uint256 amount, uint256 time, uint256 today)
        internal
        pure
        returns (bool)
    {
        uint256 word = PackedPayer.unwrap(packed);
        uint256 spent = (word >> 232 == today ? uint64(word >> 128) : 0) + amount;
        return time <= uint40(word >> 192) && spent <= uint64(word >> 64) && amount <= uint64(word);
    }

    /// The state after a debit on day `today` that it covers.
    function debited(PackedPayer packed, uint256 amount, uint256 today) internal pure returns (PackedPayer) {
        uint256 word = PackedPayer.unwrap(packed);
        uint256 spent = (word >> 232 == today ? uint64(word >> 128) : 0) + amount;
        return _join(uint64(word) - amount, uint64(word >> 64), spent, uint40(word >> 192), today);
    }

    /// What cap and key still allow at `time`, on day `today`.
    function capLeft(PackedPayer packed, uint256 time, uint256 today) internal pure returns (uint256) {
        uint256 word = PackedPayer.unwrap(packed);
        if (time > uint40(word >> 192)) return 0;
        uint256 cap = uint64(word >> 64);
        uint256 spent = word >> 232 == today ? uint64(word >> 128) : 0;
        return spent < cap ? cap - spent : 0; // The cap may have been lowered since.
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
