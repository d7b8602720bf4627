// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {InferenceSession} from "../../src/InferenceSession.sol";
import {ModelService} from "../../src/ModelService.sol";
import {IDecisions} from "../../src/interfaces/IDecisions.sol";
import {IInferenceSession, Stage} from "../../src/interfaces/IInferenceSession.sol";
import {ProgramPart, Version} from "../../src/interfaces/IVersions.sol";
import {ServiceFixture} from "../base/ServiceFixture.sol";
import {Vm} from "../base/Vm.sol";
import {WideProgram} from "../programs/LinearProgram.sol";

/// @notice Whoever would rather have no record wants inputs or scores that no event holds: more than 8 KiB of topics and data
///         revert on Filecoin.
contract SilenceTheRecordTest is ServiceFixture {
    uint256 private constant MAX_EVENT = 8192;

    ModelService private service;

    function setUp() public override {
        super.setUp();
        service = new ModelService(owner, noGate());
        Version memory version = standaloneVersion(address(new WideProgram()));
        version.gas = 5_000_000;
        vm.prank(owner);
        service.register(version);
    }

    /// @dev 4 KiB of input and a thousand scores.
    function test_aLargeDecisionIsRecorded() public {
        bytes memory input = inputOf(4096, 1000);
        int32[] memory none = new int32[](0);
        vm.expectEmit();
        emit IDecisions.Decision(1, address(this), 1, keccak256(input), input, 999, hashOf(1000), none);
        (, int32[] memory scores) = service.decide(input, 1, 0, type(uint64).max);
        vm.assertEq(scores.length, 1000);
        vm.assertEq(abi.encode(scores), abi.encode(rising(1000)));
    }

    /// @dev The last score that fits, and the first that does not, beside each kind of input.
    function test_scoresAreThereExactlyWhenTheyFit() public {
        uint256[5] memory sizes = [uint256(2), 32, 33, 4096, 4097];
        for (uint256 i = 0; i < sizes.length; ++i) {
            uint256 recorded = sizes[i] > 4096 ? 0 : (sizes[i] + 31) / 32;
            uint256 most = 245 - recorded;
            for (uint256 count = most; count <= most + 1; ++count) {
                vm.recordLogs();
                service.decide(inputOf(sizes[i], count), 1, 0, type(uint64).max);
                Vm.Log memory log = lastLog();
                uint256 bytes_ = log.topics.length * 32 + log.data.length;
                vm.assertLe(bytes_, MAX_EVENT);
                (,, uint32 label, bytes32 hash, int32[] memory scores) =
                    abi.decode(log.data, (bytes32, bytes, uint32, bytes32, int32[]));
                vm.assertEq(uint256(label), count - 1);
                vm.assertEq(hash, hashOf(count));
                vm.assertEq(scores.length, count == most ? count : 0);
                // One score more would not have fitted.
                if (count == most) vm.assertTrue(bytes_ + 32 > MAX_EVENT);
            }
        }
    }

    /// @dev Whatever is decided, together or alone, the event fits and holds what was computed.
    function testFuzz_everyDecisionIsRecorded(uint16 size, uint16 count) public {
        uint256 length = bound(size, 2, 9000);
        uint256 wanted = bound(count, 1, 3000);
        bytes[] memory inputs = new bytes[](2);
        inputs[0] = inputOf(length, wanted);
        inputs[1] = inputOf(2, 1);
        vm.recordLogs();
        service.decideMany(inputs, 1, 0, type(uint64).max);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2);
        for (uint256 i = 0; i < 2; ++i) {
            vm.assertLe(logs[i].topics.length * 32 + logs[i].data.length, MAX_EVENT);
            (bytes32 inputHash,,, bytes32 hash,) =
                abi.decode(logs[i].data, (bytes32, bytes, uint32, bytes32, int32[]));
            vm.assertEq(inputHash, keccak256(inputs[i]));
            vm.assertEq(hash, hashOf(i == 0 ? wanted : 1));
        }
    }

    /// @dev A prediction in stages ends, too, however many scores it has.
    function test_aSessionWithManyScoresEnds() public {
        InferenceSession sessions = new InferenceSession();
        Stage[] memory stages = new Stage[](1);
        address entry = address(new WideProgram());
        stages[0].gas = 5_000_000;
        stages[0].parts = new ProgramPart[](1);
        stages[0].parts[0] = ProgramPart(entry, entry.codehash);
        bytes32 program = sessions.register(stages);
        uint256[3] memory counts = [uint256(249), 250, 1000];
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory input = abi.encodePacked(uint16(counts[i]));
            int32[] memory shown = i == 0 ? rising(counts[i]) : new int32[](0);
            vm.expectEmit();
            emit IInferenceSession.SessionFinished(i + 1, program, keccak256(input), hashOf(counts[i]), shown);
            vm.recordLogs();
            uint256 id = sessions.start(program, input);
            Vm.Log memory log = lastLog();
            vm.assertLe(log.topics.length * 32 + log.data.length, MAX_EVENT);
            vm.assertEq(abi.encode(sessions.result(id)), abi.encode(rising(counts[i])));
        }
    }

    function lastLog() private returns (Vm.Log memory) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        return logs[logs.length - 1];
    }

    function inputOf(uint256 length, uint256 scores) private pure returns (bytes memory input) {
        input = new bytes(length);
        (input[0], input[1]) = (bytes1(uint8(scores >> 8)), bytes1(uint8(scores)));
    }

    function hashOf(uint256 count) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(rising(count)));
    }

    function rising(uint256 count) private pure returns (int32[] memory scores) {
        scores = new int32[](count);
        for (uint256 i = 0; i < count; ++i) {
            scores[i] = int32(uint32(i));
        }
    }
}
