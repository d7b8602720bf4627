// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../base/TestBase.sol";
import {DirectHandler} from "./DirectHandler.sol";
import {FuzzSelector} from "./FuzzSelector.sol";

/// @notice What holds after any sequence of true and false rounds, proofs, demands and payments.
contract FederationInvariantTest is TestBase {
    DirectHandler private handler;
    address[] private _targets;

    function setUp() public {
        handler = new DirectHandler();
        handler.setUp();
        _targets.push(address(handler));
    }

    /// @dev Read by forge: only the handler is called.
    function targetContracts() public view returns (address[] memory) {
        return _targets;
    }

    /// @dev Read by forge: these are not for the fuzzer.
    function excludeSelectors() public view returns (FuzzSelector[] memory excluded) {
        excluded = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](2);
        selectors[0] = DirectHandler.setUp.selector;
        selectors[1] = DirectHandler.takeOutEverything.selector;
        excluded[0] = FuzzSelector(address(handler), selectors);
    }

    /// @dev One campaign for all, since each invariant of its own would play other sequences.
    function invariant_theFederationHolds() public view {
        everyWeiIsExplained();
        honestMembersKeepTheirStake();
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

    function honestMembersKeepTheirStake() private view {
        vm.assertTrue(handler.stakeIsKnown(0));
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
