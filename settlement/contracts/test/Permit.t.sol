// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {vm} from "./harness/Cheats.sol";
import {SettlementFixture} from "./harness/SettlementFixture.sol";

/// Deposits by ERC-2612: one transaction, and a permit that somebody else sent first does no harm.
contract PermitTest is SettlementFixture {
    uint256 private constant OWNER_KEY = 0x70c;
    uint256 private constant AMOUNT = 5e6;
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    function test_APermitDepositsInOneTransaction() public {
        (uint8 v, bytes32 r, bytes32 s) = permit();
        vm.prank(owner());
        settlement.depositWithPermit(AMOUNT, START + 1, v, r, s);
        vm.assertEq(settlement.balances(owner()).deposit, AMOUNT, "deposit");
        vm.assertEq(token.allowance(owner(), address(settlement)), 0, "allowance");
    }

    function test_APermitThatWasSentBeforeCounts() public {
        (uint8 v, bytes32 r, bytes32 s) = permit();
        vm.prank(STRANGER);
        token.permit(owner(), address(settlement), AMOUNT, START + 1, v, r, s);
        vm.prank(owner());
        settlement.depositWithPermit(AMOUNT, START + 1, v, r, s);
        vm.assertEq(settlement.balances(owner()).deposit, AMOUNT, "deposit");
    }

    function test_AForgedPermitDepositsNothing() public {
        (uint8 v, bytes32 r, bytes32 s) = permit();
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(settlement), 0, AMOUNT + 1
            )
        );
        vm.prank(owner());
        settlement.depositWithPermit(AMOUNT + 1, START + 1, v, r, s);
    }

    function owner() private pure returns (address) {
        return vm.addr(OWNER_KEY);
    }

    function permit() private returns (uint8 v, bytes32 r, bytes32 s) {
        token.mint(owner(), 2 * AMOUNT);
        bytes32 struct_ =
            keccak256(abi.encode(PERMIT_TYPEHASH, owner(), address(settlement), AMOUNT, 0, START + 1));
        return vm.sign(OWNER_KEY, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), struct_)));
    }
}
