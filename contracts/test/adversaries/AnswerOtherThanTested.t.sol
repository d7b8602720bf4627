// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModelService} from "../../src/ModelService.sol";
import {IProgram} from "../../src/interfaces/IProgram.sol";
import {TrialState} from "../../src/interfaces/IPromotionGate.sol";
import {IVersions, ProgramPart, Version} from "../../src/interfaces/IVersions.sol";
import {BoundedCall} from "../../src/libraries/BoundedCall.sol";
import {Sample} from "../../src/libraries/SampleTree.sol";
import {GateFixture} from "../base/GateFixture.sol";
import {FICKLE_KINDS, FickleProgram, PureProgram} from "../programs/LinearProgram.sol";
import {RawProgram} from "../programs/RawProgram.sol";

/// @notice Right whenever it is asked `classify`, wrong whenever it is asked `predict`.
contract TwoFacedProgram is PureProgram {
    function _answer() internal pure override {
        bytes4 predict = PREDICT;
        assembly {
            let label := lt(byte(0, calldataload(0x44)), 25)
            if eq(shr(224, calldataload(0)), shr(224, predict)) {
                mstore(0x00, 0x20)
                mstore(0x20, 2)
                mstore(0x40, label)
                mstore(0x60, sub(1, label))
                return(0, 0x80)
            }
            mstore(0, label)
            return(0, 0x20)
        }
    }
}

/// @notice Whoever serves a version wants decisions that differ from the answers it passed its trial with.
contract AnswerOtherThanTestedTest is GateFixture {
    uint64 private constant NEVER = type(uint64).max;
    bytes private constant INPUT = hex"05050505";

    /// @dev H-3: what `classify` says is not looked at, by no trial and by no call of the service.
    function test_aProgramWithTwoFacesFails() public {
        address liar = address(new TwoFacedProgram());
        vm.assertEq(IProgram(liar).classify(INPUT), 1);
        failed(liar);
        ModelService open = openService(liar, ANSWER_GAS);
        (, int32[] memory scores) = open.decide(INPUT, 1, 0, NEVER);
        vm.assertTrue(scores[0] > scores[1]);
        vm.assertEq(open.classify(INPUT), 0);
    }

    /// @dev H-4: code that is a sensor of gas has one answer, that of its own gas, however much the caller sends along.
    function test_gasIsNoInput() public {
        uint64[2] memory limits = [uint64(20_000), ANSWER_GAS];
        for (uint256 k = 0; k < 2; ++k) {
            ModelService open = new ModelService(owner, noGate());
            Version memory version = sensor(limits[k]);
            vm.prank(owner);
            open.register(version);
            bytes memory decide = abi.encodeCall(open.decide, (INPUT, 1, 0, NEVER));
            uint256 answered = 0;
            for (uint256 gas = 60_000; gas < 3_000_000; gas += gas / 8) {
                (bool success, bytes memory output) = address(open).call{gas: gas}(decide);
                if (!success) {
                    vm.assertTrue(output.length == 0 || bytes4(output) == BoundedCall.TooLittleGas.selector);
                    vm.assertEq(answered, 0);
                    continue;
                }
                ++answered;
                (, int32[] memory scores) = abi.decode(output, (uint256, int32[]));
                // Its part runs with the greater gas only, and turns the answer round.
                vm.assertEq(int256(scores[0]), int256(k));
                vm.assertEq(int256(scores[1]), int256(1 - k));
            }
            vm.assertTrue(answered > 3);
        }
    }

    /// @dev The same for what is not recorded: contracts that read a prediction are decided by it too.
    function test_gasIsNoInputOfViews() public {
        Version memory version = sensor(ANSWER_GAS);
        ModelService open = new ModelService(owner, noGate());
        vm.prank(owner);
        open.register(version);
        bytes32 first = keccak256(abi.encode(open.predict(INPUT)));
        uint256 label = open.classify(INPUT);
        for (uint256 gas = 30_000; gas < 3_000_000; gas += gas / 8) {
            try open.predict{gas: gas}(INPUT) returns (int32[] memory scores) {
                vm.assertEq(keccak256(abi.encode(scores)), first);
            } catch {}
            try open.predictWith{gas: gas}(1, INPUT) returns (int32[] memory scores) {
                vm.assertEq(keccak256(abi.encode(scores)), first);
            } catch {}
            try open.classify{gas: gas}(INPUT) returns (uint256 found) {
                vm.assertEq(found, label);
            } catch {}
        }
    }

    /// @dev The sensor does sense: asked directly, it answers by its gas. Else the two tests above could not fail.
    function test_theSensorSenses() public {
        address program = sensor(ANSWER_GAS).program;
        int32[] memory poorly = IProgram(program).predict{gas: 20_000}(INPUT);
        int32[] memory richly = IProgram(program).predict{gas: 2_000_000}(INPUT);
        vm.assertTrue(poorly[0] != richly[0]);
    }

    /// @dev Trial and decision give a version the same gas: what passes with it is what is recorded with it.
    function test_theTrialGivesTheGasOfTheDecisions() public {
        // Right with this little gas, wrong with more.
        Version memory version = sensor(20_000);
        version.federation = address(federation);
        version.round = roundId;
        version.modelRoot = federation.round(roundId).modelRoot;
        uint256 id = register(version);
        draw();
        // However much there is for the trial.
        while (gate.pendingTrial() != 0) {
            uint32 asked = gate.trial(id).asked;
            gate.runSamples{gas: 20_000_000}(asked, next(1));
        }
        vm.assertTrue(gate.trial(id).state == TrialState.Passed);
        uint256 rightly = 0;
        for (uint256 i = 0; i < 12; ++i) {
            Sample memory sample = sampleOf(i);
            uint64[3] memory gas = [uint64(300_000), 1_000_000, 8_000_000];
            for (uint256 k = 0; k < 3; ++k) {
                (, int32[] memory scores) = service.decide{gas: gas[k]}(sample.input, id, 0, NEVER);
                if ((scores[1] > scores[0] ? 1 : 0) == sample.label) ++rightly;
            }
        }
        vm.assertEq(rightly, 36);
        // And the other way round: with more gas it is wrong in both.
        version.gas = ANSWER_GAS;
        id = register(version);
        draw();
        runUntilOver();
        vm.assertTrue(gate.trial(id).state == TrialState.Failed);
    }

    /// @dev Nothing but one encoding of scores is an answer, of decisions as of trials; and a program cannot make its user
    ///      pay for copying what it returns or reverts with.
    function test_decidesOnWhatATrialCouldReadOnly() public {
        FickleProgram fickle = new FickleProgram();
        ModelService open = openService(address(fickle), ANSWER_GAS);
        for (uint256 kind = 0; kind < FICKLE_KINDS; ++kind) {
            bytes memory input = abi.encodePacked(uint8(kind), uint24(0));
            // 2 and 3 are other numbers of scores, which a service without classes cannot know to be wrong.
            bool answers = kind < 4;
            if (!answers) {
                vm.expectRevert(
                    abi.encodeWithSelector(IVersions.NoAnswer.selector, address(fickle), ANSWER_GAS)
                );
            }
            open.decide{gas: 400_000}(input, 1, 0, NEVER);
        }
        vm.assertEq(open.decisionCount(), 4);
    }

    /// @dev A version whose program lacks gas has no answer at all, rather than another.
    function test_tooLittleGasForTheProgramIsNoAnswer() public {
        ModelService open = openService(address(right), 100);
        vm.expectRevert(abi.encodeWithSelector(IVersions.NoAnswer.selector, address(right), 100));
        open.decide(INPUT, 1, 0, NEVER);
        vm.expectRevert(abi.encodeWithSelector(IVersions.NoAnswer.selector, address(right), 100));
        open.predict(INPUT);
    }

    function test_manyDecisionsEachHaveTheSameGas() public {
        Version memory version = sensor(ANSWER_GAS);
        ModelService open = new ModelService(owner, noGate());
        vm.prank(owner);
        open.register(version);
        int32[] memory alone = open.predict(INPUT);
        bytes[] memory inputs = new bytes[](5);
        for (uint256 i = 0; i < 5; ++i) {
            inputs[i] = INPUT;
        }
        bytes memory call = abi.encodeCall(open.decideMany, (inputs, 1, 0, NEVER));
        uint256 answered = 0;
        for (uint256 gas = 200_000; gas < 3_000_000; gas += gas / 8) {
            (bool success, bytes memory output) = address(open).call{gas: gas}(call);
            if (!success) continue;
            ++answered;
            (, int32[][] memory scores) = abi.decode(output, (uint256, int32[][]));
            for (uint256 i = 0; i < 5; ++i) {
                vm.assertEq(abi.encode(scores[i]), abi.encode(alone));
            }
        }
        vm.assertTrue(answered > 3);
    }

    /// @dev Right when a part that burns 24,000 gas ran out of it, wrong when it did not. All of its code is lawful.
    function sensor(uint64 gas) private returns (Version memory version) {
        bytes memory burner = new bytes(24_000);
        for (uint256 i = 0; i < burner.length; ++i) {
            burner[i] = 0x5b;
        }
        address part = RawProgram.deploy(burner);
        bytes memory code = abi.encodePacked(
            // Whether the part ran; whether the input's first byte is below 25; their exclusive or is the label.
            hex"5f5f5f5f73",
            part,
            hex"5afa60443560f81c60191118",
            // Offset 32, two scores, 1 where the label is.
            hex"60205f526002602052806060526001186040526080" hex"5ff3"
        );
        address program = RawProgram.deploy(code);
        version = standaloneVersion(program);
        version.gas = gas;
        version.parts = new ProgramPart[](2);
        version.parts[0] = ProgramPart(program, program.codehash);
        version.parts[1] = ProgramPart(part, part.codehash);
    }

    function openService(address program, uint64 gas) private returns (ModelService open) {
        open = new ModelService(owner, noGate());
        Version memory version = standaloneVersion(program);
        version.gas = gas;
        vm.prank(owner);
        open.register(version);
    }
}
