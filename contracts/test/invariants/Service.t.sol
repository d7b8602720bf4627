// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Campaign} from "./Campaign.sol";
import {ServiceHandler} from "./ServiceHandler.sol";

/// @notice What holds after any sequence of registrations, trials, rollbacks, decisions and payments.
contract ServiceInvariantTest is Campaign {
    ServiceHandler private handler;

    function setUp() public {
        handler = new ServiceHandler();
        handler.setUp();
        play(address(handler), ServiceHandler.setUp.selector, ServiceHandler.takeOutEverything.selector);
    }

    /// @dev One campaign for all, since each invariant of its own would play other sequences.
    function invariant_theServiceHolds() public view {
        vm.assertEq(handler.surprises(), 0);
        everyWeiIsExplained();
        onlyWhatPassedServes();
        decisionsKeepTheirLineage();
    }

    function everyWeiIsExplained() private view {
        (uint256 held, uint256 explained) = handler.serviceBalances();
        vm.assertEq(held, explained);
        (held, explained) = handler.gateBalances();
        vm.assertEq(held, explained);
    }

    function onlyWhatPassedServes() private view {
        vm.assertTrue(handler.servesWhatPassed());
        vm.assertTrue(handler.answersIfPassed(any()));
    }

    function decisionsKeepTheirLineage() private view {
        vm.assertTrue(handler.lineageStands(any()));
    }

    /// @notice At the end of every run a stranger ends the trial, and everybody gets everything out.
    function afterInvariant() public {
        handler.takeOutEverything();
        (uint256 fromService, uint256 fromGate) = handler.leftBehind();
        vm.assertEq(fromService, 0);
        vm.assertEq(fromGate, 0);
        vm.assertEq(handler.surprises(), 0);
        for (uint256 i = 0; i < handler.decisions(); ++i) {
            vm.assertTrue(handler.lineageStands(i));
        }
    }

    /// @dev Another number after each call.
    function any() private view returns (uint256) {
        return uint256(keccak256(abi.encode(block.timestamp, block.number, handler.decisions())));
    }
}
