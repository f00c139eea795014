// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Credits, PackedCredit} from "./Credits.sol";
import {Formats, Header} from "../formats/Formats.sol";
import {Head, Heads} from "./Heads.sol";
import {Holds} from "./Holds.sol";
import {PackedPayer, Payers} from "./Payers.sol";

/// Posting: exactly once per (chain, contract, sequence, header hash), in both modes; and who may do it.
abstract contract Batches is Holds {
    using Formats for Header;
    using Heads for Head;
    using Credits for PackedCredit;
    using Payers for PackedPayer;

    mapping(address provider => PackedCredit) internal earned;

    // Who may post: an AccessManager decides, with its delays. Posting itself never asks it.

    function setPoster(address poster_) external restricted {
        emit PosterChanged(gate.poster, poster_);
        gate.poster = poster_;
        gate.posterFrom = _head().nextSequence;
        // In ledger mode a new poster goes on; roots that count all before them cannot.
        if (mode == Mode.Ledger) gate.brokenFrom = 0;
    }

    /// Stops posting and claiming for `duration` seconds. It ends by itself, and as long as the longest pause must pass
    /// before the next one.
    function pause(uint64 duration) external restricted {
        if (duration == 0 || duration > longestPause) revert InvalidParameter("duration");
        uint64 from = gate.pausedUntil == 0 ? 0 : uint64(gate.pausedUntil) + longestPause;
        if (block.timestamp < from) revert PauseTooSoon(from);
        gate.pausedUntil = uint32(block.timestamp + duration);
        emit Paused(gate.pausedUntil);
    }

    function unpause() external restricted {
        if (block.timestamp >= gate.pausedUntil) return;
        gate.pausedUntil = uint32(block.timestamp);
        emit Paused(gate.pausedUntil);
    }

    /// The disputes contract proved that the batch at `sequence` is wrong. The earliest such sequence counts. In ledger
    /// mode a poster does not answer for the one before it.
    function markBroken(uint64 sequence) external onlyDisputes {
        if (gate.brokenFrom != 0 && gate.brokenFrom <= sequence) return;
        if (mode == Mode.Ledger && sequence < gate.posterFrom) return;
        gate.brokenFrom = uint32(sequence);
        emit Broken(sequence, gate.poster);
    }

    // Posting

    /// @dev The repeat is recognised before the caller is checked, so a late copy from a replaced poster is as harmless
    /// as any other.
    function post(Header calldata header, bytes32[] calldata debits, bytes32[] calldata credits)
        external
        onlyIn(Mode.Ledger)
    {
        Head memory head = _head();
        bytes32 hash = header.hash(address(this));
        if (_isRepeat(header.sequence, hash, head.nextSequence)) return;
        _requirePosting();
        _requireNext(header, head);
        if ((header.cumulative | uint256(header.payRoot) | uint256(header.spendRoot)) != 0) {
            revert FieldsOfOtherMode();
        }
        bytes32 ledger = Formats.ledgerHash(debits, credits);
        if (ledger != header.ledgerHash) revert LedgerHashMismatch(ledger, header.ledgerHash);
        uint256 debited = _debit(debits);
        uint256 credited = _credit(credits);
        if (debited != header.total || credited != header.total) {
            revert TotalMismatch(header.total, debited, credited);
        }
        _keep(header, hash, head);
    }

    function postRoot(Header calldata header) external onlyIn(Mode.Root) {
        Head memory head = _head();
        bytes32 hash = header.hash(address(this));
        if (_isRepeat(header.sequence, hash, head.nextSequence)) return;
        _requirePosting();
        _requireNext(header, head);
        if (header.ledgerHash != 0 || header.payRoot == 0 || header.spendRoot == 0) {
            revert FieldsOfOtherMode();
        }
        uint256 cumulative = uint256(head.cumulative) + header.total;
        if (cumulative != header.cumulative) revert CumulativeMismatch(cumulative, header.cumulative);
        if (cumulative > head.escrow) revert EscrowTooSmall(head.escrow, header.cumulative);
        head.cumulative = uint64(cumulative); // At most the escrow, which has 64 bits.
        _keep(header, hash, head);
    }

    function _isRepeat(uint64 sequence, bytes32 hash, uint64 next) private view returns (bool) {
        if (sequence >= next) return false;
        uint64 oldest = _oldest(next);
        if (sequence < oldest) revert SequenceForgotten(sequence, oldest);
        bytes32 posted = headers[sequence % ring];
        if (posted != hash) revert SequenceUsed(sequence, posted, hash);
        return true;
    }

    function _requirePosting() private view {
        Gate memory current = gate;
        if (msg.sender != current.poster) revert NotPoster(msg.sender);
        if (block.timestamp < current.pausedUntil) revert IsPaused(current.pausedUntil);
        if (current.brokenFrom != 0) revert IsBroken(current.brokenFrom);
    }

    function _requireNext(Header calldata header, Head memory head) private view {
        uint64 next = head.nextSequence;
        if (header.sequence != next) revert SequenceGap(next, header.sequence);
        bytes32 previous = headers[(next - 1) % ring];
        if (header.previous != previous) revert PreviousMismatch(previous, header.previous);
        if (next > ring && next - ring >= head.finalEnd) revert RingFull(next - ring);
    }

    function _debit(bytes32[] calldata debits) private returns (uint256 sum) {
        uint256 today = block.timestamp / 1 days;
        address last;
        for (uint256 i = 0; i < debits.length; ++i) {
            (address account, uint256 amount) = Formats.entry(debits[i]);
            if (account <= last) revert EntryNotAscending(account);
            last = account;
            sum += amount;
            PackedPayer payer = payers[account];
            payers[account] = payer.covers(amount, block.timestamp, today)
                ? payer.debited(amount, today)
                : _debitedWithHold(
                    payer, account, amount, Math.min(amount, payer.capLeft(block.timestamp, today)), today
                );
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

    function _keep(Header calldata header, bytes32 hash, Head memory head) private {
        headers[header.sequence % ring] = hash;
        ++head.nextSequence;
        packedHead = head.pack();
        emit Posted(header.sequence, hash, header);
    }
}
