// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../base/TestBase.sol";
import {SealedCoordinators} from "./SealedCoordinators.sol";
import {SealedHandler} from "./SealedHandler.sol";

/// @notice The sealed campaign can fail: where one rule of the honest is broken, the counter of that rule counts.
contract SealedCanariesInvariantTest is TestBase {
    SealedHandler private handler;

    function setUp() public {
        handler = new SealedHandler();
        handler.setUp();
    }

    function test_countsFalseFinals() public {
        handler.breakRule(SealedCoordinators.Broken.ChallengersSleep);
        handler.appoint(false);
        for (uint256 i = 0; i < 300 && handler.falseFinals() == 0; ++i) {
            _move(i);
        }
        vm.assertTrue(handler.falseFinals() > 0);
    }

    function test_countsLossesByLateAnswers() public {
        handler.breakRule(SealedCoordinators.Broken.AnswersComeLate);
        for (uint256 i = 0; i < 300 && handler.honestLosses() == 0; ++i) {
            _move(i);
            // Somebody asks all the time, and wants the bond for what is not answered.
            handler.grief(uint8(i), 0, uint64(i));
        }
        vm.assertTrue(handler.honestLosses() > 0);
    }

    function test_countsLateFinals() public {
        handler.breakRule(SealedCoordinators.Broken.NobodyFinalises);
        for (uint256 i = 0; i < 300 && handler.lateFinals() == 0; ++i) {
            _move(i);
        }
        vm.assertTrue(handler.lateFinals() > 0);
    }

    function test_countsLossesByLies() public {
        handler.breakRule(SealedCoordinators.Broken.HonestCoordinatorLies);
        for (uint256 i = 0; i < 300 && handler.honestLosses() == 0; ++i) {
            _move(i);
        }
        vm.assertTrue(handler.honestLosses() > 0);
    }

    function test_countsLossesByGroupsThatCannotBeOpened() public {
        handler.breakRule(SealedCoordinators.Broken.HonestCountsUnopened);
        for (uint256 i = 0; i < 600 && handler.honestLosses() == 0; ++i) {
            _move(i);
        }
        vm.assertTrue(handler.honestLosses() > 0);
    }

    function test_seesThatLiesArePaid() public {
        handler.breakRule(SealedCoordinators.Broken.LyingSideIsPaid);
        handler.pass(1);
        vm.assertFalse(handler.liesCostHalf());
    }

    function test_seesMoneyOfNobody() public {
        handler.breakRule(SealedCoordinators.Broken.MoneyAppears);
        handler.pass(1);
        vm.assertFalse(handler.isSolvent());
    }

    /// @dev The same play that the other tests here see, with nothing broken: no counter counts.
    function test_countsNothingWhereNothingIsBroken() public {
        for (uint256 i = 0; i < 200; ++i) {
            if (i % 50 == 0) handler.appoint(i % 100 == 0);
            _move(i);
        }
        vm.assertEq(handler.honestLosses() + handler.falseFinals() + handler.lateFinals(), 0);
        vm.assertEq(handler.wrongVerdicts() + handler.stolenVoices() + handler.secretsAsked(), 0);
        vm.assertTrue(handler.isSolvent());
        vm.assertTrue(handler.liesCostHalf());
    }

    /// @dev One of a fixed random sequence of moves.
    function _move(uint256 number) private {
        uint256 seed = uint256(keccak256(abi.encode(number)));
        (uint8 kind, uint8 who, uint64 amount) = (uint8(seed), uint8(seed >> 8), uint64(seed >> 16));
        uint256 which = (seed >> 80) % 8;
        if (which < 4) handler.coordinate(kind, amount);
        if (which == 4) handler.grief(kind, who, amount);
        if (which > 4) handler.pass(uint16(amount));
    }
}
