// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DisputesBase} from "./DisputesBase.sol";
import {Doubles} from "./Doubles.sol";
import {Orders} from "./Orders.sol";
import {Pay} from "./Pay.sol";
import {Verdicts} from "./Verdicts.sol";

/// Faults of providers and of the hub, proven on chain in one step where that is possible, and what follows: the payer is
/// made whole first, the challenger gets at most half of what is taken, the rest waits for others who were harmed.
contract SpillwayDisputes is Orders, Doubles, Pay, Verdicts {
    constructor(Terms memory its) DisputesBase(its) {}
}
