// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title A compiled model
/// @notice Entry contract of a network compiled to EVM code. A pure function of its input, given enough gas: no storage, no
///         caller, no time. An input of a wrong length reverts. Trials and decisions ask `predict` only; `classify` is for
///         contracts that want a class without decoding scores, and no promise of a `ModelService` rests on it.
interface IProgram {
    /// @notice Runs the network.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return scores Integer outputs of the network, equal to those of the integer ONNX reference.
    function predict(bytes calldata input) external view returns (int32[] memory scores);

    /// @notice Runs the network and takes the greatest output, the first among equals.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @return label Index of the greatest score.
    function classify(bytes calldata input) external view returns (uint256 label);
}
