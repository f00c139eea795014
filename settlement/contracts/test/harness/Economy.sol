// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header} from "../../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";
import {TestToken} from "../../src/development/TestToken.sol";
import {Batch, Batches} from "./Batches.sol";
import {vm, within} from "./Cheats.sol";
import {Deployment} from "./Deployment.sol";

/// Invariant handler: four accounts, each both payer and provider, a poster and time. It keeps a plain model of what
/// must happen and compares every call with it, refusals included.
contract Economy {
    uint256 public constant ACCOUNTS = 4;
    uint64 public constant WINDOW = 1 hours;
    uint64 public constant DELAY = 1 days;
    address public constant POSTER = address(0x9057e2);

    TestToken public token;
    SpillwaySettlement public settlement;
    uint64 public time = 1_800_000_000;

    struct Model {
        uint256 deposit;
        uint256 earned;
        uint256 claimed;
        uint256 withdrawn;
        uint256 cap;
        uint256 expiry;
        uint256 asked;
        uint256 payableAt;
    }

    struct Earning {
        address account;
        uint256 amount;
        uint256 epoch;
    }

    mapping(address account => Model) public models;
    mapping(address account => mapping(uint256 day => uint256)) public spentOn;
    /// The largest cap that was in force when something was posted that day.
    mapping(address account => mapping(uint256 day => uint256)) public capOn;
    mapping(address account => uint256) private matured;
    Earning[] private maturing;
    Batch[] private posted;

    uint256 public depositedInAll;
    uint256 public posts;
    uint256 public refusals;

    constructor() {
        vm.warp(time);
        token = new TestToken();
        settlement = Deployment.ledger(address(token), address(this), POSTER, WINDOW, DELAY);
    }

    function account(uint256 index) public pure returns (address) {
        return address(uint160(0x1000 + index % ACCOUNTS));
    }

    // Actions

    function pass(uint64 seconds_) external {
        time += uint64(within(seconds_, 1, 10 hours));
        vm.warp(time);
    }

    function deposit(uint256 who, uint256 payer, uint64 amount) external {
        amount = uint64(within(amount, 0, 1e12));
        address from = account(who);
        token.mint(from, amount);
        vm.prank(from);
        token.approve(address(settlement), amount);
        vm.prank(from);
        settlement.depositFor(account(payer), amount);
        models[account(payer)].deposit += amount;
        depositedInAll += amount;
    }

    function authorize(uint256 who, uint96 cap, uint64 lasts) external {
        cap = uint96(within(cap, 0, 1e12));
        uint64 expiry = time + uint64(within(lasts, 0, 5 days));
        vm.prank(account(who));
        settlement.authorizeOrderKey(address(0x6e1), cap, expiry);
        models[account(who)].cap = cap;
        models[account(who)].expiry = expiry;
    }

    function revoke(uint256 who) external {
        vm.prank(account(who));
        settlement.authorizeOrderKey(address(0), 0, 0);
        models[account(who)].cap = 0;
        models[account(who)].expiry = 0;
    }

    function requestWithdraw(uint256 who, uint64 amount) external {
        amount = uint64(within(amount, 0, 2e12));
        vm.prank(account(who));
        settlement.requestWithdraw(amount);
        models[account(who)].asked = amount;
        models[account(who)].payableAt = time + DELAY;
    }

    function withdraw(uint256 who) external {
        Model storage model = models[account(who)];
        if (model.asked != 0 && time < model.payableAt) {
            vm.expectRevert(
                abi.encodeWithSelector(ISpillwaySettlement.WithdrawTooEarly.selector, model.payableAt)
            );
            vm.prank(account(who));
            settlement.withdraw();
            return;
        }
        uint256 due = model.asked < model.deposit ? model.asked : model.deposit;
        vm.prank(account(who));
        vm.assertEq(settlement.withdraw(), due, "withdraw");
        model.asked = 0;
        model.deposit -= due;
        model.withdrawn += due;
    }

    function claim(uint256 who) external {
        address provider = account(who);
        mature();
        uint256 due = matured[provider] - models[provider].claimed;
        vm.assertEq(settlement.claim(provider), due, "claim");
        vm.assertEq(settlement.claim(provider), 0, "claim again");
        models[provider].claimed += due;
    }

    /// Posts a batch of one or two payers and providers, which may well be one that must be refused.
    function post(uint256 payer, uint256 provider, uint96 first, uint96 second) external {
        first = uint96(within(first, 0, 2e11));
        second = uint96(within(second, 0, 2e11));
        Batch memory batch = Batches.next(
            settlement,
            pair(payer % ACCOUNTS, first, payer % ACCOUNTS + 1, second),
            pair(provider % ACCOUNTS, second, provider % ACCOUNTS + 2, first)
        );
        bytes memory refusal = expectedRefusal(batch.debits);
        if (refusal.length != 0) {
            vm.expectRevert(refusal);
            send(POSTER, batch);
            ++refusals;
            return;
        }
        send(POSTER, batch);
        book(batch);
    }

    /// Sends again what was posted, from anybody: nothing may change and nothing may fail.
    function replay(uint256 index, uint256 sender) external {
        if (posted.length == 0) return;
        bytes32 before = fingerprint();
        send(account(sender), posted[index % posted.length]);
        vm.assertEq(fingerprint(), before, "a replay changed something");
    }

    /// Sends another header at a used sequence.
    function forge(uint256 index, bytes32 dataHash) external {
        if (posted.length == 0) return;
        Batch memory batch = posted[index % posted.length];
        bytes32 right = settlement.headerHash(batch.header);
        vm.assume(dataHash != batch.header.dataHash);
        batch.header.dataHash = dataHash;
        bytes32 wrong = settlement.headerHash(batch.header);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISpillwaySettlement.SequenceUsed.selector, batch.header.sequence, right, wrong
            )
        );
        send(POSTER, batch);
    }

    // The model

    function send(address sender, Batch memory batch) private {
        vm.prank(sender);
        settlement.post(batch.header, batch.debits, batch.credits);
    }

    function pair(uint256 a, uint96 amountA, uint256 b, uint96 amountB)
        private
        pure
        returns (bytes32[] memory entries)
    {
        entries = new bytes32[](2);
        entries[0] = Batches.entry(account(a), amountA);
        entries[1] = Batches.entry(account(b), amountB);
        return Batches.sorted(entries);
    }

    /// What `_debit` must answer: the first payer, by address, who may not pay.
    function expectedRefusal(bytes32[] memory debits) private view returns (bytes memory) {
        for (uint256 i = 0; i < debits.length; ++i) {
            (address payer, uint256 amount) = open(debits[i]);
            Model storage model = models[payer];
            uint256 spent = spentOn[payer][time / 1 days] + amount;
            if (model.expiry == 0) {
                return abi.encodeWithSelector(ISpillwaySettlement.OrderKeyMissing.selector, payer);
            }
            if (time > model.expiry) {
                return
                    abi.encodeWithSelector(ISpillwaySettlement.OrderKeyExpired.selector, payer, model.expiry);
            }
            // A cap may be lowered below what was spent: then nothing more is, and nothing is no more.
            if (amount != 0 && spent > model.cap) {
                return abi.encodeWithSelector(
                    ISpillwaySettlement.DailyCapExceeded.selector, payer, model.cap, spent
                );
            }
            if (amount > model.deposit) {
                return abi.encodeWithSelector(
                    ISpillwaySettlement.DepositTooSmall.selector, payer, model.deposit, amount
                );
            }
        }
        return "";
    }

    function book(Batch memory batch) private {
        uint256 day = time / 1 days;
        for (uint256 i = 0; i < batch.debits.length; ++i) {
            (address payer, uint256 amount) = open(batch.debits[i]);
            models[payer].deposit -= amount;
            spentOn[payer][day] += amount;
            if (models[payer].cap > capOn[payer][day]) capOn[payer][day] = models[payer].cap;
        }
        for (uint256 i = 0; i < batch.credits.length; ++i) {
            (address provider, uint256 amount) = open(batch.credits[i]);
            models[provider].earned += amount;
            maturing.push(Earning({account: provider, amount: amount, epoch: time / WINDOW}));
        }
        posted.push(batch);
        ++posts;
    }

    function open(bytes32 entry) private pure returns (address, uint256) {
        return (address(bytes20(entry)), uint96(uint256(entry)));
    }

    /// Moves every earning of two epochs ago or older to its account.
    function mature() public {
        for (uint256 i = 0; i < maturing.length;) {
            if (maturing[i].epoch + 2 > time / WINDOW) {
                ++i;
                continue;
            }
            matured[maturing[i].account] += maturing[i].amount;
            maturing[i] = maturing[maturing.length - 1];
            maturing.pop();
        }
    }

    function maturedOf(address provider) external view returns (uint256) {
        return matured[provider];
    }

    function fingerprint() public view returns (bytes32 print) {
        print = keccak256(abi.encode(settlement.nextSequence(), token.balanceOf(address(settlement))));
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            print = keccak256(
                abi.encode(print, settlement.balances(account(i)), settlement.orderKey(account(i)))
            );
        }
    }

    // The end

    /// Everybody takes everything, without help of owner or poster.
    function leave() external {
        time += 2 * WINDOW;
        vm.warp(time);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            settlement.claim(account(i));
            vm.prank(account(i));
            settlement.requestWithdraw(type(uint256).max);
        }
        time += DELAY;
        vm.warp(time);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            vm.prank(account(i));
            settlement.withdraw();
        }
    }
}
