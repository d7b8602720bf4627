// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A contract that a program consists of, and the code it must have.
struct ProgramPart {
    address account;
    /// keccak-256 of its runtime code (EXTCODEHASH).
    bytes32 codeHash;
}

/// @notice A version of the model: a program and where it comes from.
struct Version {
    /// Entry contract; must be the first of the parts.
    address program;
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

/// @title Versions of a model, its predictions, and the decisions taken with it
/// @notice That a program computes the model of the stated round is for anyone to check by compiling that model
///         again and comparing code hashes; the contract checks that the round is final with that model root, and
///         that the code is what was registered.
interface IModelService {
    /// @notice A version was registered and serves from now on.
    event VersionRegistered(
        uint256 indexed version,
        address indexed program,
        address indexed federation,
        uint64 round,
        bytes32 modelRoot,
        bytes32 integerOnnxDigest,
        bytes onnxCid,
        ProgramPart[] parts
    );
    /// @notice A decision was taken. With the version's program it can be computed again from this event.
    /// @dev `inputHash` is keccak-256 of the input; `input` is empty when it is longer than 4096 bytes. Inputs so
    ///      recorded are public for ever.
    event Decision(
        uint256 indexed id,
        address indexed caller,
        uint256 indexed version,
        bytes32 inputHash,
        bytes input,
        int32[] scores
    );

    /// @notice A field of the version is empty or out of range.
    /// @param field Name of the field of `Version`.
    error InvalidVersion(string field);
    /// @notice Without a federation there is no round and no model root to state.
    error LineageWithoutFederation();
    /// @notice The federation's round is not final with the stated model root.
    error RoundNotFinal(address federation, uint64 round, bytes32 modelRoot);
    /// @notice A part of the program has other code than registered, or none.
    error CodeHashMismatch(address account, bytes32 expected, bytes32 actual);
    /// @notice No such version was registered.
    error UnknownVersion(uint256 version);
    /// @notice Another version serves than the caller expected.
    error VersionMismatch(uint256 expected, uint256 current);

    /// @notice Registers a version, which serves from now on. Owner only.
    /// @param version_ Program and lineage.
    /// @return id Number of the version; the first is 1.
    function register(Version calldata version_) external returns (uint256 id);

    /// @notice Runs the serving version.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return scores Integer outputs of the network.
    function predict(bytes calldata input) external view returns (int32[] memory scores);

    /// @notice Runs any registered version.
    /// @param versionId Number of the version.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return scores Integer outputs of the network.
    function predictWith(uint256 versionId, bytes calldata input)
        external
        view
        returns (int32[] memory scores);

    /// @notice Runs the serving version and takes the greatest score, the first among equals.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return label Index of the greatest score.
    function classify(bytes calldata input) external view returns (uint256 label);

    /// @notice Runs the serving version and records the decision in an event. The input becomes public.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @param expectedVersion Version the caller wants to decide; reverts when another serves.
    /// @return id Number of the decision; the first is 1.
    /// @return scores Integer outputs of the network.
    function decide(bytes calldata input, uint256 expectedVersion)
        external
        returns (uint256 id, int32[] memory scores);

    /// @return Number of the serving version, 0 before the first.
    function currentVersion() external view returns (uint256);

    /// @return Number of decisions recorded.
    function decisionCount() external view returns (uint256);

    /// @param versionId Number of a version.
    /// @return Program and lineage.
    function version(uint256 versionId) external view returns (Version memory);
}
