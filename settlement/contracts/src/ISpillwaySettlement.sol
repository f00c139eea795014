// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header} from "./Formats.sol";

/// What the contract says: events, typed errors and the shapes of its views.
/// Amounts are token units; the token has 6 decimals, so one unit is one micro-USD. Times are Unix seconds.
interface ISpillwaySettlement {
    /// `pending` still matures; `withdrawRequested` may exceed `deposit` and is zero when nothing is asked.
    struct Balances {
        uint128 deposit;
        uint128 pending;
        uint128 claimable;
        uint128 claimed;
        uint128 withdrawRequested;
        uint64 withdrawableAt;
    }

    /// `capPerDay` is at most 2^64 - 1 and `expiry` at most 2^40 - 1: larger ones are stored as these.
    struct OrderKey {
        address key;
        uint128 capPerDay;
        uint128 spentToday;
        uint64 expiry;
    }

    event Deposited(address indexed payer, address indexed from, uint256 amount);
    event OrderKeyAuthorized(address indexed payer, address indexed key, uint96 capPerDay, uint64 expiry);
    event Posted(
        uint64 indexed sequence,
        bytes32 indexed headerHash,
        bytes32 indexed jobsRoot,
        bytes32 dataHash,
        uint128 total,
        uint32 count,
        bytes32 previous,
        bytes32 ledgerHash
    );
    event Claimed(address indexed provider, uint256 amount, uint256 claimedInAll);
    event WithdrawRequested(address indexed payer, uint256 amount, uint64 withdrawableAt);
    event Withdrawn(address indexed payer, uint256 amount);
    event PosterChanged(address indexed from, address indexed to);

    /// A constructor argument named `field` is outside of what it may be.
    error InvalidParameter(string field);
    /// The token moved another amount than asked (a fee on transfer, for example).
    error TokenAmountMismatch(uint256 asked, uint256 moved);
    /// The contract keeps amounts in 64 bits; no more than 2^64 - 1 units fit in all.
    error HoldingsTooLarge(uint256 holdings);
    /// A deposit must be for somebody.
    error PayerMissing();

    error NotPoster(address caller);
    /// A header other than the one posted at this sequence.
    error SequenceUsed(uint64 sequence, bytes32 posted, bytes32 given);
    /// Posted so long ago that the ring no longer holds its hash; `oldest` is the first one it holds.
    error SequenceForgotten(uint64 sequence, uint64 oldest);
    error SequenceGap(uint64 expected, uint64 given);
    error PreviousMismatch(bytes32 expected, bytes32 given);
    error LedgerHashMismatch(bytes32 expected, bytes32 given);
    /// Entries must be strictly ascending by address, and not the zero address.
    error EntryNotAscending(address account);
    error TotalMismatch(uint128 total, uint256 debits, uint256 credits);

    error OrderKeyMissing(address payer);
    error OrderKeyExpired(address payer, uint64 expiry);
    error DailyCapExceeded(address payer, uint256 capPerDay, uint256 spent);
    error DepositTooSmall(address payer, uint256 deposit, uint256 debit);
    /// A cap or an expiry without a key.
    error KeyMissing();
    error WithdrawTooEarly(uint64 withdrawableAt);

    /// Books one batch. The same header again changes nothing and succeeds.
    function post(Header calldata header, bytes32[] calldata debits, bytes32[] calldata credits) external;
}
