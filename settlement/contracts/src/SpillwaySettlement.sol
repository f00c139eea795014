// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Credit, Credits, PackedCredit} from "./Credits.sol";
import {Formats, Header, Leaf, Order, Receipt} from "./Formats.sol";
import {ISpillwaySettlement} from "./ISpillwaySettlement.sol";
import {PackedPayer, Payer, Payers} from "./Payers.sol";

/// Holds payers' deposits and moves them to providers as batches are posted (ledger mode: each batch names
/// what every account pays or earns). The code cannot change and nothing can be paused: the owner may
/// replace the poster, the poster may only move money under a payer's own daily cap, and nobody can keep
/// anybody from leaving.
contract SpillwaySettlement is ISpillwaySettlement, Ownable2Step, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Credits for Credit;
    using Credits for PackedCredit;
    using Payers for Payer;
    using Payers for PackedPayer;
    using Formats for Order;
    using Formats for Receipt;
    using Formats for Leaf;
    using Formats for Header;

    /// The next sequence and who may post it: all that posting reads besides the ring, in one slot.
    struct Head {
        uint64 nextSequence;
        address poster;
    }

    struct Withdrawal {
        uint128 amount;
        uint64 withdrawableAt;
    }

    /// Also the version of the EIP-712 domain.
    string public constant VERSION = "1";
    /// Header hashes kept: a repeated header is recognised while fewer than this many came after it. A day
    /// holds 256 batches when one is posted every 5.6 minutes; slots are overwritten, never added.
    uint64 public constant RING = 256;
    /// Neither maturity window nor withdraw delay may be longer, so that leaving stays real.
    uint64 public constant LONGEST_WAIT = 30 days;

    IERC20 public immutable token;
    /// Seconds of one maturity epoch: a credit waits between one and two of them.
    uint64 public immutable window;
    /// Seconds between asking for a deposit back and getting it.
    uint64 public immutable withdrawDelay;

    Head private head;
    bytes32[RING] private ring;
    mapping(address payer => PackedPayer) private payers;
    mapping(address provider => PackedCredit) private earned;
    mapping(address provider => uint256) private claimed;
    mapping(address payer => Withdrawal) private withdrawals;
    mapping(address payer => address) private keys;

    constructor(IERC20 token_, address owner_, address poster_, uint64 window_, uint64 withdrawDelay_)
        Ownable(owner_)
        EIP712("Spillway", VERSION)
    {
        if (address(token_).code.length == 0) revert InvalidParameter("token");
        if (window_ == 0 || window_ > LONGEST_WAIT) revert InvalidParameter("window");
        if (withdrawDelay_ > LONGEST_WAIT) revert InvalidParameter("withdrawDelay");
        token = token_;
        window = window_;
        withdrawDelay = withdrawDelay_;
        head = Head({nextSequence: 1, poster: poster_});
        emit PosterChanged(address(0), poster_);
    }

    // Posting

    function setPoster(address poster_) external onlyOwner {
        emit PosterChanged(head.poster, poster_);
        head.poster = poster_;
    }

    /// @inheritdoc ISpillwaySettlement
    /// @dev Exactly once per (chain, contract, sequence, header hash). The repeat is recognised before the
    /// caller is checked, so a late copy from a replaced poster is as harmless as any other.
    function post(Header calldata header, bytes32[] calldata debits, bytes32[] calldata credits) external {
        Head memory current = head;
        bytes32 hash = header.hash(address(this));
        if (_isRepeat(header.sequence, hash, current.nextSequence)) return;
        if (msg.sender != current.poster) revert NotPoster(msg.sender);
        _requireNext(header, current.nextSequence);

        bytes32 ledger = Formats.ledgerHash(debits, credits);
        if (ledger != header.ledgerHash) revert LedgerHashMismatch(ledger, header.ledgerHash);
        uint256 debited = _debit(debits);
        uint256 credited = _credit(credits);
        if (debited != header.total || credited != header.total) {
            revert TotalMismatch(header.total, debited, credited);
        }

        ring[header.sequence % RING] = hash;
        head.nextSequence = current.nextSequence + 1;
        _emitPosted(header, hash);
    }

    function _isRepeat(uint64 sequence, bytes32 hash, uint64 next) private view returns (bool) {
        if (sequence >= next) return false;
        uint64 oldest = _oldest(next);
        if (sequence < oldest) revert SequenceForgotten(sequence, oldest);
        bytes32 posted = ring[sequence % RING];
        if (posted != hash) revert SequenceUsed(sequence, posted, hash);
        return true;
    }

    function _requireNext(Header calldata header, uint64 next) private view {
        if (header.sequence != next) revert SequenceGap(next, header.sequence);
        bytes32 previous = ring[(next - 1) % RING];
        if (header.previous != previous) revert PreviousMismatch(previous, header.previous);
    }

    function _debit(bytes32[] calldata debits) private returns (uint256 sum) {
        uint256 today = block.timestamp / 1 days;
        address last;
        for (uint256 i = 0; i < debits.length; ++i) {
            (address account, uint256 amount) = Formats.entry(debits[i]);
            if (account <= last) revert EntryNotAscending(account);
            last = account;
            sum += amount;
            payers[account] = payers[account].debited(account, amount, block.timestamp, today);
        }
    }

    function _credit(bytes32[] calldata credits) private returns (uint256 sum) {
        uint64 epoch = _epoch();
        address last;
        for (uint256 i = 0; i < credits.length; ++i) {
            (address account, uint256 amount) = Formats.entry(credits[i]);
            if (account <= last) revert EntryNotAscending(account);
            last = account;
            sum += amount;
            earned[account] = earned[account].credited(amount, epoch);
        }
    }

    function _emitPosted(Header calldata header, bytes32 hash) private {
        emit Posted(
            header.sequence,
            hash,
            header.jobsRoot,
            header.dataHash,
            header.total,
            header.count,
            header.previous,
            header.ledgerHash
        );
    }

    // Payers

    function deposit(uint256 amount) external {
        depositFor(msg.sender, amount);
    }

    /// The caller pays, `payer` may spend or withdraw it.
    function depositFor(address payer, uint256 amount) public nonReentrant {
        if (payer == address(0)) revert PayerMissing();
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 holdings = token.balanceOf(address(this));
        if (holdings != before + amount) revert TokenAmountMismatch(amount, holdings - before);
        // All deposits and credits together are at most the holdings, so no 64-bit sum below can overflow.
        if (holdings > type(uint64).max) revert HoldingsTooLarge(holdings);
        Payer memory stored = payers[payer].unpack();
        stored.deposit += uint64(amount);
        payers[payer] = stored.pack();
        emit Deposited(payer, msg.sender, amount);
    }

    /// Lets `key` sign orders for the caller, up to `capPerDay` a day (UTC) and until `expiry` inclusive.
    /// It replaces the caller's key; what was spent today still counts. A zero key with zero cap and expiry
    /// revokes: nothing more can be posted against the caller's deposit.
    function authorizeOrderKey(address key, uint96 capPerDay, uint64 expiry) external {
        if (key == address(0) && (capPerDay != 0 || expiry != 0)) revert KeyMissing();
        keys[msg.sender] = key;
        Payer memory payer = payers[msg.sender].unpack();
        payer.capPerDay = uint64(Math.min(capPerDay, type(uint64).max));
        payer.expiry = uint40(Math.min(expiry, type(uint40).max));
        payers[msg.sender] = payer.pack();
        emit OrderKeyAuthorized(msg.sender, key, capPerDay, expiry);
    }

    /// Asks for up to `amount` of the caller's deposit; replaces an earlier request and starts the delay anew.
    /// Zero takes the request back. Until it is paid, posts may still spend the deposit.
    function requestWithdraw(uint256 amount) external {
        uint128 asked = uint128(Math.min(amount, type(uint128).max));
        uint64 payableAt = asked == 0 ? 0 : uint64(block.timestamp) + withdrawDelay;
        withdrawals[msg.sender] = Withdrawal({amount: asked, withdrawableAt: payableAt});
        emit WithdrawRequested(msg.sender, asked, payableAt);
    }

    /// Pays what the caller asked for, or what is left of the deposit; nothing when nothing was asked.
    function withdraw() external nonReentrant returns (uint256 amount) {
        Withdrawal memory asked = withdrawals[msg.sender];
        if (asked.amount == 0) return 0;
        if (block.timestamp < asked.withdrawableAt) revert WithdrawTooEarly(asked.withdrawableAt);
        delete withdrawals[msg.sender];
        Payer memory payer = payers[msg.sender].unpack();
        amount = Math.min(asked.amount, payer.deposit);
        payer.deposit -= uint64(amount);
        payers[msg.sender] = payer.pack();
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    // Providers

    /// Anyone may call it; only `provider` is paid, with everything that has matured.
    function claim(address provider) external nonReentrant returns (uint256 amount) {
        Credit memory credit = earned[provider].unpackAt(_epoch());
        amount = credit.claimable;
        if (amount == 0) return 0;
        credit.claimable = 0;
        earned[provider] = credit.pack();
        claimed[provider] += amount;
        emit Claimed(provider, amount, claimed[provider]);
        token.safeTransfer(provider, amount);
    }

    // Views

    function nextSequence() external view returns (uint64) {
        return head.nextSequence;
    }

    function poster() external view returns (address) {
        return head.poster;
    }

    /// Zero when nothing was posted at `sequence` or the ring has overwritten it.
    function headerHashAt(uint64 sequence) public view returns (bytes32) {
        uint64 next = head.nextSequence;
        if (sequence >= next || sequence < _oldest(next)) return bytes32(0);
        return ring[sequence % RING];
    }

    function balances(address account) external view returns (Balances memory) {
        Credit memory credit = earned[account].unpackAt(_epoch());
        Withdrawal memory asked = withdrawals[account];
        return Balances({
            deposit: payers[account].unpack().deposit,
            pending: uint128(credit.current) + credit.previous,
            claimable: credit.claimable,
            claimed: uint128(claimed[account]),
            withdrawRequested: asked.amount,
            withdrawableAt: asked.withdrawableAt
        });
    }

    function orderKey(address payer) external view returns (OrderKey memory) {
        Payer memory stored = payers[payer].unpack();
        bool spentIsToday = stored.spentDay == block.timestamp / 1 days;
        return OrderKey({
            key: keys[payer],
            capPerDay: stored.capPerDay,
            spentToday: spentIsToday ? stored.spentToday : 0,
            expiry: stored.expiry
        });
    }

    /// Whether this very header was posted; false too when the ring has overwritten it (then ask the events).
    function isPosted(Header calldata header) external view returns (bool) {
        return headerHashAt(header.sequence) == header.hash(address(this));
    }

    /// Whether `leaf` was paid in the batch with this `jobsRoot`.
    function verify(bytes32 jobsRoot, Leaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return MerkleProof.verifyCalldata(proof, jobsRoot, leaf.hash());
    }

    function headerHash(Header calldata header) external view returns (bytes32) {
        return header.hash(address(this));
    }

    function ledgerHash(bytes32[] calldata debits, bytes32[] calldata credits)
        external
        pure
        returns (bytes32)
    {
        return Formats.ledgerHash(debits, credits);
    }

    function leafHash(Leaf calldata leaf) external pure returns (bytes32) {
        return leaf.hash();
    }

    function orderHash(Order calldata order) external pure returns (bytes32) {
        return order.hash();
    }

    /// What the payer's order key signs.
    function orderDigest(Order calldata order) external view returns (bytes32) {
        return _hashTypedDataV4(order.hash());
    }

    function receiptHash(Receipt calldata receipt) external pure returns (bytes32) {
        return receipt.hash();
    }

    /// What the provider's receipt key signs.
    function receiptDigest(Receipt calldata receipt) external view returns (bytes32) {
        return _hashTypedDataV4(receipt.hash());
    }

    function _oldest(uint64 next) private pure returns (uint64) {
        return next > RING ? next - RING : 1;
    }

    function _epoch() private view returns (uint64) {
        return uint64(block.timestamp) / window;
    }
}
