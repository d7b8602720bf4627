// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProgram} from "../../src/interfaces/IProgram.sol";

/// @notice A network small enough to check by hand: two scores of four bytes, s₀ = Σ xᵢ − bias, s₁ = −s₀.
contract LinearProgram is IProgram {
    uint256 internal constant INPUT_BYTES = 4;
    int32 internal immutable bias;

    error WrongInputLength(uint256 length, uint256 expected);

    constructor(int32 bias_) {
        bias = bias_;
    }

    function predict(bytes calldata input) public view returns (int32[] memory scores) {
        require(input.length == INPUT_BYTES, WrongInputLength(input.length, INPUT_BYTES));
        int32 sum = -bias;
        for (uint256 i = 0; i < INPUT_BYTES; ++i) {
            sum += int32(uint32(uint8(input[i])));
        }
        scores = new int32[](2);
        scores[0] = sum;
        scores[1] = -sum;
    }

    function classify(bytes calldata input) external view returns (uint256 label) {
        int32[] memory scores = predict(input);
        return scores[1] > scores[0] ? 1 : 0;
    }
}

/// @notice The same, for inputs of any length: its score is the length.
contract LengthProgram is IProgram {
    function predict(bytes calldata input) public pure returns (int32[] memory scores) {
        scores = new int32[](1);
        scores[0] = int32(uint32(input.length));
    }

    function classify(bytes calldata) external pure returns (uint256 label) {
        return 0;
    }
}
