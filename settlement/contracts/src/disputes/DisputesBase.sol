// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Formats, Leaf} from "../formats/Formats.sol";
import {IFeeDiscount, ISpillwaySettlement} from "../settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../settlement/SpillwaySettlement.sol";
import {SpillwayStake} from "../stake/SpillwayStake.sol";
import {Evidence, Unpaid} from "./Evidence.sol";
import {ISpillwayDisputes} from "./ISpillwayDisputes.sol";
import {SpillwaySigners} from "./SpillwaySigners.sol";
import {SpillwaySums} from "./SpillwaySums.sol";

/// What every kind of dispute shares: proof that a line was paid in a batch that is not final, and who pays whom once a
/// fault is proven.
abstract contract DisputesBase is
    ISpillwayDisputes,
    IFeeDiscount,
    Evidence,
    AccessManaged,
    ReentrancyGuardTransient
{
    using SafeERC20 for IERC20;
    using Formats for Leaf;

    /// Who gains or loses by a line.
    struct Claimant {
        address payer;
        address provider;
        address challenger;
        uint256 amount;
    }

    uint256 internal constant BPS = 10_000;
    uint64 internal constant LONGEST_TIME = 30 days;

    SpillwayStake public immutable stake;
    SpillwaySums public immutable sums;
    SpillwaySigners public immutable signers;
    IERC20 public immutable token;
    address public immutable guarantor;
    uint64 public immutable answerTime;
    uint64 public immutable appealTime;
    uint256 public immutable bond;
    uint256 public immutable penalty;
    uint256 public immutable challengerBps;
    uint256 public immutable verdictCapBps;
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

    constructor(Terms memory its) AccessManaged(its.authority) Evidence(SpillwaySettlement(its.settlement)) {
        stake = SpillwayStake(its.stake);
        sums = SpillwaySums(its.sums);
        signers = SpillwaySigners(its.signers);
        token = settlement.token();
        guarantor = its.guarantor;
        answerTime = its.answerTime;
        appealTime = its.appealTime;
        bond = its.bond;
        penalty = its.penalty;
        challengerBps = its.challengerBps;
        verdictCapBps = its.verdictCapBps;
        isRoot = settlement.mode() == ISpillwaySettlement.Mode.Root;
        _requireTerms(its);
        _requireParts(its);
        token.forceApprove(its.settlement, type(uint256).max);
    }

    function _requireParts(Terms memory its) private view {
        if (settlement.disputes() != address(this)) revert InvalidParameter("settlement");
        bool isOurs = stake.disputes() == address(this) && address(stake.token()) == address(token);
        if (!isOurs) revert InvalidParameter("stake");
        isOurs = sums.disputes() == address(this) && address(sums.settlement()) == its.settlement;
        if (!isOurs) revert InvalidParameter("sums");
        if (its.signers.code.length == 0) revert InvalidParameter("signers");
        if (its.authority.code.length == 0) revert InvalidParameter("authority");
        // A stake must not leave before the last dispute about the last batch it covers has ended.
        uint256 longest = 2 * settlement.window() + Math.max(its.answerTime, its.appealTime);
        if (stake.unbondDelay() < longest) revert InvalidParameter("unbondDelay");
    }

    function _requireTerms(Terms memory its) private pure {
        if (its.guarantor == address(0)) revert InvalidParameter("guarantor");
        if (its.answerTime == 0 || its.answerTime > LONGEST_TIME) revert InvalidParameter("answerTime");
        if (its.appealTime == 0 || its.appealTime > LONGEST_TIME) revert InvalidParameter("appealTime");
        if (its.challengerBps > BPS / 2) revert InvalidParameter("challengerBps");
        if (its.verdictCapBps > BPS) revert InvalidParameter("verdictCapBps");
    }

    modifier onlySums() {
        if (msg.sender != address(sums)) revert NotSums(msg.sender);
        _;
    }

    // Faults

    function _key(Fault fault, uint256 rank) internal pure returns (bytes32) {
        return keccak256(abi.encode(fault, rank));
    }

    function _isRaised(Fault fault, uint256 rank) internal view returns (bool) {
        return raised[_key(fault, rank)];
    }

    /// Raises a fault that its proof already shows.
    function _raiseProven(Fault fault, uint256 rank, address accused) internal {
        _raise(_key(fault, rank));
        emit FaultProven(fault, accused, bytes32(rank), msg.sender);
    }

    function _raise(bytes32 what) internal {
        if (raised[what]) revert AlreadyRaised(what);
        raised[what] = true;
    }

    // Money. Every function that changes state is guarded; what is called is the settlement and the stake contract, which call
    // nothing but the token.
    // slither-disable-start reentrancy-no-eth,reentrancy-benign,reentrancy-events (the transient guard is not analysed)

    /// A new dispute about a line, with the caller's bond.
    function _openDispute(
        Fault fault,
        uint256 rank,
        Leaf calldata leaf,
        uint128 refund,
        uint128 slash,
        uint64 time
    ) internal returns (uint256 id) {
        _raise(_key(fault, rank));
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
        if (block.timestamp >= found.deadline) revert TooLate(found.deadline);
        found.state = State.Refuted;
        emit DisputeRefuted(id);
        if (bond != 0) settlement.depositFor(found.provider, bond);
    }

    /// The deadline passed: the challenger was right, its bond returns.
    function _prove(Dispute storage found, address accused) internal {
        if (block.timestamp < found.deadline) revert TooEarly(found.deadline);
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

    // slither-disable-end reentrancy-no-eth,reentrancy-benign,reentrancy-events

    function debtOf(address provider, address payer) external view returns (uint256) {
        return debts[provider][payer];
    }

    /// Ids go from zero up to it.
    function disputeCount() external view returns (uint256) {
        return disputes.length;
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

    // Reports of the sums contract. Each also stops the poster and takes the penalty, once a batch.

    function reportBroken(uint64 sequence, address challenger) external onlySums nonReentrant {
        _break(sequence, challenger);
    }

    // slither-disable-start reentrancy-no-eth (the transient guard is not analysed)

    /// `payer` was debited `excess` too much: the guarantor gives it back.
    function reportDebit(uint64 sequence, address challenger, address payer, uint256 excess)
        external
        onlySums
        nonReentrant
    {
        _breakOnce(sequence, challenger, payer);
        _slash(guarantor, payer, challenger, excess, 0);
    }

    /// `provider` was credited `excess` too much: it is taken back, and kept for those who lack it.
    function reportCredit(uint64 sequence, address challenger, address provider, uint256 excess)
        external
        onlySums
        nonReentrant
    {
        _breakOnce(sequence, challenger, provider);
        reserve += settlement.seize(provider, address(0), excess);
    }

    // slither-disable-end reentrancy-no-eth

    /// A batch breaks once; each account is put right once for what it was debited and once for what it was credited.
    function _breakOnce(uint64 sequence, address challenger, address account) private {
        _raise(keccak256(abi.encode(msg.sig, sequence, account)));
        if (!_isRaised(Fault.BrokenSum, sequence)) _break(sequence, challenger);
    }

    /// The poster is stopped and the guarantor punished; no payer can be named.
    function _break(uint64 sequence, address challenger) internal {
        _raise(_key(Fault.BrokenSum, sequence));
        emit FaultProven(Fault.BrokenSum, guarantor, bytes32(uint256(sequence) << 32), challenger);
        settlement.markBroken(sequence);
        _slash(guarantor, address(0), challenger, 0, penalty);
    }
}
