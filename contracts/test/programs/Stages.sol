// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A first stage whose state is its input several times over.
contract GrowingStage {
    uint256 public constant COPIES = 100;

    error EmptyInput();

    fallback(bytes calldata input) external returns (bytes memory state) {
        require(input.length != 0, EmptyInput());
        state = new bytes(input.length * COPIES);
        for (uint256 i = 0; i < state.length; ++i) {
            state[i] = input[i % input.length];
        }
    }
}

/// @notice A last stage with one score, the sum of the state's bytes.
contract ScoringStage {
    fallback(bytes calldata state) external returns (bytes memory) {
        int32[] memory scores = new int32[](1);
        for (uint256 i = 0; i < state.length; ++i) {
            scores[0] += int32(uint32(uint8(state[i])));
        }
        return abi.encode(scores);
    }
}
