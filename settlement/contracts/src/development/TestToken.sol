// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// For development chains only: anyone may mint any amount, so it is worth nothing.
contract TestToken is ERC20, ERC20Permit {
    constructor() ERC20("Spillway Test Dollar", "tUSD") ERC20Permit("Spillway Test Dollar") {}

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
