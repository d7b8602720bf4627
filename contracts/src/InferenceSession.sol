// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IInferenceSession, Session} from "./interfaces/IInferenceSession.sol";
import {ProgramPart} from "./interfaces/IVersions.sol";
import {Checkpoint} from "./libraries/Checkpoint.sol";
import {ProgramCode} from "./libraries/ProgramCode.sol";

/// @title InferenceSession
/// @notice Predictions in several transactions; see `IInferenceSession`.
contract InferenceSession is IInferenceSession {
    using ProgramCode for ProgramPart[];
    using Checkpoint for bytes;
    using Checkpoint for address[];
    using SafeCast for uint256;

    /// Most contracts of a stage: their list must fit one data contract.
    uint256 public constant MAX_PARTS = 100;

    /// @inheritdoc IInferenceSession
    uint256 public sessionCount;

    /// Data contract of each stage's parts. Slither does not see that `register` pushes to it through a pointer.
    // slither-disable-next-line uninitialized-state
    mapping(bytes32 program => address[]) private _stages;
    mapping(uint256 id => Session) private _sessions;
    mapping(uint256 id => int32[]) private _scores;

    /// @inheritdoc IInferenceSession
    function register(ProgramPart[][] calldata stages) external returns (bytes32 program) {
        program = keccak256(abi.encode(stages));
        address[] storage kept = _stages[program];
        if (kept.length != 0) return program;

        require(stages.length != 0, InvalidStages());
        for (uint256 i = 0; i < stages.length; ++i) {
            ProgramPart[] calldata parts = stages[i];
            require(parts.length != 0 && parts.length <= MAX_PARTS, InvalidStages());
            parts.requirePinned();
            kept.push(abi.encode(parts).write()[0]);
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
    function stage(bytes32 program, uint256 index) external view returns (ProgramPart[] memory) {
        require(index < stageCount(program), UnknownProgram(program));
        return _stage(program, index);
    }

    /// @inheritdoc IInferenceSession
    function stageCount(bytes32 program) public view returns (uint256 stages) {
        stages = _stages[program].length;
        require(stages != 0, UnknownProgram(program));
    }

    /// @dev Runs the next stage on `state` and keeps what it returns. The calls are static, so nothing re-enters; what
    ///      a stage reverts with reaches the caller as it is.
    function _run(uint256 id, Session storage running, bytes memory state) private {
        bytes32 program = running.program;
        uint256 index = running.stagesDone;
        ProgramPart[] memory parts = _stage(program, index);
        parts.requirePinned();
        bytes memory next = Address.functionStaticCall(parts[0].account, state);

        running.stagesDone += 1;
        if (index + 1 < running.stages) {
            running.checkpoint = next.write();
            emit StageFinished(id, index, next.length);
        } else {
            int32[] memory scores = abi.decode(next, (int32[]));
            delete running.checkpoint;
            _scores[id] = scores;
            emit SessionFinished(id, program, running.inputHash, scores);
        }
    }

    function _stage(bytes32 program, uint256 index) private view returns (ProgramPart[] memory) {
        address[] memory pointer = new address[](1);
        pointer[0] = _stages[program][index];
        return abi.decode(pointer.read(), (ProgramPart[]));
    }

    function _started(uint256 id) private view returns (Session storage) {
        require(id != 0 && id <= sessionCount, UnknownSession(id));
        return _sessions[id];
    }
}
