// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What a provider has earned and not yet taken. `current` was credited in `epoch`, `previous` in the epoch
/// before it; both still mature.
struct Credit {
    uint64 current;
    uint64 previous;
    uint64 claimable;
    uint64 epoch;
}

/// A `Credit` in one storage slot, packed by hand like `PackedPayer`.
type PackedCredit is uint256;

/// Maturity by two buckets. A credit of epoch e can be claimed from the start of epoch e + 2: after more
/// than one window and at most two, whatever is credited in between.
library Credits {
    /// What is stored, as it stands in `epoch`.
    function unpackAt(PackedCredit packed, uint64 epoch) internal pure returns (Credit memory credit) {
        uint256 word = PackedCredit.unwrap(packed);
        credit.current = uint64(word);
        credit.previous = uint64(word >> 64);
        credit.claimable = uint64(word >> 128);
        credit.epoch = uint64(word >> 192);
        if (credit.epoch != epoch) _roll(credit, epoch);
    }

    function pack(Credit memory credit) internal pure returns (PackedCredit) {
        return PackedCredit.wrap(
            uint256(credit.current) | uint256(credit.previous) << 64 | uint256(credit.claimable) << 128
                | uint256(credit.epoch) << 192
        );
    }

    /// The state after a credit in `epoch`. Credits equal debits or the whole post reverts, and all deposits
    /// together fit 64 bits, so no field can overflow.
    function credited(PackedCredit packed, uint256 amount, uint64 epoch)
        internal
        pure
        returns (PackedCredit)
    {
        uint256 word = PackedCredit.unwrap(packed);
        if (word >> 192 == epoch) {
            return PackedCredit.wrap(word & ~uint256(type(uint64).max) | uint64(uint64(word) + amount));
        }
        Credit memory credit = unpackAt(packed, epoch);
        credit.current = uint64(amount);
        return pack(credit);
    }

    /// Takes up to `amount` out of `credit`, what was credited last first.
    function seize(Credit memory credit, uint256 amount) internal pure returns (uint256 seized) {
        uint256 part = amount < credit.current ? amount : credit.current;
        credit.current -= uint64(part);
        seized = part;
        part = amount - seized < credit.previous ? amount - seized : credit.previous;
        credit.previous -= uint64(part);
        seized += part;
        part = amount - seized < credit.claimable ? amount - seized : credit.claimable;
        credit.claimable -= uint64(part);
        seized += part;
    }

    function _roll(Credit memory credit, uint64 epoch) private pure {
        credit.claimable += credit.previous;
        if (epoch == credit.epoch + 1) {
            credit.previous = credit.current;
        } else {
            credit.claimable += credit.current;
            credit.previous = 0;
        }
        credit.current = 0;
        credit.epoch = epoch;
    }
}
