// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// Compiled with the rest, so that its bytecode is in abi/: OpenZeppelin's AccessManager administers the settlement
// contract's poster and pause, with delays. It is never on the way of a post, a claim or an exit.
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
