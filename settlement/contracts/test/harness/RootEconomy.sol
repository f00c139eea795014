// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header} from "../../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {vm, within} from "./Cheats.sol";
import {RootPayers} from "./RootPayers.sol";
import {Account, SumTrees} from "./SumTrees.sol";

/// Invariant handler in root mode: four accounts, each both payer and provider, a poster, the disputes contract and time.
/// Every call is compared with the model, refusals included.
contract RootEconomy is RootPayers {
    /// The arguments that prove what a provider has earned.
    struct Proven {
        Header header;
        address provider;
        uint128 earned;
        bytes32[] path;
    }

    // Poster

    function post(uint64[4] calldata more) external {
        uint128[ACCOUNTS] memory earned;
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            earned[i] = uint128(providers[account(i)].earned + within(more[i], 0, 5e10));
        }
        submit(earned);
    }

    /// Posts more than was ever deposited.
    function postTooMuch(uint256 who, uint64 excess) external {
        uint128[ACCOUNTS] memory earned;
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            earned[i] = uint128(providers[account(i)].earned);
        }
        uint256 room = escrow() > sums.cumulative ? escrow() - sums.cumulative : 0;
        earned[who % ACCOUNTS] += uint128(room + within(excess, 1, 1e12));
        submit(earned);
    }

    function submit(uint128[ACCOUNTS] memory earned) private {
        Header memory header = headerOf(earned);
        bytes32 hash = settlement.headerHash(header);
        bool isRefused = expects(postRefusal(header.cumulative));
        vm.prank(POSTER);
        settlement.postRoot(header);
        if (isRefused) return;
        keep(header, hash, earned);
        vm.assertLe(header.cumulative, settlement.totals().escrow, "posted within the escrow");
    }

    function keep(Header memory header, bytes32 hash, uint128[ACCOUNTS] memory earned) private {
        Root storage root = roots.push();
        (root.header, root.hash, root.earned, root.epoch) = (header, hash, earned, time / WINDOW);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            providers[account(i)].earned = earned[i];
        }
        sums.cumulative = header.cumulative;
        sums.withdrawnAtPost = sums.withdrawn;
    }

    function headerOf(uint128[ACCOUNTS] memory earned) private view returns (Header memory header) {
        Account[] memory accounts = listed(earned);
        header.sequence = uint64(roots.length + 1);
        header.count = 1;
        header.cumulative = uint128(SumTrees.total(accounts));
        header.total = header.cumulative - uint128(sums.cumulative);
        header.previous = roots.length == 0 ? bytes32(0) : roots[roots.length - 1].hash;
        header.jobsRoot = keccak256(abi.encode("jobs", header.sequence));
        header.payRoot = SumTrees.root(accounts);
        header.spendRoot = keccak256(abi.encode("spend", header.sequence));
        header.dataHash = keccak256(abi.encode("data", header.sequence));
    }

    function listed(uint128[ACCOUNTS] memory earned) private view returns (Account[] memory accounts) {
        accounts = new Account[](ACCOUNTS);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            accounts[i] = Account(account(i), earned[i]);
        }
    }

    /// Sends again what was posted, from anybody: nothing may change.
    function replay(uint256 index, uint256 sender) external {
        if (roots.length == 0) return;
        index %= roots.length;
        Header memory header = roots[index].header;
        bytes32 before = fingerprint();
        expects(forgottenRefusal(index + 1));
        vm.prank(account(sender));
        settlement.postRoot(header);
        vm.assertEq(fingerprint(), before, "a replay changed something");
    }

    /// Sends another header at a used sequence.
    function forge(uint256 index, bytes32 payRoot) external {
        if (roots.length == 0) return;
        index %= roots.length;
        Header memory header = roots[index].header;
        header.payRoot = payRoot == header.payRoot ? ~payRoot : payRoot;
        expects(usedRefusal(index, settlement.headerHash(header)));
        vm.prank(POSTER);
        settlement.postRoot(header);
    }

    function usedRefusal(uint256 index, bytes32 given) private view returns (bytes memory refusal) {
        refusal = forgottenRefusal(index + 1);
        if (refusal.length != 0) return refusal;
        bytes4 selector = ISpillwaySettlement.SequenceUsed.selector;
        return abi.encodeWithSelector(selector, index + 1, roots[index].hash, given);
    }

    // Providers

    /// Claims by any root, which may not be final yet or forgotten; anybody may.
    function claim(uint256 who, uint256 index) external {
        if (roots.length == 0) return;
        index = picked(index);
        Proven memory it = proven(who, index);
        bool isRefused = expects(claimRefusal(it.provider, index));
        uint256 paid = settlement.claimWithProof(it.header, it.provider, it.earned, it.path);
        if (isRefused) return;
        bookClaim(it.provider, claimable(who, index), paid);
        paid = settlement.claimWithProof(it.header, it.provider, it.earned, it.path);
        vm.assertEq(paid, 0, "claimed again");
    }

    function bookClaim(address provider, uint256 amount, uint256 paid) private {
        uint256 fee = feeOf(provider, amount);
        vm.assertEq(paid, amount - fee, "paid");
        providers[provider].claimed += amount;
        providers[provider].received += paid;
        sums.paid += amount;
        sums.fees += fee;
        requireSame(provider);
    }

    /// Claims another sum than the tree holds, or what is somebody else's.
    function claimWrongly(uint256 who, uint256 index, uint128 wrong) external {
        if (roots.length == 0) return;
        index = picked(index);
        Proven memory it = provenWrongly(who, index, wrong);
        bytes memory refusal = claimRefusal(it.provider, index);
        if (refusal.length == 0) {
            refusal = abi.encodeWithSelector(ISpillwaySettlement.ProofMismatch.selector, it.provider);
        }
        expects(refusal);
        settlement.claimWithProof(it.header, it.provider, it.earned, it.path);
    }

    function provenWrongly(uint256 who, uint256 index, uint128 wrong)
        private
        view
        returns (Proven memory it)
    {
        it = proven(wrong % 3 == 0 ? who % ACCOUNTS + 1 : who, index);
        it.provider = account(who);
        if (wrong % 3 == 1) it.earned += uint128(within(wrong, 1, 1e12));
        if (wrong % 3 == 2) it.earned = wrong == it.earned ? wrong + 1 : wrong;
    }

    function payFees() external {
        vm.assertEq(settlement.payFees(), sums.fees, "fees");
        sums.feesPaid += sums.fees;
        sums.fees = 0;
    }

    /// Mostly the newest root that is final.
    function picked(uint256 index) private view returns (uint256) {
        if (index % 4 == 3) return index / 4 % roots.length;
        for (uint256 i = roots.length; i > 0; --i) {
            if (isFinal(i - 1)) return i - 1;
        }
        return 0;
    }

    function proven(uint256 who, uint256 index) private view returns (Proven memory it) {
        Root memory root = roots[index];
        it.header = root.header;
        it.provider = account(who);
        it.earned = root.earned[who % ACCOUNTS];
        it.path = SumTrees.proof(listed(root.earned), who % ACCOUNTS);
    }

    // Disputes

    function freeze(uint256 who, uint64 until) external {
        until = time - 1 hours + uint64(within(until, 0, 2 days));
        vm.prank(DISPUTES);
        settlement.freeze(account(who), until);
        Provider storage its = providers[account(who)];
        if (time >= its.frozenUntil) its.disputes = 0; // What lapsed is forgotten.
        ++its.disputes;
        if (until > its.frozenUntil) its.frozenUntil = until;
        requireSame(account(who));
    }

    function unfreeze(uint256 who) external {
        Provider storage its = providers[account(who)];
        bytes memory underflow = abi.encodeWithSignature("Panic(uint256)", 0x11);
        bool isRefused = expects(its.disputes == 0 ? underflow : bytes(""));
        vm.prank(DISPUTES);
        settlement.unfreeze(account(who));
        if (isRefused) return;
        if (--its.disputes == 0) its.frozenUntil = 0;
        requireSame(account(who));
    }

    /// Every fifth time for no payer.
    function seize(uint256 who, uint256 index, uint256 victim, uint64 most) external {
        if (roots.length == 0) return;
        index = picked(index);
        most = uint64(within(most, 0, 2e11));
        address payer = victim % 5 == 4 ? address(0) : account(victim);
        uint256 seized = seizeFor(proven(who, index), payer, most, headerRefusal(index));
        if (seized == type(uint256).max) return;
        vm.assertEq(seized, least(most, claimable(who, index)), "seized");
        providers[account(who)].claimed += seized;
        sums.paid += seized;
        bookSeized(payer, seized);
        requireSame(account(who));
    }

    function bookSeized(address payer, uint256 amount) private {
        if (payer == address(0)) {
            sums.seizedOut += amount;
            return;
        }
        payers[payer].deposit += amount;
        sums.seizedBack += amount;
        requireSame(payer);
    }

    /// The largest number when it is refused.
    function seizeFor(Proven memory it, address payer, uint256 most, bytes memory refusal)
        private
        returns (uint256 seized)
    {
        bool isRefused = expects(refusal);
        vm.prank(DISPUTES);
        seized = settlement.seizeWithProof(it.header, it.provider, it.earned, it.path, payer, most);
        return isRefused ? type(uint256).max : seized;
    }

    // The end

    /// Everybody takes everything, without help of the poster and in a pause of which the longest is not over yet.
    function everybodyLeaves() external {
        moveOn(2 days + 2 * WINDOW); // No freeze is longer.
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            if (roots.length != 0) claimLast(i);
            vm.prank(account(i));
            settlement.requestWithdraw(type(uint256).max);
        }
        settlement.payFees();
        moveOn(DELAY);
        settlement.pause(settlement.longestPause());
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            uint256 deposited = settlement.balances(account(i)).deposit;
            vm.prank(account(i));
            vm.assertEq(settlement.withdraw(), deposited, "left with the whole deposit");
        }
    }

    function claimLast(uint256 who) private {
        Proven memory it = proven(who, roots.length - 1);
        settlement.claimWithProof(it.header, it.provider, it.earned, it.path);
    }
}
