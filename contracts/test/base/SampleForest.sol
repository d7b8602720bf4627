// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Sample} from "../../src/libraries/SampleTree.sol";

/// @notice Builds whole validation sets for the tests, apart from the library that checks their paths.
library SampleForest {
    function leafOf(Sample memory sample) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x20), sample.salt, sample.label, sample.input));
    }

    /// @dev Levels of hashes, leaves first, padded to a power of two.
    function build(Sample[] memory samples) internal pure returns (bytes32[][] memory levels) {
        uint256 height = 0;
        while ((1 << height) < samples.length) ++height;
        levels = new bytes32[][](height + 1);
        levels[0] = new bytes32[](1 << height);
        for (uint256 i = 0; i < samples.length; ++i) {
            levels[0][i] = leafOf(samples[i]);
        }
        for (uint256 level = 1; level <= height; ++level) {
            levels[level] = new bytes32[](levels[level - 1].length / 2);
            for (uint256 i = 0; i < levels[level].length; ++i) {
                levels[level][i] = keccak256(
                    abi.encodePacked(uint8(0x21), levels[level - 1][2 * i], levels[level - 1][2 * i + 1])
                );
            }
        }
    }

    function rootOf(bytes32[][] memory levels, uint256 count) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x22), uint32(count), levels[levels.length - 1][0]));
    }

    function path(bytes32[][] memory levels, uint256 index)
        internal
        pure
        returns (bytes32[] memory siblings)
    {
        siblings = new bytes32[](levels.length - 1);
        for (uint256 level = 0; level < siblings.length; ++level) {
            siblings[level] = levels[level][(index >> level) ^ 1];
        }
    }
}
