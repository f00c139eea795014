// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "../test/harness/Cheats.sol";
import {VectorFile} from "../test/harness/VectorFile.sol";

/// Writes `vectors.json`, which the tests of both sides read.
contract WriteVectors is VectorFile {
    function run() external {
        placeSettlement();
        vm.writeFile(PATH, content());
    }
}
