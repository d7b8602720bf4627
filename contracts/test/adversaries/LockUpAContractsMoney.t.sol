// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Errors} from "@openzeppelin/contracts/utils/Errors.sol";

import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {FederationFixture} from "../base/FederationFixture.sol";

/// @notice A member that can call, and takes no money.
contract PoorWallet {
    function call(address target, uint256 value, bytes calldata data) external returns (bytes memory) {
        (bool success, bytes memory result) = target.call{value: value}(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        return result;
    }
}

/// @notice Whoever receives the money, and calls back for more.
contract GreedyReceiver {
    PoorWallet private immutable _wallet;
    address private immutable _payer;
    bool public refused;

    constructor(PoorWallet wallet, address payer) {
        (_wallet, _payer) = (wallet, payer);
    }

    receive() external payable {
        bytes memory again = abi.encodeCall(IPullPayments.withdrawTo, (payable(address(this))));
        try _wallet.call(_payer, 0, again) {}
        catch {
            refused = true;
        }
    }
}

/// @notice Nobody's money is held by what he cannot receive, or goes where somebody else wants it.
contract LockUpAContractsMoneyTest is FederationFixture {
    PoorWallet private wallet;

    function setUp() public override {
        super.setUp();
        wallet = new PoorWallet();
        vm.deal(address(wallet), 3 ether);
    }

    function test_aStakeAndADepositGoWhereItsOwnerWants() public {
        wallet.call(address(federation), 1 ether, abi.encodeCall(federation.stake, ()));
        wallet.call(address(federation), 2 ether, abi.encodeCall(federation.deposit, ()));
        wallet.call(address(federation), 0, abi.encodeCall(federation.unstake, ()));
        vm.expectRevert(abi.encodeWithSelector(Errors.FailedCall.selector));
        wallet.call(address(federation), 0, abi.encodeCall(federation.withdraw, ()));
        vm.expectEmit();
        emit IPullPayments.Withdrawn(address(wallet), address(0xFEED), 3 ether);
        bytes memory result = wallet.call(
            address(federation), 0, abi.encodeCall(federation.withdrawTo, (payable(address(0xFEED))))
        );
        vm.assertEq(abi.decode(result, (uint256)), 3 ether);
        vm.assertEq(address(0xFEED).balance, 3 ether);
        vm.assertEq(federation.owed(address(wallet)), 0);
    }

    function test_nobodySendsAnothersMoney() public {
        wallet.call(address(federation), 1 ether, abi.encodeCall(federation.deposit, ()));
        vm.expectRevert(abi.encodeWithSelector(IPullPayments.NothingOwed.selector, stranger));
        vm.prank(stranger);
        federation.withdrawTo(payable(stranger));
        vm.expectRevert(abi.encodeWithSelector(IPullPayments.NoReceiver.selector));
        wallet.call(address(federation), 0, abi.encodeCall(federation.withdrawTo, (payable(address(0)))));
        vm.assertEq(federation.owed(address(wallet)), 1 ether);
    }

    function test_noReceiverGetsMoreThanIsOwed() public {
        GreedyReceiver greedy = new GreedyReceiver(wallet, address(federation));
        vm.deal(coordinator, 5 ether);
        vm.prank(coordinator);
        federation.deposit{value: 5 ether}();
        wallet.call(address(federation), 1 ether, abi.encodeCall(federation.deposit, ()));
        wallet.call(address(federation), 0, abi.encodeCall(federation.withdrawTo, (payable(address(greedy)))));
        vm.assertTrue(greedy.refused());
        vm.assertEq(address(greedy).balance, 1 ether);
        vm.assertEq(address(federation).balance, 5 ether);
    }
}
