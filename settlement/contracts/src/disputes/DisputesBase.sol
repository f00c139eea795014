// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Formats, Header, Leaf} from "../formats/Formats.sol";
import {ISpillwaySettlement} from "../settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../settlement/SpillwaySettlement.sol";
import {SpillwayStake} from "../stake/SpillwayStake.sol";
import {ISpillwayDisputes} from "./ISpillwayDisputes.sol";

/// What every kind of dispute shares: proof that a line was paid in a batch that is not final, and who pays whom once a
/// fault is proven.
abstract contract DisputesBase is ISpillwayDisputes, AccessManaged, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Formats for Leaf;

    /// Where a leaf stands in its batch, and the sums up to it and with it.
    struct Place {
        uint256 index;
        uint256 sum;
        uint256 running;
    }

    /// Who gains or loses by a line.
    struct Claimant {
        address payer;
        address provider;
        address challenger;
        uint256 amount;
    }

    uint256 internal constant BPS = 10_000;
    uint64 internal constant LONGEST_TIME = 30 days;

    SpillwaySettlement public immutable settlement;
    SpillwayStake public immutable stake;
    IERC20 public immutable token;
    address public immutable guarantor;
    uint64 public immutable answerTime;
    uint64 public immutable appealTime;
    uint256 public immutable bond;
    uint256 public immutable penalty;
    uint256 public immutable challengerBps;
    uint256 public immutable verdictCapBps;
    uint256 public immutable threshold;
    bool internal immutable isRoot;

    Dispute[] internal disputes;
    /// Faults that are proven or open, by what they are about.
    mapping(bytes32 what => bool) internal raised;
    /// What payers got back of a line so far: never more than it cost, whatever is proven about it.
    mapping(uint256 rank => uint256) internal refundedOf;
    /// What a provider's unpaid value still owes to a payer.
    mapping(address provider => mapping(address payer => uint256)) internal debts;
    /// Slashed, and kept for payers who were harmed too.
    uint256 public reserve;

    constructor(Terms memory its) AccessManaged(its.authority) EIP712("SpillwayDisputes", "1") {
        settlement = SpillwaySettlement(its.settlement);
        stake = SpillwayStake(its.stake);
        token = settlement.token();
        if (settlement.disputes() != address(this)) revert InvalidParameter("settlement");
        if (stake.disputes() != address(this) || address(stake.token()) != address(token)) {
            revert InvalidParameter("stake");
        }
        if (its.authority.code.length == 0) revert InvalidParameter("authority");
        if (its.guarantor == address(0)) revert InvalidParameter("guarantor");
        if (its.answerTime == 0 || its.answerTime > LONGEST_TIME) revert InvalidParameter("answerTime");
        if (its.appealTime == 0 || its.appealTime > LONGEST_TIME) revert InvalidParameter("appealTime");
        if (its.challengerBps > BPS / 2) revert InvalidParameter("challengerBps");
        if (its.verdictCapBps > BPS) revert InvalidParameter("verdictCapBps");
        if (its.threshold == 0) revert InvalidParameter("threshold");
        // A stake must not leave before the last dispute about the last batch it covers has ended.
        uint256 longest = 2 * settlement.window() + Math.max(its.answerTime, its.appealTime);
        if (stake.unbondDelay() < longest) revert InvalidParameter("unbondDelay");
        guarantor = its.guarantor;
        answerTime = its.answerTime;
        appealTime = its.appealTime;
        bond = its.bond;
        penalty = its.penalty;
        challengerBps = its.challengerBps;
        verdictCapBps = its.verdictCapBps;
        threshold = its.threshold;
        isRoot = settlement.mode() == ISpillwaySettlement.Mode.Root;
        token.forceApprove(its.settlement, type(uint256).max);
    }

    // Evidence

    /// The header must be the one posted at its sequence, and not final yet.
    function _requireDisputable(Header calldata header) internal view {
        _requirePosted(header);
        if (header.sequence < settlement.finalEnd()) revert HeaderFinal(header.sequence);
    }

    function _requirePosted(Header calldata header) internal view {
        if (!settlement.isPosted(header)) revert HeaderNotPosted(header.sequence);
    }

    function _place(Line calldata line) internal pure returns (Place memory) {
        return _place(line.header, line.leaf, line.proof);
    }

    /// A position has nothing in its high 96 bits: no hash of a leaf can pass for one.
    function _place(Header calldata header, Leaf calldata leaf, bytes32[] calldata proof)
        internal
        pure
        returns (Place memory)
    {
        bytes32 leafHash = leaf.hash();
        uint256 position = proof.length == 0 ? type(uint256).max : uint256(proof[0]);
        if (position >> 160 != 0 || !MerkleProof.verifyCalldata(proof, header.jobsRoot, leafHash)) {
            revert LineNotInBatch(leafHash);
        }
        return Place({index: position >> 128, sum: uint64(position >> 64), running: uint64(position)});
    }

    /// Sequence and index of a line: no two have the same.
    function _rank(Line calldata line) internal pure returns (uint256) {
        return uint256(line.header.sequence) << 32 | _place(line).index;
    }

    function _raise(Fault fault, uint256 rank) internal {
        _raise(keccak256(abi.encode(fault, rank)));
    }

    function _isRaised(Fault fault, uint256 rank) internal view returns (bool) {
        return raised[keccak256(abi.encode(fault, rank))];
    }

    function _raise(bytes32 what) internal {
        if (raised[what]) revert AlreadyRaised(what);
        raised[what] = true;
    }

    // Money

    /// A new dispute about a line, with the caller's bond.
    function _openDispute(
        Fault fault,
        uint256 rank,
        Leaf calldata leaf,
        uint128 refund,
        uint128 slash,
        uint64 time
    ) internal returns (uint256 id) {
        _raise(fault, rank);
        uint64 deadline = uint64(block.timestamp) + time;
        id = disputes.length;
        disputes.push(
            Dispute({
                challenger: msg.sender,
                state: State.Open,
                fault: fault,
                deadline: deadline,
                payer: leaf.payer,
                provider: leaf.provider,
                amount: leaf.amount,
                refund: refund,
                slash: slash,
                rank: rank,
                leafHash: leaf.hash()
            })
        );
        emit DisputeOpened(id, fault, leaf.provider, msg.sender, rank, deadline);
        token.safeTransferFrom(msg.sender, address(this), bond);
    }

    /// The challenger lost: its bond is a deposit of the provider, which no token can refuse.
    function _refute(uint256 id, Dispute storage found) internal {
        if (block.timestamp > found.deadline) revert TooLate(found.deadline);
        found.state = State.Refuted;
        emit DisputeRefuted(id);
        if (bond != 0) settlement.depositFor(found.provider, bond);
    }

    /// The deadline passed: the challenger was right, its bond returns.
    function _prove(Dispute storage found, address accused) internal {
        if (block.timestamp <= found.deadline) revert TooEarly(found.deadline + 1);
        found.state = State.Proven;
        emit FaultProven(found.fault, accused, bytes32(found.rank), found.challenger);
        token.safeTransfer(found.challenger, bond);
    }

    /// A line is void, as far as it was not refunded before. The payer first: from the provider's unpaid value, then from
    /// the stake of the accused. What it still lacks stays owed by the provider's unpaid value, frozen meanwhile.
    function _void(
        uint256 rank,
        Claimant memory its,
        address accused,
        uint256 refund,
        uint256 slash,
        Unpaid calldata unpaid
    ) internal {
        refund = Math.min(refund, its.amount - refundedOf[rank]);
        refundedOf[rank] += refund;
        uint256 lacking = refund == 0 ? 0 : refund - _seize(its.provider, its.payer, refund, unpaid);
        uint256 refunded = _slash(accused, its.payer, its.challenger, lacking, slash);
        if (refunded == lacking || its.payer == address(0)) return;
        _setDebt(its.provider, its.payer, debts[its.provider][its.payer] + lacking - refunded);
        settlement.freeze(its.provider, uint64(block.timestamp) + appealTime);
    }

    /// Takes `lacking` and `slash` of the stake of the accused. The payer gets what it lacks; the challenger its share of
    /// the whole at most, of what is left, and nothing when it is the payer itself; the rest is kept for other payers.
    function _slash(address accused, address payer, address challenger, uint256 lacking, uint256 slash)
        internal
        returns (uint256 refunded)
    {
        uint256 taken = stake.slash(accused, lacking + slash);
        refunded = Math.min(taken, lacking);
        if (payer == address(0)) refunded = 0; // A line may name nobody: the reserve takes it.
        uint256 most = challenger == payer ? 0 : taken * challengerBps / BPS;
        uint256 rewarded = Math.min(taken - refunded, most);
        reserve += taken - refunded - rewarded;
        emit Slashed(accused, payer, challenger, taken, refunded, rewarded);
        if (refunded != 0) settlement.depositFor(payer, refunded);
        if (rewarded != 0) token.safeTransfer(challenger, rewarded);
    }

    function _setDebt(address provider, address payer, uint256 owed) private {
        debts[provider][payer] = owed;
        emit DebtChanged(provider, payer, owed);
    }

    function _claimant(Leaf calldata leaf) internal view returns (Claimant memory) {
        return
            Claimant({
                payer: leaf.payer, provider: leaf.provider, challenger: msg.sender, amount: leaf.amount
            });
    }

    function _claimant(Dispute memory its) internal pure returns (Claimant memory) {
        return
            Claimant({
                payer: its.payer, provider: its.provider, challenger: its.challenger, amount: its.amount
            });
    }

    function _seize(address provider, address payer, uint256 amount, Unpaid calldata unpaid)
        private
        returns (uint256 seized)
    {
        if (isRoot && unpaid.header.sequence == 0) return 0;
        seized = isRoot
            ? settlement.seizeWithProof(
                unpaid.header, provider, unpaid.cumulative, unpaid.proof, payer, amount
            )
            : settlement.seize(provider, payer, amount);
        if (payer == address(0)) reserve += seized;
    }

    /// Moves what the provider's unpaid value owes to the payer, as far as it reaches by now. Anyone may call it.
    function collectDebt(address provider, address payer, Unpaid calldata unpaid)
        external
        nonReentrant
        returns (uint256 seized)
    {
        uint256 owed = debts[provider][payer];
        if (owed == 0) return 0;
        seized = _seize(provider, payer, owed, unpaid);
        _setDebt(provider, payer, owed - seized);
    }

    /// Gives of the reserve to a payer who was harmed and whom no proof named. The authority's delay is the time to object.
    function compensate(address payer, uint256 amount) external restricted nonReentrant {
        reserve -= amount;
        emit Compensated(payer, amount);
        settlement.depositFor(payer, amount);
    }

    function debtOf(address provider, address payer) external view returns (uint256) {
        return debts[provider][payer];
    }

    function dispute(uint256 id) external view returns (Dispute memory) {
        return disputes[id];
    }

    /// Asked by the settlement contract at each claim.
    function feeDiscountBps(address provider) external view returns (uint256) {
        return stake.feeDiscountBps(provider);
    }

    function _open(uint256 id, Fault fault) internal view returns (Dispute storage found) {
        if (id >= disputes.length) revert DisputeNotOpen(id);
        found = disputes[id];
        if (found.state != State.Open || found.fault != fault) revert DisputeNotOpen(id);
    }

    /// The poster is stopped and the guarantor punished; no payer can be named.
    function _break(uint64 sequence, address challenger) internal {
        _raise(Fault.BrokenSum, sequence);
        emit FaultProven(Fault.BrokenSum, guarantor, bytes32(uint256(sequence) << 32), challenger);
        settlement.markBroken(sequence);
        _slash(guarantor, address(0), challenger, 0, penalty);
    }
}
