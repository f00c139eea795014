// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What a provider has earned and not yet taken, in one storage slot.
/// `current` was credited in `epoch`, `previous` in the epoch before it; both still mature.
struct Credit {
    uint64 current;
    uint64 previous;
    uint64 claimable;
    uint64 epoch;
}

/// Maturity by two buckets. A credit of epoch e can be claimed from the start of epoch e + 2: after more
/// than one window and at most two, whatever is credited in between.
library Credits {
    function rolledTo(Credit memory credit, uint64 epoch) internal pure returns (Credit memory) {
        if (epoch == credit.epoch) return credit;
        credit.claimable += credit.previous;
        if (epoch == credit.epoch + 1) {
            credit.previous = credit.current;
        } else {
            credit.claimable += credit.current;
            credit.previous = 0;
        }
        credit.current = 0;
        credit.epoch = epoch;
        return credit;
    }
}
