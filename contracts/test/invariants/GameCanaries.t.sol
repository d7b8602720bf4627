// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../base/TestBase.sol";
import {GameHandler} from "./GameHandler.sol";
import {GameLedger} from "./GameLedger.sol";

/// @notice The campaign can fail: where one rule of the honest is broken, the counter of that rule counts.
contract GameCanariesTest is TestBase {
    GameHandler private handler;

    function setUp() public {
        handler = new GameHandler();
        handler.setUp();
    }

    function test_countsFalseFinals() public {
        _play(GameLedger.Broken.ChallengersSleep, false);
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
        _play(GameLedger.Broken.NobodyFinalises, true);
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
        _play(GameLedger.Broken.HonestCoordinatorLies, true);
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

    function test_seesThatLiesArePaid() public {
        _play(GameLedger.Broken.LyingSideIsPaid, false);
        vm.assertFalse(handler.liesCostHalf());
    }

    function test_seesMoneyOfNobody() public {
        _play(GameLedger.Broken.MoneyAppears, false);
        vm.assertFalse(handler.isSolvent());
    }

    /// @dev The same play that the other tests here see, with nothing broken: no counter counts.
    function test_countsNothingWhereNothingIsBroken() public {
        _play(GameLedger.Broken.None, true);
        _play(GameLedger.Broken.None, false);
        vm.assertEq(handler.honestLosses() + handler.falseFinals() + handler.lateFinals(), 0);
        vm.assertEq(handler.wrongVerdicts() + handler.turnedIntoLies() + handler.stolenVoices(), 0);
        vm.assertTrue(handler.isSolvent());
        vm.assertTrue(handler.liesCostHalf());
    }

    /// @dev A fixed random play, of the honest coordinator or the liar.
    function _play(GameLedger.Broken rule, bool honest) private {
        handler.breakRule(rule);
        for (uint256 i = 0; i < 300; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            (uint8 kind, uint8 who, uint64 amount) = (uint8(seed), uint8(seed >> 8), uint64(seed >> 16));
            uint256 which = (seed >> 80) % 8;
            if (i % 20 == 0) handler.own_(0, 0, honest ? 0 : 1);
            if (which < 3) handler.coordinate(kind, who, amount);
            if (which == 3) handler.member(who, kind % 3, amount);
            if (which == 4) handler.grief(kind, who, amount);
            if (which == 5) handler.reorganise(kind, amount, who);
            if (which > 5) handler.pass(uint16(amount));
        }
    }
}
