// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ScannedCode} from "./ScannedCode.sol";
import {IInferenceSession, Session, Stage} from "./interfaces/IInferenceSession.sol";
import {ProgramPart} from "./interfaces/IScannedCode.sol";
import {BoundedCall} from "./libraries/BoundedCall.sol";
import {Checkpoint} from "./libraries/Checkpoint.sol";
import {ProgramCode} from "./libraries/ProgramCode.sol";
import {Scores} from "./libraries/Scores.sol";

/// @title InferenceSession
/// @notice Predictions in several transactions; see `IInferenceSession`.
contract InferenceSession is IInferenceSession, ScannedCode {
    using ProgramCode for ProgramPart[];
    using Checkpoint for bytes;
    using Checkpoint for address[];
    using SafeCast for uint256;

    /// Most bytes of a state.
    uint256 public constant MAX_STATE = 1 << 20;
    /// Bytes of the last event beside the scores: four topics and three words.
    uint256 private constant EVENT_BYTES = 7 * 32;

    /// Gas beside what a stage is given, in the chain's own.
    uint256 private immutable _spareGas = BoundedCall.overhead();

    /// @inheritdoc IInferenceSession
    uint256 public sessionCount;

    /// Data contract of each stage. Slither does not see that `register` pushes to it through a pointer.
    // slither-disable-next-line uninitialized-state
    mapping(bytes32 program => address[]) private _stages;
    mapping(uint256 id => Session) private _sessions;
    mapping(uint256 id => int32[]) private _scores;

    /// @inheritdoc IInferenceSession
    function register(Stage[] calldata stages) external returns (bytes32 program) {
        program = keccak256(abi.encode(stages));
        address[] storage kept = _stages[program];
        if (kept.length != 0) return program;

        require(stages.length != 0, InvalidStages());
        for (uint256 i = 0; i < stages.length; ++i) {
            ProgramPart[] calldata parts = stages[i].parts;
            require(parts.length != 0 && parts.length <= MAX_PARTS && stages[i].gas != 0, InvalidStages());
            _requireProgram(parts);
            kept.push(abi.encode(stages[i]).write()[0]);
        }
        emit ProgramRegistered(program, stages.length);
    }

    /// @inheritdoc IInferenceSession
    function start(bytes32 program, bytes calldata input) external returns (uint256 id) {
        uint256 stages = stageCount(program);
        id = sessionCount + 1;
        sessionCount = id;
        Session storage started = _sessions[id];
        started.program = program;
        started.inputHash = keccak256(input);
        started.stages = stages.toUint32();
        emit SessionStarted(id, msg.sender, program, started.inputHash);
        _run(id, started, input);
    }

    /// @inheritdoc IInferenceSession
    function advance(uint256 id) external {
        Session storage continued = _started(id);
        require(continued.stagesDone < continued.stages, AlreadyFinished(id));
        _run(id, continued, continued.checkpoint.read());
    }

    /// @inheritdoc IInferenceSession
    function result(uint256 id) external view returns (int32[] memory scores) {
        Session storage finished = _started(id);
        require(finished.stagesDone == finished.stages, NotFinished(id, finished.stagesDone, finished.stages));
        return _scores[id];
    }

    /// @inheritdoc IInferenceSession
    function session(uint256 id) external view returns (Session memory) {
        return _started(id);
    }

    /// @inheritdoc IInferenceSession
    function stage(bytes32 program, uint256 index) external view returns (Stage memory) {
        require(index < stageCount(program), UnknownProgram(program));
        return _stage(program, index);
    }

    /// @inheritdoc IInferenceSession
    function stageCount(bytes32 program) public view returns (uint256 stages) {
        stages = _stages[program].length;
        require(stages != 0, UnknownProgram(program));
    }

    /// @dev Runs the next stage on `state`, with exactly its gas, and keeps what it returns. The calls are static, so
    ///      nothing re-enters; what a stage reverts with reaches the caller as it is.
    // slither-disable-next-line assembly
    function _run(uint256 id, Session storage running, bytes memory state) private {
        uint256 index = running.stagesDone;
        Stage memory next = _stage(running.program, index);
        next.parts.requirePinned();
        address entry = next.parts[0].account;
        (bool success, bytes memory output) = BoundedCall.run(entry, next.gas, _spareGas, state, MAX_STATE);
        if (!success && output.length != 0) {
            assembly ("memory-safe") {
                revert(add(output, 0x20), mload(output))
            }
        }
        require(success, StageFailed(entry, next.gas));

        running.stagesDone += 1;
        if (index + 1 < running.stages) {
            running.checkpoint = output.write();
            emit StageFinished(id, index, output.length);
        } else {
            _finish(id, running, entry, next.gas, output);
        }
    }

    function _finish(uint256 id, Session storage running, address entry, uint64 gas, bytes memory output)
        private
    {
        (bool valid, int32[] memory scores) = Scores.decode(output);
        require(valid, StageFailed(entry, gas));
        delete running.checkpoint;
        _scores[id] = scores;
        emit SessionFinished(
            id,
            running.program,
            running.inputHash,
            Scores.hashOf(scores),
            Scores.recorded(scores, EVENT_BYTES)
        );
    }

    function _stage(bytes32 program, uint256 index) private view returns (Stage memory) {
        address[] memory pointer = new address[](1);
        pointer[0] = _stages[program][index];
        return abi.decode(pointer.read(), (Stage));
    }

    function _started(uint256 id) private view returns (Session storage) {
        require(id != 0 && id <= sessionCount, UnknownSession(id));
        return _sessions[id];
    }
}
