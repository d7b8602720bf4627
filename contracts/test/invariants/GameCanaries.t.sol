// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../base/TestBase.sol";
import {GameHandler} from "./GameHandler.sol";
import {GameLedger} from "./GameLedger.sol";

/// @notice The campaign can fail: where one rule of the honest is broken, the counter of that rule counts.
contract CanariesInvariantTest is TestBase {
    GameHandler private handler;

    function setUp() public {
        handler = new GameHandler();
        handler.setUp();
    }

    function test_countsFalseFinals() public {
        handler.breakRule(GameLedger.Broken.ChallengersSleep);
        for (uint256 i = 0; i < 300 && handler.falseFinals() == 0; ++i) {
            _move(i, false);
        }
        vm.assertTrue(handler.falseFinals() > 0);
    }

    function test_countsLossesByLateAnswers() public {
        handler.breakRule(GameLedger.Broken.AnswersComeLate);
        handler.coordinate(0, 0, 0);
        handler.coordinate(1, 7, 0);
        handler.coordinate(2, 7, 0);
        handler.grief(0, 0, 0);
        handler.pass(599);
        handler.pass(300);
        vm.assertEq(handler.honestLosses(), 0);
        handler.grief(5, 0, 0);
        vm.assertEq(handler.honestLosses(), 1);
    }

    function test_countsLateFinals() public {
        handler.breakRule(GameLedger.Broken.NobodyFinalises);
        for (uint256 i = 0; i < 300 && handler.lateFinals() == 0; ++i) {
            _move(i, true);
        }
        vm.assertTrue(handler.lateFinals() > 0);
    }

    function test_countsLossesByVectorsThatDoNotCome() public {
        handler.breakRule(GameLedger.Broken.VectorsAreNotPosted);
        handler.own_(0, 0, 1);
        handler.coordinate(0, 0, 1);
        // Member 0 submits itself; the coordinator demands its vector, which does not come, and gives it up.
        handler.member(0, 1, 0);
        handler.coordinate(4, 0, 0);
        vm.assertEq(handler.honestLosses(), 0);
        handler.pass(599);
        handler.grief(9, 0, 0);
        vm.assertEq(handler.honestLosses(), 1);
    }

    function test_countsLossesByLies() public {
        handler.breakRule(GameLedger.Broken.HonestCoordinatorLies);
        for (uint256 i = 0; i < 300 && handler.honestLosses() == 0; ++i) {
            _move(i, true);
        }
        vm.assertTrue(handler.honestLosses() > 0);
    }

    function test_countsLossesByMisjudgedRollups() public {
        handler.breakRule(GameLedger.Broken.RollupsMisjudge);
        for (uint64 seed = 0; seed < 40 && handler.turnedIntoLies() == 0; seed += 2) {
            handler.coordinate(0, 0, 0);
            handler.reorganise(0, seed, 63);
            handler.pass(599);
        }
        vm.assertEq(handler.turnedIntoLies(), 1);
        vm.assertEq(handler.honestLosses(), 1);
    }

    /// @dev The liar leaves a false roll-up to others, and one of them builds on it.
    function test_countsLossesOverRollupsThatNobodyJudged() public {
        handler.breakRule(GameLedger.Broken.StrangersTrustRollups);
        handler.own_(0, 0, 1);
        handler.coordinate(0, 0, 1);
        handler.coordinate(0, 7, (2 << 16) + 2);
        for (uint256 i = 0; i < 4; ++i) {
            handler.pass(999);
        }
        handler.coordinate(0, 0, 1);
        vm.assertEq(handler.reached("taken over: honest"), 1);
        handler.pass(999);
        vm.assertEq(handler.honestLosses(), 1);
    }

    /// @dev Where it is true they bring the round to its end, and the liar has its bond back.
    function test_strangersEndWhatTheCoordinatorLeaves() public {
        handler.own_(0, 0, 1);
        handler.coordinate(0, 0, 1);
        handler.coordinate(0, 7, 0);
        for (uint256 i = 0; i < 4; ++i) {
            handler.pass(999);
        }
        handler.coordinate(0, 0, 1);
        handler.pass(999);
        vm.assertEq(handler.reached("final: another's"), 1);
        vm.assertEq(handler.honestLosses(), 0);
    }

    function test_seesThatLiesArePaid() public {
        handler.breakRule(GameLedger.Broken.LyingSideIsPaid);
        handler.pass(1);
        vm.assertFalse(handler.liesCostHalf());
    }

    function test_seesMoneyOfNobody() public {
        handler.breakRule(GameLedger.Broken.MoneyAppears);
        handler.pass(1);
        vm.assertFalse(handler.isSolvent());
    }

    /// @dev The same play that the other tests here see, with nothing broken: no counter counts.
    function test_countsNothingWhereNothingIsBroken() public {
        for (uint256 i = 0; i < 200; ++i) {
            _move(i, i > 100);
        }
        vm.assertEq(handler.honestLosses() + handler.falseFinals() + handler.lateFinals(), 0);
        vm.assertEq(handler.wrongVerdicts() + handler.turnedIntoLies() + handler.stolenVoices(), 0);
        vm.assertTrue(handler.isSolvent());
        vm.assertTrue(handler.liesCostHalf());
    }

    /// @dev One of a fixed random sequence of moves, in rounds of the honest coordinator or of the liar.
    function _move(uint256 number, bool honest) private {
        uint256 seed = uint256(keccak256(abi.encode(number)));
        (uint8 kind, uint8 who, uint64 amount) = (uint8(seed), uint8(seed >> 8), uint64(seed >> 16));
        uint256 which = (seed >> 80) % 8;
        if (number % 20 == 0) handler.own_(0, 0, honest ? 0 : 1);
        if (which < 3) handler.coordinate(kind, who, amount);
        if (which == 3) handler.member(who, kind % 3, amount);
        if (which == 4) handler.grief(kind, who, amount);
        if (which == 5) handler.reorganise(kind, amount, who);
        if (which > 5) handler.pass(uint16(amount));
    }
}
