// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPromotionGate, TrialState} from "../../src/interfaces/IPromotionGate.sol";
import {ProgramPart, Version} from "../../src/interfaces/IVersions.sol";
import {ProgramCode} from "../../src/libraries/ProgramCode.sol";
import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {GateFixture} from "../base/GateFixture.sol";
import {LinearProgram} from "../programs/LinearProgram.sol";
import {RawProgram} from "../programs/RawProgram.sol";

/// @notice A federation of its owner's own: any round is final, with any root, and was opened just now.
contract MadeUpFederation {
    bytes32 private immutable _root;

    constructor(bytes32 root) {
        _root = root;
    }

    function round(uint64) external view returns (Round memory made) {
        made.state = RoundState.Final;
        made.modelRoot = _root;
        made.openedAt = uint48(block.timestamp);
    }

    function ruleBook() external view returns (address) {
        return address(this);
    }

    function roundRulesHash(uint64) external pure returns (bytes32) {
        return keccak256("rules");
    }
}

/// @notice An owner whose model is bad wants so many trials that one passes by luck.
contract GuessUntilItPassesTest is GateFixture {
    /// @dev m-3: no label makes new attempts: another digest, round or federation, real or made up, other gas, other code.
    function test_noLabelGivesAnotherAttempt() public {
        failed(address(wrong));
        lose(relabelled(address(new LinearProgram(-1)), 1));
        lose(relabelled(address(new LinearProgram(-2)), 2));
        vm.assertEq(uint256(gate.trialsLost()), ATTEMPTS);
        for (uint256 i = 0; i < 6; ++i) {
            Version memory version = relabelled(address(new LinearProgram(int32(-10 - int256(i)))), i);
            vm.expectRevert(abi.encodeWithSelector(IPromotionGate.AttemptsUsedUp.selector, ATTEMPTS));
            vm.prank(owner);
            service.register{value: GATE_BOND}(version);
        }
    }

    /// @dev Code that failed is not tried again under another name, with other gas, or from another address.
    function test_theSameCodeFailsOnce() public {
        failed(address(wrong));
        bytes32 code = ProgramCode.hashOf(standaloneVersion(address(wrong)).parts);
        for (uint256 i = 0; i < 6; ++i) {
            Version memory version =
                relabelled(i % 2 == 0 ? address(wrong) : address(new LinearProgram(0)), i);
            vm.expectRevert(abi.encodeWithSelector(IPromotionGate.CodeFailed.selector, code));
            vm.prank(owner);
            service.register{value: GATE_BOND}(version);
        }
        // Its parts are its code, too: with data beside it, it is another program, and costs an attempt.
        Version memory padded = standaloneVersion(address(wrong));
        padded.parts = new ProgramPart[](2);
        padded.parts[0] = ProgramPart(address(wrong), address(wrong).codehash);
        address data = RawProgram.deploy(hex"0001");
        padded.parts[1] = ProgramPart(data, data.codehash);
        lose(padded);
        vm.assertEq(uint256(gate.trialsLost()), 2);
    }

    /// @dev A good version that passes between bad ones gives these no attempt back.
    function test_passingGivesNothingBack() public {
        for (uint256 i = 0; i < ATTEMPTS; ++i) {
            passed(address(right));
            lose(relabelled(address(new LinearProgram(int32(-int256(i)))), i));
            vm.assertEq(uint256(gate.trialsLost()), i + 1);
        }
        Version memory version = standaloneVersion(address(right));
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.AttemptsUsedUp.selector, ATTEMPTS));
        vm.prank(owner);
        service.register{value: GATE_BOND}(version);
    }

    /// @dev Walking away from a trial that goes badly, or from a draw that suits not, is losing it.
    function test_walkingAwayIsLosing() public {
        uint256 id = register(standaloneVersion(address(half)));
        vm.roll(gate.trial(id).seedBlock + 8192);
        gate.lapse();
        vm.assertEq(uint256(gate.trialsLost()), 1);
        id = register(standaloneVersion(address(half)));
        draw();
        runNext(1);
        vm.warp(gate.trial(id).until + 1);
        gate.lapse();
        vm.assertEq(uint256(gate.trialsLost()), 2);
        vm.assertEq(gate.burnt(), 2 * GATE_BOND);
    }

    function lose(Version memory version) private {
        uint256 id = register(version);
        draw();
        runUntilOver();
        vm.assertTrue(gate.trial(id).state == TrialState.Failed);
    }

    /// @dev The same program by any other name.
    function relabelled(address program, uint256 how) private returns (Version memory version) {
        version = standaloneVersion(program);
        if (how % 6 == 0) version.integerOnnxDigest = keccak256(abi.encode(how));
        if (how % 6 == 1) version.onnxCid = cidOf("another");
        if (how % 6 == 2) version = federatedVersion(program);
        if (how % 6 == 3) version.gas += 1;
        if (how % 6 > 3) {
            version.federation = address(new MadeUpFederation(keccak256(abi.encode(how))));
            version.round = uint64(how);
            version.modelRoot = keccak256(abi.encode(how));
        }
    }
}
