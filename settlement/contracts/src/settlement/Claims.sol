// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Batches} from "./Batches.sol";
import {Credit, Credits, PackedCredit} from "./Credits.sol";
import {Formats, Header} from "../formats/Formats.sol";
import {Head} from "./Heads.sol";
import {IFeeDiscount} from "./ISpillwaySettlement.sol";
import {OrderKeys} from "./OrderKeys.sol";
import {PackedPayer, Payer, Payers} from "./Payers.sol";
import {SumTree} from "../formats/SumTree.sol";

/// What providers get, and what the disputes contract may do with what they have not got yet.
abstract contract Claims is Batches, OrderKeys {
    using SafeERC20 for IERC20;
    using Credits for Credit;
    using Credits for PackedCredit;
    using Formats for Header;
    using Payers for Payer;
    using Payers for PackedPayer;

    function claim(address provider) external nonReentrant onlyIn(Mode.Ledger) returns (uint256 paid) {
        _requireClaiming(provider);
        Credit memory credit = earned[provider].unpackAt(_epoch());
        uint256 amount = credit.claimable;
        if (amount == 0) return 0;
        credit.claimable = 0;
        earned[provider] = credit.pack();
        return _pay(provider, amount);
    }

    function claimWithProof(
        Header calldata header,
        address provider,
        uint128 cumulative,
        bytes32[] calldata proof
    ) external nonReentrant onlyIn(Mode.Root) returns (uint256 paid) {
        _requireClaiming(provider);
        uint256 amount = _take(header, provider, cumulative, proof, type(uint256).max);
        return amount == 0 ? 0 : _pay(provider, amount);
    }

    /// Pays out the fees kept so far; anyone may call it.
    function payFees() external nonReentrant returns (uint256 amount) {
        amount = pot.fees;
        if (amount == 0) return 0;
        pot.fees = 0;
        emit FeesPaid(feeRecipient, amount);
        token.safeTransfer(feeRecipient, amount);
    }

    function _requireClaiming(address provider) private view {
        if (block.timestamp < gate.pausedUntil) revert IsPaused(gate.pausedUntil);
        Payout memory payout = payouts[provider];
        if (payout.disputes != 0 && block.timestamp < payout.frozenUntil) {
            revert IsFrozen(provider, payout.frozenUntil);
        }
    }

    /// Books `amount` as claimed and sends it, less the fee, which is rounded down.
    function _pay(address provider, uint256 amount) private returns (uint256 paid) {
        uint256 fee = _fee(provider, amount);
        paid = amount - fee;
        uint128 claimed = payouts[provider].claimed + uint128(amount);
        payouts[provider].claimed = claimed;
        if (fee != 0) pot.fees += uint64(fee);
        emit Claimed(provider, paid, fee, claimed);
        token.safeTransfer(provider, paid);
    }

    function _fee(address provider, uint256 amount) private view returns (uint256) {
        if (feeBps == 0) return 0;
        uint256 discount = disputes == address(0) ? 0 : IFeeDiscount(disputes).feeDiscountBps(provider);
        return amount * feeBps * (BPS - Math.min(discount, BPS)) / (BPS * BPS);
    }

    /// Root mode: takes from the pot up to `most` of what the proof shows and nobody took yet; the caller books it.
    function _take(
        Header calldata header,
        address provider,
        uint128 cumulative,
        bytes32[] calldata proof,
        uint256 most
    ) private returns (uint256 amount) {
        _requireFinal(header);
        if (!SumTree.verify(
                header.payRoot,
                header.cumulative,
                Formats.accountHash(provider, cumulative),
                cumulative,
                proof
            )) {
            revert ProofMismatch(provider);
        }
        uint256 claimed = payouts[provider].claimed;
        if (cumulative <= claimed) return 0;
        // Vouchers bring no more than was posted, and what is paid by a header is within that header's own total.
        uint256 funds = Math.min(pot.collected, header.cumulative);
        if (funds <= pot.paid) return 0;
        amount = Math.min(Math.min(cumulative - claimed, funds - pot.paid), most);
        pot.paid += uint64(amount);
    }

    function _requireFinal(Header calldata header) private view {
        Head memory head = _head();
        bool posted = _headerHashAt(header.sequence, head.nextSequence) == header.hash(address(this));
        if (!posted || header.sequence >= head.finalEnd) revert HeaderNotFinal(header.sequence);
        uint64 broken = gate.brokenFrom;
        if (broken != 0 && header.sequence >= broken) revert IsBroken(broken);
    }

    // For the disputes contract

    /// Nothing unpaid is paid to `provider` before `until`, or before `unfreeze` was called for each freeze that still holds.
    function freeze(address provider, uint64 until) external onlyDisputes {
        Payout storage payout = payouts[provider];
        if (until > block.timestamp + LONGEST_WAIT) revert InvalidParameter("until");
        if (block.timestamp >= payout.frozenUntil) payout.disputes = 0; // What lapsed needs no `unfreeze`.
        ++payout.disputes;
        if (until > payout.frozenUntil) payout.frozenUntil = until;
        emit Frozen(provider, payout.frozenUntil);
    }

    /// Only before the `until` of the freeze that it takes back.
    function unfreeze(address provider) external onlyDisputes {
        if (--payouts[provider].disputes == 0) payouts[provider].frozenUntil = 0;
        emit Unfrozen(provider);
    }

    /// Ledger mode: moves up to `amount` of what `provider` has not taken yet, the latest first, to the deposit of
    /// `payer`.
    function seize(address provider, address payer, uint256 amount)
        external
        onlyDisputes
        nonReentrant
        onlyIn(Mode.Ledger)
        returns (uint256 seized)
    {
        Credit memory credit = earned[provider].unpackAt(_epoch());
        seized = credit.seize(amount);
        earned[provider] = credit.pack();
        _giveSeized(provider, payer, seized);
    }

    /// Root mode: the same, out of what the proof shows. It counts as claimed.
    function seizeWithProof(
        Header calldata header,
        address provider,
        uint128 cumulative,
        bytes32[] calldata proof,
        address payer,
        uint256 amount
    ) external onlyDisputes nonReentrant onlyIn(Mode.Root) returns (uint256 seized) {
        seized = _take(header, provider, cumulative, proof, amount);
        payouts[provider].claimed += uint128(seized);
        _giveSeized(provider, payer, seized);
    }

    /// A line may name no payer at all: then the disputes contract keeps it.
    function _giveSeized(address provider, address payer, uint256 amount) private {
        emit Seized(provider, payer, amount);
        if (payer == address(0)) {
            token.safeTransfer(disputes, amount);
            return;
        }
        Payer memory stored = payers[payer].unpack();
        stored.deposit += uint64(amount);
        payers[payer] = stored.pack();
        if (mode == Mode.Root) _addEscrow(amount); // It may be spent anew.
    }
}
