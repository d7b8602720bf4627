// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {IScannedCode, ProgramPart} from "./IScannedCode.sol";

/// @notice A stage of a program.
struct Stage {
    /// Gas that it is given each time, exactly, in the chain's own: code that answers by its gas has one answer.
    uint64 gas;
    /// Its entry contract, then every other contract that it runs or reads.
    ProgramPart[] parts;
}

/// @notice How far a prediction has come.
struct Session {
    /// Staged program that it runs.
    bytes32 program;
    /// keccak-256 of the input.
    bytes32 inputHash;
    /// Stages done so far; all of them once it is finished.
    uint32 stagesDone;
    /// Stages of the program.
    uint32 stages;
    /// Contracts that hold the state between two stages, each behind a STOP; empty once it is finished.
    address[] checkpoint;
}

/// @title Predictions in several transactions
/// @notice A program too large for one transaction is compiled into stages, pure functions from the bytes of one
///         state to those of the next. A session runs them one a transaction and keeps the state on chain between
///         two. Whoever likes may take the next step: only the registered code runs, so who calls and with how
///         much gas, makes no difference to the scores, which are those that the program gives in one call.
interface IInferenceSession is IScannedCode {
    /// @notice A staged program can be run from now on.
    event ProgramRegistered(bytes32 indexed program, uint256 stages);
    /// @notice A session began; its input is the transaction's calldata.
    event SessionStarted(
        uint256 indexed id, address indexed caller, bytes32 indexed program, bytes32 inputHash
    );
    /// @notice A stage is done and its state kept.
    event StageFinished(uint256 indexed id, uint256 stage, uint256 stateBytes);
    /// @notice The last stage is done. `scoresHash` is keccak-256 of the scores as words of 32 bytes in a row; `scores` is
    ///         empty when there are more than 249, for which an event on Filecoin has no room: `result` has them.
    event SessionFinished(
        uint256 indexed id,
        bytes32 indexed program,
        bytes32 indexed inputHash,
        bytes32 scoresHash,
        int32[] scores
    );

    /// @notice There is no stage, or a stage has no gas, no parts, or more than `MAX_PARTS`.
    error InvalidStages();
    /// @notice A stage failed without a reason, needs more than its gas, returned more than 1 MiB, or was the last one and
    ///         returned what is no `int32[]`.
    error StageFailed(address entry, uint64 gas);
    /// @notice No such program was registered.
    error UnknownProgram(bytes32 program);
    /// @notice No such session was started.
    error UnknownSession(uint256 id);
    /// @notice Stages are left to run.
    error NotFinished(uint256 id, uint256 stagesDone, uint256 stages);
    /// @notice No stage is left to run.
    error AlreadyFinished(uint256 id);

    /// @notice Registers a staged program, anyone's; again is harmless. The code of every part is scanned, as a version's is.
    /// @param stages Its stages, in order.
    /// @return program keccak-256 of the ABI encoding of `stages`.
    function register(Stage[] calldata stages) external returns (bytes32 program);

    /// @notice Begins a prediction and runs its first stage, which refuses inputs of a wrong length.
    /// @param program A registered program.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return id Number of the session; the first is 1.
    function start(bytes32 program, bytes calldata input) external returns (uint256 id);

    /// @notice Runs the next stage of a session, anyone's.
    /// @param id Number of the session.
    function advance(uint256 id) external;

    /// @param id Number of a session that is finished.
    /// @return scores Integer outputs of the network.
    function result(uint256 id) external view returns (int32[] memory scores);

    /// @param id Number of a session.
    /// @return How far it has come.
    function session(uint256 id) external view returns (Session memory);

    /// @param program A registered program.
    /// @return Number of its stages.
    function stageCount(bytes32 program) external view returns (uint256);

    /// @param program A registered program.
    /// @param index Number of a stage, from 0 on.
    /// @return The stage.
    function stage(bytes32 program, uint256 index) external view returns (Stage memory);

    /// @return Number of sessions started.
    function sessionCount() external view returns (uint256);
}
