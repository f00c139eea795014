// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeeDiscount} from "../../src/settlement/ISpillwaySettlement.sol";

/// Answers as the disputes contract does: what is taken off the fee of each provider.
contract Discounts is IFeeDiscount {
    mapping(address provider => uint256) public feeDiscountBps;

    function set(address provider, uint256 bps) external {
        feeDiscountBps[provider] = bps;
    }
}
