// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header, Order, Voucher} from "../formats/Formats.sol";

/// What the contract says: events, typed errors and the shapes of its views.
/// Amounts are token units; the token has 6 decimals, so one unit is one micro-USD. Times are Unix seconds.
interface ISpillwaySettlement {
    /// How batches move money. Ledger: each batch names what every account pays and earns. Root: a batch is roots only;
    /// payers pay by vouchers, providers claim with a proof.
    enum Mode {
        Ledger,
        Root
    }

    /// Fixed at construction. `disputes` may freeze and seize unpaid value and stop a poster that was proven to lie; zero
    /// for nobody. `window` and `withdrawDelay` are seconds, and `withdrawDelay` exceeds `longestPause` + 2 windows.
    /// `ring` is how many headers are remembered, `feeBps` what is kept of each claim, in hundredths of a per cent.
    struct Parameters {
        address token;
        address authority;
        address poster;
        address disputes;
        address feeRecipient;
        Mode mode;
        uint16 feeBps;
        uint32 ring;
        uint64 window;
        uint64 withdrawDelay;
        uint64 longestPause;
    }

    /// `pending` still matures and `claimable` can be claimed now; both are zero in root mode, where the proof says it.
    /// `withdrawRequested` may exceed `deposit` and is zero when nothing is asked.
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

    /// Root mode: `cumulative` is posted in all, `escrow` all deposits and what was collected of them, `collected` what
    /// vouchers have moved from deposits to the pot, `paid` what claims have taken from it. Both modes: `fees` are kept and
    /// not paid out yet.
    struct Totals {
        uint64 cumulative;
        uint64 escrow;
        uint64 collected;
        uint64 paid;
        uint64 fees;
    }

    event Deposited(address indexed payer, address indexed from, uint256 amount);
    event OrderKeyAuthorized(address indexed payer, address indexed key, uint96 capPerDay, uint64 expiry);
    event Posted(uint64 indexed sequence, bytes32 indexed headerHash, Header header);
    event Collected(address indexed payer, uint256 amount, uint256 collectedInAll);
    /// `amount` went to the provider, `fee` is kept; `claimedInAll` counts both.
    event Claimed(address indexed provider, uint256 amount, uint256 fee, uint256 claimedInAll);
    event FeesPaid(address indexed recipient, uint256 amount);
    event WithdrawRequested(address indexed payer, uint256 amount, uint64 withdrawableAt);
    event Withdrawn(address indexed payer, uint256 amount);
    /// `order` keeps `amount` of the payer's deposit from leaving before `until`, and may be paid out of it.
    event OrderShown(address indexed payer, bytes32 indexed order, uint256 amount, uint64 until);
    event PosterChanged(address indexed from, address indexed to);
    event Paused(uint64 until);
    /// The poster was proven to lie in the batch at `sequence`.
    event Broken(uint64 indexed sequence, address indexed poster);
    event Frozen(address indexed provider, uint64 until);
    event Unfrozen(address indexed provider);
    /// `amount` of the provider's unpaid value went to the deposit of `payer`.
    event Seized(address indexed provider, address indexed payer, uint256 amount);

    /// A constructor argument named `field` is outside of what it may be.
    error InvalidParameter(string field);
    /// The call belongs to the other mode; this contract is in `mode`.
    error WrongMode(Mode mode);
    /// The token moved another amount than asked (a fee on transfer, for example).
    error TokenAmountMismatch(uint256 asked, uint256 moved);
    /// The contract keeps amounts in 64 bits; no more than 2^64 - 1 units fit in all.
    error HoldingsTooLarge(uint256 holdings);
    /// A deposit must be for somebody.
    error PayerMissing();

    error NotPoster(address caller);
    /// Posting and claiming go on by themselves at `until`.
    error IsPaused(uint64 until);
    /// A pause may begin again only at `from`.
    error PauseTooSoon(uint64 from);
    /// The batch at `sequence` was proven wrong: nothing is posted until there is another poster (ledger mode), or ever
    /// again (root mode), where headers from it on pay nothing.
    error IsBroken(uint64 sequence);
    /// A header other than the one posted at this sequence.
    error SequenceUsed(uint64 sequence, bytes32 posted, bytes32 given);
    /// Posted so long ago that the ring no longer holds its hash; `oldest` is the first one it holds.
    error SequenceForgotten(uint64 sequence, uint64 oldest);
    error SequenceGap(uint64 expected, uint64 given);
    error PreviousMismatch(bytes32 expected, bytes32 given);
    /// The ring has no room: the header at `sequence`, the next to be overwritten, is not final yet.
    error RingFull(uint64 sequence);
    /// A header field that belongs to the other mode is not zero, or `ledgerHash` or a root is missing.
    error FieldsOfOtherMode();
    error LedgerHashMismatch(bytes32 expected, bytes32 given);
    /// Entries must be strictly ascending by address, and not the zero address.
    error EntryNotAscending(address account);
    error TotalMismatch(uint128 total, uint256 debits, uint256 credits);
    error CumulativeMismatch(uint256 expected, uint128 given);
    /// The totals would exceed all that payers have deposited.
    error EscrowTooSmall(uint256 escrow, uint128 cumulative);

    error OrderKeyMissing(address payer);
    error OrderKeyExpired(address payer, uint64 expiry);
    error DailyCapExceeded(address payer, uint256 capPerDay, uint256 spent);
    error DepositTooSmall(address payer, uint256 deposit, uint256 debit);
    /// A cap or an expiry without a key.
    error KeyMissing();
    error WithdrawTooEarly(uint64 withdrawableAt);
    /// The signature is not by the payer nor by a key that the payer authorised and that may still sign this.
    error SignatureRefused(address payer);
    /// An order is shown only while its payer leaves or has no good key, once, and soon after its expiry.
    error OrderNotShowable(bytes32 order);
    /// The revoked key may be good for `left` more only.
    error RevokedKeySpent(address payer, uint256 left);

    error NotDisputes(address caller);
    /// A claim on an open dispute waits until `until` at most.
    error IsFrozen(address provider, uint64 until);
    /// The header at `sequence` is not in the ring, not the one posted, or not final yet.
    error HeaderNotFinal(uint64 sequence);
    error ProofMismatch(address account);

    /// Books one batch in ledger mode. The same header again changes nothing and succeeds.
    function post(Header calldata header, bytes32[] calldata debits, bytes32[] calldata credits) external;
    /// Books one batch in root mode. The same header again changes nothing and succeeds.
    function postRoot(Header calldata header) external;
    /// Ledger mode: pays `provider` what has matured. Anyone may call it.
    function claim(address provider) external returns (uint256 paid);
    /// Root mode: pays `provider` what it has earned up to a final header and not taken yet, as far as vouchers cover it.
    /// `proof` leads from (provider, cumulative) to the header's `payRoot`: two words a level, hash and sum of the sibling.
    function claimWithProof(
        Header calldata header,
        address provider,
        uint128 cumulative,
        bytes32[] calldata proof
    ) external returns (uint256 paid);
    /// Root mode: moves what the vouchers owe from deposits to the pot, as far as cap and deposit reach. Anyone may call it.
    function collect(Voucher[] calldata vouchers, bytes[] calldata signatures) external;
    /// Keeps `order.upperBound` of a leaving payer's deposit back for the work that the payer's key ordered.
    function showOrder(Order calldata order, bytes calldata signature) external;
}

/// What the disputes contract answers and the settlement contract asks.
interface IFeeDiscount {
    /// Hundredths of a per cent taken off the fee of `provider`, at most 10,000.
    function feeDiscountBps(address provider) external view returns (uint256);
}
