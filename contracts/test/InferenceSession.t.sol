// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {InferenceSession} from "../src/InferenceSession.sol";
import {IInferenceSession, Session, Stage} from "../src/interfaces/IInferenceSession.sol";
import {IScannedCode, ProgramPart} from "../src/interfaces/IScannedCode.sol";
import {Checkpoint} from "../src/libraries/Checkpoint.sol";
import {TestBase} from "./base/TestBase.sol";
import {COPIES, EmptyInput, GrowingStage, ScoringStage} from "./programs/Stages.sol";

/// @notice The library's function with a limit of gas.
contract CheckpointCaller {
    function write(bytes memory data) external returns (address[] memory) {
        return Checkpoint.write(data);
    }

    function read(address[] memory pointers) external view returns (bytes memory) {
        return Checkpoint.read(pointers);
    }
}

/// @notice Programs in stages, sessions, and the state kept between two.
contract InferenceSessionTest is TestBase {
    InferenceSession private sessions;
    GrowingStage private growing;
    ScoringStage private scoring;

    function setUp() public {
        sessions = new InferenceSession();
        growing = new GrowingStage();
        scoring = new ScoringStage();
    }

    function test_runsAllStagesWhoeverCalls() public {
        bytes32 program = sessions.register(twoStages());
        vm.assertEq(sessions.stageCount(program), 2);
        vm.assertEq(abi.encode(sessions.stage(program, 1)), abi.encode(twoStages()[1]));
        uint256 id = sessions.start(program, hex"010203");
        vm.assertEq(id, 1);
        vm.assertEq(sessions.session(id).stagesDone, 1);
        vm.prank(address(0xbeef));
        sessions.advance(id);
        int32[] memory scores = sessions.result(id);
        vm.assertEq(uint256(int256(scores[0])), 6 * COPIES);
        vm.assertEq(sessions.session(id).checkpoint.length, 0);
    }

    function test_keepsStatesLargerThanOneContract() public {
        bytes32 program = sessions.register(twoStages());
        bytes memory input = new bytes(400);
        for (uint256 i = 0; i < input.length; ++i) {
            input[i] = bytes1(uint8(i));
        }
        uint256 id = sessions.start(program, input);
        vm.assertEq(sessions.session(id).checkpoint.length, (400 * COPIES + 24_574) / 24_575);
        sessions.advance(id);
        uint256 sum = 0;
        for (uint256 i = 0; i < input.length; ++i) {
            sum += uint8(i);
        }
        vm.assertEq(uint256(int256(sessions.result(id)[0])), sum * COPIES);
    }

    function test_readsStatesAsTheyWereWritten() public {
        CheckpointCaller caller = new CheckpointCaller();
        uint256[6] memory sizes = [uint256(0), 1, 24_575, 24_576, 49_150, 49_151];
        for (uint256 i = 0; i < sizes.length; ++i) {
            bytes memory state = new bytes(sizes[i]);
            for (uint256 j = 0; j < sizes[i]; j += 97) {
                state[j] = bytes1(uint8(j / 97 + 1));
            }
            vm.assertEq(caller.read(caller.write(state)), state);
        }
    }

    function test_saysWhenTheGasIsTooLittleForAState() public {
        CheckpointCaller caller = new CheckpointCaller();
        vm.assertEq(caller.write(new bytes(24_575)).length, 1);
        // Creating a contract of that size takes five million.
        vm.expectRevert(abi.encodeWithSelector(Checkpoint.CheckpointFailed.selector));
        caller.write{gas: 4_000_000}(new bytes(24_575));
    }

    function test_registersAgainWithoutHarm() public {
        bytes32 program = sessions.register(twoStages());
        vm.assertEq(sessions.register(twoStages()), program);
        vm.assertEq(sessions.stageCount(program), 2);
    }

    function test_refusesProgramsWithoutStagesOrParts() public {
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.InvalidStages.selector));
        sessions.register(new Stage[](0));
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.InvalidStages.selector));
        sessions.register(new Stage[](1));
        Stage[] memory stages = twoStages();
        stages[1].gas = 0;
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.InvalidStages.selector));
        sessions.register(stages);
        stages[1].gas = 1;
        stages[1].parts = new ProgramPart[](101);
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.InvalidStages.selector));
        sessions.register(stages);
    }

    function test_refusesCodeThatIsNotPinned() public {
        Stage[] memory stages = twoStages();
        stages[0].parts[0].codeHash = bytes32(uint256(1));
        vm.expectRevert(
            abi.encodeWithSelector(
                IScannedCode.CodeHashMismatch.selector,
                address(growing),
                bytes32(uint256(1)),
                address(growing).codehash
            )
        );
        sessions.register(stages);
    }

    function test_refusesUnknownProgramsAndSessions() public {
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.UnknownProgram.selector, bytes32(0)));
        sessions.start(bytes32(0), "");
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.UnknownSession.selector, 1));
        sessions.advance(1);
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.UnknownSession.selector, 0));
        sessions.session(0);
        bytes32 program = sessions.register(twoStages());
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.UnknownProgram.selector, program));
        sessions.stage(program, 2);
    }

    function test_refusesResultsTooEarlyAndStagesTooMany() public {
        uint256 id = sessions.start(sessions.register(twoStages()), hex"01");
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.NotFinished.selector, id, 1, 2));
        sessions.result(id);
        sessions.advance(id);
        vm.expectRevert(abi.encodeWithSelector(IInferenceSession.AlreadyFinished.selector, id));
        sessions.advance(id);
    }

    function test_passesOnWhatAStageRevertsWith() public {
        bytes32 program = sessions.register(twoStages());
        vm.expectRevert(abi.encodeWithSelector(EmptyInput.selector));
        sessions.start(program, "");
        vm.assertEq(sessions.sessionCount(), 0);
    }

    function test_aStageMayBeScannedBeforehand() public {
        Stage[] memory stages = twoStages();
        sessions.scanPart(stages[0].parts, 0);
        sessions.scanPart(stages[1].parts, 0);
        bytes32 program = sessions.register(stages);
        vm.assertEq(program, keccak256(abi.encode(stages)));
        vm.assertEq(abi.encode(sessions.stage(program, 0)), abi.encode(stages[0]));
    }

    function test_otherGasIsAnotherProgram() public {
        Stage[] memory stages = twoStages();
        bytes32 program = sessions.register(stages);
        stages[1].gas += 1;
        vm.assertTrue(sessions.register(stages) != program);
    }

    function twoStages() private view returns (Stage[] memory stages) {
        stages = new Stage[](2);
        stages[0] = stageOf(address(growing));
        stages[1] = stageOf(address(scoring));
    }

    function stageOf(address entry) private view returns (Stage memory stage) {
        stage.gas = 5_000_000;
        stage.parts = new ProgramPart[](1);
        stage.parts[0] = ProgramPart(entry, entry.codehash);
    }
}
