// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Where posting stands, as of `epoch`. Sequences below `previousEnd` were posted before `epoch`, those below `finalEnd`
/// at least one whole epoch before it: nobody can dispute them any more. `cumulative` and `escrow` count in root mode
/// only: all totals posted, and all deposits less what was paid back to payers.
struct Head {
    uint32 nextSequence;
    uint32 previousEnd;
    uint32 finalEnd;
    uint32 epoch;
    uint64 cumulative;
    uint64 escrow;
}

/// A `Head` in one storage slot, from the low bits up in the order of the fields.
type PackedHead is uint256;

/// Finality by two marks, the twin of `Credits`: a header posted in epoch e is final from the start of epoch e + 2.
library Heads {
    /// What is stored, as it stands in `epoch`.
    function unpackAt(PackedHead packed, uint32 epoch) internal pure returns (Head memory head) {
        uint256 word = PackedHead.unwrap(packed);
        head.nextSequence = uint32(word);
        head.previousEnd = uint32(word >> 32);
        head.finalEnd = uint32(word >> 64);
        head.epoch = uint32(word >> 96);
        head.cumulative = uint64(word >> 128);
        head.escrow = uint64(word >> 192);
        if (head.epoch == epoch) return head;
        head.finalEnd = epoch == head.epoch + 1 ? head.previousEnd : head.nextSequence;
        head.previousEnd = head.nextSequence;
        head.epoch = epoch;
    }

    function pack(Head memory head) internal pure returns (PackedHead) {
        return PackedHead.wrap(
            uint256(head.nextSequence) | uint256(head.previousEnd) << 32 | uint256(head.finalEnd) << 64
                | uint256(head.epoch) << 96 | uint256(head.cumulative) << 128 | uint256(head.escrow) << 192
        );
    }
}
