// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Base} from "./Base.sol";
import {Claims} from "./Claims.sol";
import {Credit, Credits, PackedCredit} from "./Credits.sol";
import {Escrow} from "./Escrow.sol";
import {Formats, Header} from "../formats/Formats.sol";
import {Head} from "./Heads.sol";
import {PackedPayer, Payer, Payers} from "./Payers.sol";

/// Holds payers' deposits and moves them to providers as batches are posted, in one of two modes that is fixed at
/// construction. The code cannot change. An AccessManager may replace the poster and pause posting and claiming for a
/// bounded time; the poster may only move money under a payer's own daily cap; nobody can keep anybody from leaving.
contract SpillwaySettlement is Claims, Escrow {
    using Credits for PackedCredit;
    using Formats for Header;
    using Payers for PackedPayer;

    constructor(Parameters memory its) Base(its) {}

    function nextSequence() external view returns (uint64) {
        return _head().nextSequence;
    }

    /// All sequences below it are final: nothing about them can be disputed any more.
    function finalEnd() external view returns (uint64) {
        return _head().finalEnd;
    }

    function poster() external view returns (address) {
        return gate.poster;
    }

    function pausedUntil() external view returns (uint64) {
        return gate.pausedUntil;
    }

    function brokenFrom() external view returns (uint64) {
        return gate.brokenFrom;
    }

    /// Zero when nothing was posted at `sequence` or the ring has overwritten it.
    function headerHashAt(uint64 sequence) public view returns (bytes32) {
        return _headerHashAt(sequence, _head().nextSequence);
    }

    function totals() external view returns (Totals memory) {
        Head memory head = _head();
        return Totals({
            cumulative: head.cumulative,
            escrow: head.escrow,
            collected: pot.collected,
            paid: pot.paid,
            fees: pot.fees
        });
    }

    function balances(address account) external view returns (Balances memory) {
        Credit memory credit = earned[account].unpackAt(_epoch());
        Withdrawal memory asked = withdrawals[account];
        if (_hasLapsed(asked)) delete asked;
        return Balances({
            deposit: payers[account].unpack().deposit,
            pending: uint128(credit.current) + credit.previous,
            claimable: credit.claimable,
            claimed: payouts[account].claimed,
            withdrawRequested: asked.amount,
            withdrawableAt: asked.withdrawableAt
        });
    }

    /// What vouchers of `payer` have moved to the pot in all.
    function collected(address payer) external view returns (uint256) {
        return collectedOf[payer];
    }

    /// What shown orders keep of the deposit of `payer` now.
    function held(address payer) external view returns (uint256) {
        return _held(payer);
    }

    /// Until when nothing is paid to `provider`; zero when it is not frozen.
    function frozenUntil(address provider) external view returns (uint64) {
        Payout memory payout = payouts[provider];
        return payout.disputes != 0 && block.timestamp < payout.frozenUntil ? payout.frozenUntil : 0;
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

    function headerHash(Header calldata header) external view returns (bytes32) {
        return header.hash(address(this));
    }
}
