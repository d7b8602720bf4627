// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Campaign} from "./Campaign.sol";
import {DirectHandler} from "./DirectHandler.sol";

/// @notice What holds after any sequence of true and false rounds, proofs, demands and payments.
contract FederationInvariantTest is Campaign {
    DirectHandler private handler;

    function setUp() public {
        handler = new DirectHandler();
        handler.setUp();
        play(address(handler), DirectHandler.setUp.selector, DirectHandler.takeOutEverything.selector);
    }

    /// @dev One campaign for all, since each invariant of its own would play other sequences.
    function invariant_theFederationHolds() public view {
        everyWeiIsExplained();
        membersKeepTheirStakes();
        weightsFollowTheRules();
        proofsProveWhatIsSo();
        whatIsFinalIsRight();
    }

    function everyWeiIsExplained() private view {
        (uint256 held, uint256 explained) = handler.balances();
        vm.assertEq(held, explained);
        (held, explained) = handler.disputeBalances();
        vm.assertEq(held, explained);
        (held, explained) = handler.directBalances();
        vm.assertEq(held, explained);
    }

    function membersKeepTheirStakes() private view {
        vm.assertTrue(handler.stakeIsKnown(0));
        vm.assertTrue(handler.stakeIsKnown(1));
        vm.assertTrue(handler.stakeIsKnown(2));
        vm.assertTrue(handler.directStakeIsKnown());
        vm.assertEq(handler.wrongForfeits(), 0);
    }

    function weightsFollowTheRules() private view {
        vm.assertTrue(handler.weightIsRight());
    }

    function proofsProveWhatIsSo() private view {
        vm.assertEq(handler.falseProofs(), 0);
        vm.assertEq(handler.refusedProofs(), 0);
    }

    function whatIsFinalIsRight() private view {
        vm.assertEq(handler.wrongFinals(), 0);
        vm.assertEq(handler.honestRejections(), 0);
        vm.assertEq(handler.hastyProposals(), 0);
        vm.assertEq(handler.delayed(), 0);
    }

    /// @notice At the end of every run strangers bring the round to its end, and everybody gets everything out.
    function afterInvariant() public {
        handler.takeOutEverything();
        (uint256 fromFederation, uint256 fromDisputes) = handler.leftBehind();
        vm.assertEq(fromFederation, 0);
        vm.assertEq(fromDisputes, 0);
        (uint256 fromDirect,) = handler.directBalances();
        vm.assertEq(fromDirect, 0);
    }
}
