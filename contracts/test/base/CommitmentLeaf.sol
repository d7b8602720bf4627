// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Commitment} from "../../src/libraries/CommitmentTree.sol";

/// @notice The leaf of a commitment for the tests, apart from the library that makes it.
library CommitmentLeaf {
    function hashOf(Commitment memory commitment) internal pure returns (bytes32) {
        return keccak256(bytesOf(commitment));
    }

    function bytesOf(Commitment memory commitment) internal pure returns (bytes memory) {
        return abi.encodePacked(
            uint8(0x0a), commitment.member, commitment.weight, commitment.updateRoot, commitment.sumSquares
        );
    }
}
