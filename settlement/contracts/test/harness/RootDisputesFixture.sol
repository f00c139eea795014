// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Unpaid} from "../../src/disputes/Evidence.sol";
import {Header, Leaf, Voucher} from "../../src/formats/Formats.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {vm} from "./Cheats.sol";
import {DisputesFixture} from "./DisputesFixture.sol";
import {LineBatches, PostedLines} from "./PostedLines.sol";
import {Account, SumTrees} from "./SumTrees.sol";

/// The same in root mode: batches carry what PROVIDER and SECOND have earned in all.
abstract contract RootDisputesFixture is DisputesFixture {
    function mode() internal pure override returns (ISpillwaySettlement.Mode) {
        return ISpillwaySettlement.Mode.Root;
    }

    /// What both have earned in all; `more` is a third account that a lying poster adds.
    function earned(uint128 first, uint128 second, uint128 more)
        internal
        pure
        returns (Account[] memory accounts)
    {
        accounts = new Account[](more == 0 ? 2 : 3);
        accounts[0] = Account(PROVIDER, first);
        accounts[1] = Account(SECOND, second);
        if (more != 0) accounts[2] = Account(address(0xfff), more);
    }

    function postRoots(Leaf[] memory leaves, Account[] memory accounts)
        internal
        returns (PostedLines memory lines)
    {
        lines = LineBatches.next(settlement, leaves);
        Header memory header = lines.header;
        header.ledgerHash = 0;
        header.cumulative = uint128(settlement.totals().cumulative) + header.total;
        header.payRoot = SumTrees.root(accounts);
        header.spendRoot = keccak256(abi.encode("spend", header.sequence));
        vm.prank(POSTER);
        settlement.postRoot(header);
    }

    function unpaid(Header memory header, Account[] memory accounts, uint256 index)
        internal
        pure
        returns (Unpaid memory)
    {
        return Unpaid({
            header: header, cumulative: accounts[index].cumulative, proof: SumTrees.proof(accounts, index)
        });
    }

    function claim(PostedLines memory lines, Account[] memory accounts, uint256 index)
        internal
        returns (uint256)
    {
        Account memory it = accounts[index];
        bytes32[] memory proof = SumTrees.proof(accounts, index);
        return settlement.claimWithProof(lines.header, it.account, it.cumulative, proof);
    }

    /// PAYER's key vouches for `cumulative`.
    function collect(uint128 cumulative) internal {
        Voucher[] memory vouchers = new Voucher[](1);
        vouchers[0] = Voucher({payer: PAYER, sequence: 1, cumulative: cumulative});
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = signed(ORDER_KEY, formats.voucherDigest(vouchers[0]));
        settlement.collect(vouchers, signatures);
    }
}
