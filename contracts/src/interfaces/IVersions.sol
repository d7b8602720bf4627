// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {IScannedCode, ProgramPart} from "./IScannedCode.sol";

/// @notice A version of the model: a program and where it comes from.
struct Version {
    /// Entry contract; must be the first of the parts.
    address program;
    /// Gas that each answer is given, in the chain's own: exactly this in its trial and whenever it is asked afterwards, so
    /// that code which answers by its gas has one answer for an input. Fixed with the version.
    uint64 gas;
    /// Federation that trained it, or zero: then the version has no lineage on chain, and round and model root are
    /// zero too.
    address federation;
    /// Final round of the federation.
    uint64 round;
    /// Model root of that round.
    bytes32 modelRoot;
    /// SHA-256 of the integer ONNX model that the program computes.
    bytes32 integerOnnxDigest;
    /// Binary CIDv1 of the float ONNX model in the store.
    bytes onnxCid;
    /// Entry contract and every other contract that it runs or reads.
    ProgramPart[] parts;
}

/// @title Versions of a model and its predictions
/// @notice That a program computes the model of the stated round is for anyone to check by compiling that model
///         again and comparing code hashes; the contract checks that the round is final with that model root,
///         that the code can be nothing but a function of its input and gas (`ProgramScanner`), that it always has the same gas,
///         and that it is what was registered.
interface IVersions is IScannedCode {
    /// @notice A version was registered.
    event VersionRegistered(
        uint256 indexed version,
        address indexed program,
        address indexed federation,
        uint64 gas,
        uint64 round,
        bytes32 modelRoot,
        bytes32 integerOnnxDigest,
        bytes onnxCid,
        ProgramPart[] parts
    );
    /// @notice From now on this version serves in place of the previous one, 0 if there was none.
    event VersionServes(uint256 indexed version, uint256 indexed previous);

    /// @notice A field of the version is empty or out of range.
    /// @param field Name of the field of `Version`.
    error InvalidVersion(string field);
    /// @notice Without a federation there is no round and no model root to state.
    error LineageWithoutFederation();
    /// @notice The federation's round is not final with the stated model root.
    error RoundNotFinal(address federation, uint64 round, bytes32 modelRoot);
    /// @notice No such version was registered.
    error UnknownVersion(uint256 version);
    /// @notice The version has never served: it has not passed the gate.
    error NotPassed(uint256 version);
    /// @notice The program failed without a reason, needs more than its gas, or returned what is no `int32[]`.
    error NoAnswer(address program, uint64 gas);
    /// @notice Another version serves than the caller expected.
    error VersionMismatch(uint256 expected, uint256 current);

    /// @notice Runs the serving version, with exactly its gas. Reverts with the program's own reason where it gives one.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return scores Integer outputs of the network.
    function predict(bytes calldata input) external view returns (int32[] memory scores);

    /// @notice Runs any version that serves or has served, with exactly its gas.
    /// @param versionId Number of the version.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return scores Integer outputs of the network.
    function predictWith(uint256 versionId, bytes calldata input)
        external
        view
        returns (int32[] memory scores);

    /// @notice Runs the serving version and takes the greatest of the scores that `predict` gives, the first among equals.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return label Index of the greatest score.
    function classify(bytes calldata input) external view returns (uint256 label);

    /// @return Number of the serving version, 0 before the first.
    function currentVersion() external view returns (uint256);

    /// @return Number of versions registered.
    function versionCount() external view returns (uint256);

    /// @param versionId Number of a version.
    /// @return Program and lineage.
    function version(uint256 versionId) external view returns (Version memory);
}
