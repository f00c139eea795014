// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Head, Heads} from "./Heads.sol";
import {Holds} from "./Holds.sol";
import {PackedPayer, Payer, Payers} from "./Payers.sol";

/// Payers' money in and out. Nothing here asks whether anything is paused, who the owner is, or what was posted.
abstract contract Escrow is Holds {
    using SafeERC20 for IERC20;
    using Heads for Head;
    using Payers for Payer;
    using Payers for PackedPayer;

    function deposit(uint256 amount) external {
        depositFor(msg.sender, amount);
    }

    /// Approves by ERC-2612 and deposits in one transaction. A permit that somebody else has sent already is no failure:
    /// the approval that it gave is what counts.
    // slither-disable-next-line reentrancy-benign,reentrancy-events (a token that calls back finds `depositFor` guarded)
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {}
            catch {}
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
        if (mode == Mode.Root) _addEscrow(amount);
        emit Deposited(payer, msg.sender, amount);
    }

    /// Asks for up to `amount` of the caller's deposit; replaces an earlier request and starts the delay anew.
    /// Zero takes the request back. Until it is paid, posts may still spend the deposit.
    function requestWithdraw(uint256 amount) external {
        uint64 asked = uint64(Math.min(amount, type(uint64).max));
        uint64 payableAt = asked == 0 ? 0 : uint64(block.timestamp) + withdrawDelay;
        withdrawals[msg.sender] = Withdrawal({amount: asked, withdrawableAt: payableAt});
        emit WithdrawRequested(msg.sender, asked, payableAt);
    }

    /// Pays what the caller asked for, or what is left of the deposit; nothing when nothing was asked. What shown orders
    /// hold back stays asked for. A request lapses when it is not used for twice as long as it had to wait: a
    /// standing one would let a payer leave without notice.
    function withdraw() external nonReentrant returns (uint256 amount) {
        Withdrawal memory asked = withdrawals[msg.sender];
        if (asked.amount == 0) return 0;
        if (block.timestamp < asked.withdrawableAt) revert WithdrawTooEarly(asked.withdrawableAt);
        if (_hasLapsed(asked)) {
            delete withdrawals[msg.sender];
            emit WithdrawRequested(msg.sender, 0, 0);
            return 0;
        }
        Payer memory payer = payers[msg.sender].unpack();
        uint256 held = Math.min(_held(msg.sender), payer.deposit);
        amount = Math.min(asked.amount, payer.deposit - held);
        if (held == 0) delete withdrawals[msg.sender];
        else withdrawals[msg.sender].amount = asked.amount - uint64(amount);
        payer.deposit -= uint64(amount);
        payers[msg.sender] = payer.pack();
        if (mode == Mode.Root) _takeEscrow(amount);
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    function _takeEscrow(uint256 amount) private {
        Head memory head = _head();
        head.escrow -= uint64(amount); // Deposits are part of it.
        packedHead = head.pack();
    }
}
