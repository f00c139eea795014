// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header, Order, Voucher} from "../../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {SpillwayFormats} from "../../src/formats/SpillwayFormats.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";
import {vm} from "./Cheats.sol";
import {Deployment} from "./Deployment.sol";
import {SettlementFixture} from "./SettlementFixture.sol";
import {Account, SumTrees} from "./SumTrees.sol";

/// A settlement contract in root mode: one funded payer whose key signs vouchers, two providers.
abstract contract RootFixture is SettlementFixture {
    uint256 internal constant ORDER_KEY = 0x5161;
    uint256 internal constant OTHER_KEY = 0x07e2;
    address internal constant SECOND = address(0xb0c);
    address internal constant DISPUTES = address(0xd15);
    uint64 internal constant PAUSE = 1 days;

    SpillwayFormats internal formats;

    function setUp() public virtual override {
        vm.warp(START);
        super.setUp();
        ISpillwaySettlement.Parameters memory its =
            Deployment.parameters(address(token), OWNER, POSTER, WINDOW, DELAY);
        its.mode = ISpillwaySettlement.Mode.Root;
        its.disputes = DISPUTES;
        its.longestPause = PAUSE;
        settlement = new SpillwaySettlement(its);
        formats = new SpillwayFormats(address(settlement));
        fund(PAYER, DEPOSIT);
        vm.prank(PAYER);
        settlement.authorizeOrderKey(vm.addr(ORDER_KEY), CAP, START + 365 days);
    }

    /// What both providers have earned in all.
    function earned(uint128 first, uint128 second) internal pure returns (Account[] memory accounts) {
        accounts = new Account[](2);
        accounts[0] = Account(PROVIDER, first);
        accounts[1] = Account(SECOND, second);
    }

    function headerOf(Account[] memory accounts) internal view returns (Header memory header) {
        header.sequence = settlement.nextSequence();
        header.count = 1;
        header.cumulative = uint128(SumTrees.total(accounts));
        header.total = header.cumulative - uint128(settlement.totals().cumulative);
        header.previous = settlement.headerHashAt(header.sequence - 1);
        header.jobsRoot = keccak256(abi.encode("jobs", header.sequence));
        header.payRoot = SumTrees.root(accounts);
        header.spendRoot = keccak256(abi.encode("spend", header.sequence));
        header.dataHash = keccak256(abi.encode("data", header.sequence));
    }

    function postRoot(Account[] memory accounts) internal returns (Header memory header) {
        header = headerOf(accounts);
        vm.prank(POSTER);
        settlement.postRoot(header);
    }

    function collect(uint128 cumulative, uint256 key) internal {
        Voucher[] memory vouchers = new Voucher[](1);
        vouchers[0] = Voucher({payer: PAYER, sequence: 1, cumulative: cumulative});
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = signed(key, formats.voucherDigest(vouchers[0]));
        settlement.collect(vouchers, signatures);
    }

    function claim(Header memory header, Account[] memory accounts, uint256 index)
        internal
        returns (uint256)
    {
        Account memory it = accounts[index];
        return settlement.claimWithProof(
            header, it.account, it.cumulative, SumTrees.proof(accounts, index)
        );
    }

    function orderOf(uint128 upperBound) internal pure returns (Order memory order) {
        order.job = keccak256("job");
        order.payer = PAYER;
        order.provider = PROVIDER;
        order.upperBound = upperBound;
        order.expiry = START + 7 days;
    }

    function show(uint128 upperBound, uint256 key) internal {
        Order memory order = orderOf(upperBound);
        settlement.showOrder(order, signed(key, formats.orderDigest(order)));
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// From here every header posted so far is final.
    function finalise() internal {
        vm.warp((block.timestamp / WINDOW + 2) * WINDOW);
    }
}
