// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Campaign} from "./Campaign.sol";
import {Diary} from "./Diary.sol";
import {SealedHandler} from "./SealedHandler.sol";

/// @notice The theorem of SECURITY.md, held against random play of all parties over all contracts of a sealed federation.
contract SealedTheoremInvariantTest is Campaign {
    SealedHandler private handler;

    function setUp() public {
        handler = new SealedHandler();
        handler.setUp();
        play(address(handler), SealedHandler.setUp.selector, SealedHandler.breakRule.selector);
    }

    function invariant_theHonestLoseNothingAndALieIsNeverFinal() public view {
        vm.assertEq(handler.honestLosses(), 0);
        vm.assertEq(handler.falseFinals(), 0);
        vm.assertEq(handler.lateFinals(), 0);
        vm.assertEq(handler.wrongVerdicts(), 0);
        vm.assertEq(handler.stolenVoices(), 0);
        vm.assertEq(handler.secretsAsked(), 0);
        vm.assertTrue(handler.isSolvent());
        vm.assertTrue(handler.liesCostHalf());
    }

    /// @notice Writes down what the run has counted, as a line of JSON, where `FEDVM_CAMPAIGN` says so.
    function afterInvariant() public {
        Diary pen = Diary(address(vm));
        string memory path = pen.envOr("FEDVM_CAMPAIGN", "");
        if (bytes(path).length > 0) pen.writeLine(path, handler.diary());
    }
}
