// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Sample} from "../../src/libraries/SampleTree.sol";
import {HashTree} from "./HashTree.sol";

/// @notice Builds whole validation sets for the tests, apart from the library that checks their paths.
library SampleForest {
    function leafOf(Sample memory sample) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x20), sample.salt, sample.label, sample.input));
    }

    /// @dev Levels of hashes, leaves first, padded to a power of two.
    function build(Sample[] memory samples) internal pure returns (bytes32[][] memory) {
        bytes32[] memory leaves = new bytes32[](samples.length);
        for (uint256 i = 0; i < samples.length; ++i) {
            leaves[i] = leafOf(samples[i]);
        }
        return HashTree.build(0x21, leaves);
    }

    function rootOf(bytes32[][] memory levels, uint256 count) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x22), uint32(count), HashTree.rootOf(levels)));
    }
}
