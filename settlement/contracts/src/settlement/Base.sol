// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Head, Heads, PackedHead} from "./Heads.sol";
import {ISpillwaySettlement} from "./ISpillwaySettlement.sol";
import {PackedPayer} from "./Payers.sol";

/// What never changes, and the slots that more than one part reads.
abstract contract Base is ISpillwaySettlement, AccessManaged, EIP712, ReentrancyGuardTransient {
    using Heads for Head;
    using Heads for PackedHead;

    /// Who may post and whether: all that posting checks, in one slot. `brokenFrom` is the sequence at which the poster was
    /// proven to lie, zero for never; `posterFrom` the first sequence that this poster could post.
    struct Gate {
        address poster;
        uint32 pausedUntil;
        uint32 brokenFrom;
        uint32 posterFrom;
    }

    /// `claimed` includes fees and what was seized. Frozen while `disputes` > 0 and before `frozenUntil`.
    struct Payout {
        uint128 claimed;
        uint64 frozenUntil;
        uint64 disputes;
    }

    struct Withdrawal {
        uint64 amount;
        uint64 withdrawableAt;
    }

    /// Of a leaving payer's deposit, kept back before `until` for orders that were shown.
    struct Hold {
        uint64 amount;
        uint64 until;
    }

    /// Also the version of the EIP-712 domain.
    string public constant VERSION = "1";
    /// Neither maturity window nor withdraw delay may be longer, so that leaving stays real.
    uint64 public constant LONGEST_WAIT = 30 days;
    uint256 internal constant RING_MAX = 65536;
    uint256 internal constant BPS = 10_000;
    uint256 internal constant FEE_MAX_BPS = 1000;

    IERC20 public immutable token;
    address public immutable disputes;
    address public immutable feeRecipient;
    Mode public immutable mode;
    uint256 public immutable feeBps;
    /// Header hashes kept: slots are overwritten, never added.
    uint64 public immutable ring;
    /// Seconds of one maturity epoch: a credit waits between one and two of them.
    uint64 public immutable window;
    /// Seconds between asking for a deposit back and getting it.
    uint64 public immutable withdrawDelay;
    /// The longest that posting and claiming may be paused at a time; as long must pass between two pauses.
    uint64 public immutable longestPause;

    Gate internal gate;
    PackedHead internal packedHead;
    bytes32[RING_MAX] internal headers;
    mapping(address payer => PackedPayer) internal payers;
    mapping(address provider => Payout) internal payouts;
    mapping(address payer => Withdrawal) internal withdrawals;
    mapping(address payer => Hold) internal holds;

    constructor(Parameters memory its) AccessManaged(its.authority) EIP712("Spillway", VERSION) {
        if (its.token.code.length == 0) revert InvalidParameter("token");
        if (its.authority.code.length == 0) revert InvalidParameter("authority");
        if (its.ring < 16 || its.ring > RING_MAX) revert InvalidParameter("ring");
        if (its.window == 0 || its.window > LONGEST_WAIT) revert InvalidParameter("window");
        if (its.withdrawDelay > LONGEST_WAIT || its.withdrawDelay <= its.longestPause + 2 * its.window) {
            revert InvalidParameter("withdrawDelay");
        }
        if (its.feeBps > FEE_MAX_BPS) revert InvalidParameter("feeBps");
        if (its.feeBps != 0 && its.feeRecipient == address(0)) revert InvalidParameter("feeRecipient");
        token = IERC20(its.token);
        disputes = its.disputes;
        feeRecipient = its.feeRecipient;
        mode = its.mode;
        feeBps = its.feeBps;
        ring = its.ring;
        window = its.window;
        withdrawDelay = its.withdrawDelay;
        longestPause = its.longestPause;
        gate.poster = its.poster;
        Head memory first;
        first.nextSequence = 1;
        packedHead = Heads.pack(first);
        emit PosterChanged(address(0), its.poster);
    }

    // The checks are functions so that the code holds them once.

    modifier onlyIn(Mode wanted) {
        _requireMode(wanted);
        _;
    }

    modifier onlyDisputes() {
        _requireDisputes();
        _;
    }

    function _requireMode(Mode wanted) private view {
        if (mode != wanted) revert WrongMode(mode);
    }

    function _requireDisputes() private view {
        if (msg.sender != disputes) revert NotDisputes(msg.sender);
    }

    function _head() internal view returns (Head memory) {
        return packedHead.unpackAt(uint32(_epoch()));
    }

    /// Root mode: what comes in counts until it goes back to payers, collected or not.
    function _addEscrow(uint256 amount) internal {
        Head memory head = _head();
        uint256 escrow = head.escrow + amount;
        if (escrow > type(uint64).max) revert HoldingsTooLarge(escrow);
        head.escrow = uint64(escrow);
        packedHead = head.pack();
    }

    function _epoch() internal view returns (uint64) {
        return uint64(block.timestamp) / window;
    }

    function _oldest(uint64 next) internal view returns (uint64) {
        return next > ring ? next - ring : 1;
    }

    function _headerHashAt(uint64 sequence, uint64 next) internal view returns (bytes32) {
        if (sequence >= next || sequence < _oldest(next)) return bytes32(0);
        return headers[sequence % ring];
    }
}
