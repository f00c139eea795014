// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// The EIP-712 domain of a settlement contract, for contracts beside it.
library Domain {
    bytes32 private constant TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    function digest(address settlement, bytes32 structHash) internal view returns (bytes32) {
        bytes32 separator =
            keccak256(abi.encode(TYPEHASH, keccak256("Spillway"), keccak256("1"), block.chainid, settlement));
        return MessageHashUtils.toTypedDataHash(separator, structHash);
    }
}
