// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IFeeDiscount} from "../settlement/ISpillwaySettlement.sol";

/// What providers, and the guarantor of the hub, have at stake in the settlement token. Only the disputes contract can
/// take any of it; nobody can keep the rest from leaving after the delay, in which it can still be taken.
contract SpillwayStake is IFeeDiscount, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// `unbonding` leaves from `availableAt` on (Unix seconds); it counts for no tier and no headroom.
    struct Stake {
        uint96 bonded;
        uint96 unbonding;
        uint64 availableAt;
    }

    /// From `minimum` bonded on, the fee is `discountBps` hundredths of a per cent lower.
    struct Tier {
        uint96 minimum;
        uint16 discountBps;
    }

    event Bonded(address indexed account, address indexed from, uint256 amount, uint256 bonded);
    event UnbondRequested(address indexed account, uint256 unbonding, uint64 availableAt);
    event Unbonded(address indexed account, uint256 amount);
    event Slashed(address indexed account, uint256 amount);

    error InvalidParameter(string field);
    error NotDisputes(address caller);
    error AccountMissing();
    error TokenAmountMismatch(uint256 asked, uint256 moved);
    error BondTooSmall(uint256 bonded, uint256 asked);
    error UnbondTooEarly(uint64 availableAt);

    uint64 public constant LONGEST_DELAY = 90 days;
    uint256 public constant TIERS_MAX = 8;
    uint256 private constant BPS = 10_000;

    IERC20 public immutable token;
    address public immutable disputes;
    /// Seconds between asking for a stake back and getting it.
    uint64 public immutable unbondDelay;

    mapping(address account => Stake) private stakes;
    Tier[] private tiers;

    /// `tiers_` ascend by minimum and by discount.
    constructor(IERC20 token_, address disputes_, uint64 unbondDelay_, Tier[] memory tiers_) {
        if (address(token_).code.length == 0) revert InvalidParameter("token");
        if (disputes_ == address(0)) revert InvalidParameter("disputes");
        if (unbondDelay_ > LONGEST_DELAY) revert InvalidParameter("unbondDelay");
        if (tiers_.length > TIERS_MAX) revert InvalidParameter("tiers");
        token = token_;
        disputes = disputes_;
        unbondDelay = unbondDelay_;
        for (uint256 i = 0; i < tiers_.length; ++i) {
            Tier memory tier = tiers_[i];
            bool ascends = i == 0
                || (tier.minimum > tiers_[i - 1].minimum && tier.discountBps > tiers_[i - 1].discountBps);
            if (!ascends || tier.discountBps > BPS) revert InvalidParameter("tiers");
            tiers.push(tier);
        }
    }

    /// The caller pays; `account` may ask for it back and may lose it.
    function bond(address account, uint256 amount) external nonReentrant {
        if (account == address(0)) revert AccountMissing();
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 moved = token.balanceOf(address(this)) - before;
        if (moved != amount) revert TokenAmountMismatch(amount, moved);
        uint256 bonded = stakes[account].bonded + amount;
        stakes[account].bonded = bonded.toUint96();
        emit Bonded(account, msg.sender, amount, bonded);
    }

    /// Takes `amount` of the caller's stake out of tier and headroom now, to be paid after the delay. Another request adds
    /// to it and starts the delay anew.
    function requestUnbond(uint256 amount) external {
        Stake memory stake = stakes[msg.sender];
        if (amount > stake.bonded) revert BondTooSmall(stake.bonded, amount);
        stake.bonded -= uint96(amount);
        stake.unbonding += uint96(amount);
        stake.availableAt = uint64(block.timestamp) + unbondDelay;
        stakes[msg.sender] = stake;
        emit UnbondRequested(msg.sender, stake.unbonding, stake.availableAt);
    }

    /// Pays what the caller asked for; nothing when nothing was asked.
    function unbond() external nonReentrant returns (uint256 amount) {
        Stake memory stake = stakes[msg.sender];
        amount = stake.unbonding;
        if (amount == 0) return 0;
        if (block.timestamp < stake.availableAt) revert UnbondTooEarly(stake.availableAt);
        stakes[msg.sender].unbonding = 0;
        emit Unbonded(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// Takes up to `amount` to the disputes contract, what is leaving first.
    function slash(address account, uint256 amount) external nonReentrant returns (uint256 taken) {
        if (msg.sender != disputes) revert NotDisputes(msg.sender);
        Stake memory stake = stakes[account];
        uint256 leaving = Math.min(amount, stake.unbonding);
        uint256 staying = Math.min(amount - leaving, stake.bonded);
        taken = leaving + staying;
        stakes[account].unbonding = stake.unbonding - uint96(leaving);
        stakes[account].bonded = stake.bonded - uint96(staying);
        emit Slashed(account, taken);
        token.safeTransfer(disputes, taken);
    }

    function stakeOf(address account) external view returns (Stake memory) {
        return stakes[account];
    }

    /// All that a proven offence could still take.
    function slashable(address account) external view returns (uint256) {
        return uint256(stakes[account].bonded) + stakes[account].unbonding;
    }

    /// How much more unsettled value `account` may carry when each unit of it must be covered `coverBps` hundredths of a
    /// per cent by its bonded stake, and `unsettled` is open already. For the scheduler: 10,000 is one for one.
    function headroom(address account, uint256 unsettled, uint256 coverBps) external view returns (uint256) {
        if (coverBps == 0) return type(uint256).max;
        uint256 most = stakes[account].bonded * BPS / coverBps;
        return most > unsettled ? most - unsettled : 0;
    }

    function feeDiscountBps(address account) external view returns (uint256 discount) {
        uint256 bonded = stakes[account].bonded;
        uint256 count = tiers.length;
        for (uint256 i = 0; i < count; ++i) {
            if (bonded < tiers[i].minimum) break;
            discount = tiers[i].discountBps;
        }
    }

    function allTiers() external view returns (Tier[] memory) {
        return tiers;
    }
}
