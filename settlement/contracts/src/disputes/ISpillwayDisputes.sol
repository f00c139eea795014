// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What m of n verifiers sign (EIP-712, domain of the signers contract). `refund` is at most the leaf's amount and goes to
/// the payer; `slash` comes on top, within the cap. `expiry` is Unix seconds.
struct Verdict {
    bytes32 headerHash;
    bytes32 leafHash;
    ISpillwayDisputes.Fault fault;
    uint128 refund;
    uint128 slash;
    uint64 expiry;
}

/// Shapes, events and typed errors of the disputes contract. Amounts are token units, times Unix seconds.
interface ISpillwayDisputes {
    /// Fixed at construction. The `guarantor` answers with its stake for what the hub posts. `penalty` is taken from whoever
    /// is at fault, besides what the payer lost; `challengerBps` (at most half) of all that is taken goes to the challenger.
    /// `verdictCapBps` bounds what one verdict takes of a provider's stake. `sums` may report batches that do not add up,
    /// `signers` knows receipt keys and verifiers.
    struct Terms {
        address settlement;
        address stake;
        address sums;
        address signers;
        address authority;
        address guarantor;
        uint64 answerTime;
        uint64 appealTime;
        uint96 bond;
        uint96 penalty;
        uint16 challengerBps;
        uint16 verdictCapBps;
    }

    enum Fault {
        MissingOrder,
        WithheldPay,
        ExceededOrder,
        Duplicate,
        Equivocation,
        BrokenSum,
        WrongResult,
        SlaBreach
    }

    enum State {
        None,
        Open,
        Proven,
        Refuted
    }

    /// A challenge that waits for its answer, or a verdict for its appeal. `rank` is the line's sequence << 32 | index.
    struct Dispute {
        address challenger;
        State state;
        Fault fault;
        uint64 deadline;
        address payer;
        address provider;
        uint128 amount;
        uint128 refund;
        uint128 slash;
        uint256 rank;
        bytes32 leafHash;
    }

    event DisputeOpened(
        uint256 indexed id,
        Fault indexed fault,
        address indexed provider,
        address challenger,
        uint256 rank,
        uint64 deadline
    );
    /// What the provider needs to claim.
    event PayShown(uint256 indexed id, address indexed provider, uint128 cumulative, bytes32[] proof);
    event DisputeRefuted(uint256 indexed id);
    /// `rank` is sequence << 32 | index of the line; the index is zero when the fault is the batch's.
    event FaultProven(Fault indexed fault, address indexed accused, bytes32 indexed rank, address challenger);
    /// Of the stake `taken`, `refunded` went to the payer and `rewarded` to the challenger; the rest is in the reserve.
    event Slashed(
        address indexed accused,
        address indexed payer,
        address indexed challenger,
        uint256 taken,
        uint256 refunded,
        uint256 rewarded
    );
    /// The payer is still owed this much: it is taken from the provider's unpaid value as that appears.
    event DebtChanged(address indexed provider, address indexed payer, uint256 owed);
    event Compensated(address indexed payer, uint256 amount);

    error InvalidParameter(string field);
    error NotSums(address caller);
    /// The same thing was proven, or is open, already.
    error AlreadyRaised(bytes32 what);
    error OrderMismatch(bytes32 order);
    error OrderNotSigned(address payer);
    error DisputeNotOpen(uint256 id);
    /// A dispute resolves from its deadline on, and is answered before it.
    error TooEarly(uint64 deadline);
    error TooLate(uint64 deadline);
    error LeafMismatch(bytes32 expected, bytes32 given);
    error VerdictTooHarsh(string field, uint256 most);
}
