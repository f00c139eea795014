// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

/// One transaction per job, the least that pays once: a bit per job, the provider's signature, a transfer.
contract OnePerJob {
    using BitMaps for BitMaps.BitMap;
    using SafeERC20 for IERC20;

    IERC20 private immutable token;
    BitMaps.BitMap private paid;

    error AlreadyPaid(uint256 job);
    error NotSigned(uint256 job);

    constructor(IERC20 token_) {
        token = token_;
    }

    function digest(uint256 job, uint256 amount) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), job, amount));
    }

    function pay(uint256 job, address provider, uint256 amount, bytes calldata signature) external {
        if (paid.get(job)) revert AlreadyPaid(job);
        if (ECDSA.recover(digest(job, amount), signature) != provider) revert NotSigned(job);
        paid.set(job);
        token.safeTransfer(provider, amount);
    }
}

/// A cumulative Merkle drop: a root of what everyone has earned in all, claims with a proof. Nothing binds a batch to its
/// jobs, no payer has a cap, nothing can be disputed.
contract CumulativeDrop {
    using SafeERC20 for IERC20;

    IERC20 private immutable token;
    address private immutable owner;
    bytes32 public root;
    mapping(address account => uint256) private claimed;

    event RootChanged(bytes32 root);

    error NotOwner(address caller);
    error NotProven(address account);

    constructor(IERC20 token_, address owner_) {
        token = token_;
        owner = owner_;
    }

    function setRoot(bytes32 root_) external {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        root = root_;
        emit RootChanged(root_);
    }

    function claim(address account, uint256 cumulative, bytes32[] calldata proof) external {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(account, cumulative))));
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert NotProven(account);
        uint256 amount = cumulative - claimed[account];
        claimed[account] = cumulative;
        token.safeTransfer(account, amount);
    }
}
