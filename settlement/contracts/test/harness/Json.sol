// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "./Cheats.sol";

/// Writes JSON. Integers become decimal strings, for JSON numbers lose digits above 2^53.
library Json {
    function quoted(string memory value) internal pure returns (string memory) {
        return string.concat('"', value, '"');
    }

    function text(string memory name, string memory value) internal pure returns (string memory) {
        return raw(name, quoted(value));
    }

    function integer(string memory name, uint256 value) internal pure returns (string memory) {
        return text(name, vm.toString(value));
    }

    function word(string memory name, bytes32 value) internal pure returns (string memory) {
        return text(name, vm.toString(value));
    }

    function account(string memory name, address value) internal pure returns (string memory) {
        return text(name, vm.toString(value));
    }

    function words(string memory name, bytes32[] memory values) internal pure returns (string memory) {
        string[] memory items = new string[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            items[i] = quoted(vm.toString(values[i]));
        }
        return raw(name, array(items));
    }

    function raw(string memory name, string memory value) internal pure returns (string memory) {
        return string.concat(quoted(name), ": ", value);
    }

    function object(string[] memory fields) internal pure returns (string memory) {
        return joined("{", fields, "}");
    }

    function array(string[] memory items) internal pure returns (string memory) {
        return joined("[", items, "]");
    }

    function joined(string memory open, string[] memory items, string memory close)
        private
        pure
        returns (string memory all)
    {
        if (items.length == 0) return string.concat(open, close);
        all = open;
        for (uint256 i = 0; i < items.length; ++i) {
            all = string.concat(all, i == 0 ? "\n" : ",\n", items[i]);
        }
        return string.concat(all, "\n", close);
    }
}
