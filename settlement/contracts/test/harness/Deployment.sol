// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {ISpillwaySettlement} from "../../src/settlement/ISpillwaySettlement.sol";
import {SpillwaySettlement} from "../../src/settlement/SpillwaySettlement.sol";

/// A settlement contract on its own: no disputes, no fee, an AccessManager of which `owner` is the admin.
library Deployment {
    function parameters(address token, address owner, address poster, uint64 window, uint64 delay)
        internal
        returns (ISpillwaySettlement.Parameters memory)
    {
        return ISpillwaySettlement.Parameters({
            token: token,
            authority: address(new AccessManager(owner)),
            poster: poster,
            disputes: address(0),
            feeRecipient: address(0),
            mode: ISpillwaySettlement.Mode.Ledger,
            feeBps: 0,
            ring: 256,
            window: window,
            withdrawDelay: delay,
            longestPause: (delay - 2 * window) / 2
        });
    }

    function ledger(address token, address owner, address poster, uint64 window, uint64 delay)
        internal
        returns (SpillwaySettlement)
    {
        return new SpillwaySettlement(parameters(token, owner, poster, window, delay));
    }
}
