// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Chunk, VectorKind} from "../../src/libraries/VectorTree.sol";

/// @notice Builds whole trees of models and sums for the tests, apart from the library that checks their paths.
library VectorForest {
    /// @return Big-endian elements 64 · index …, packed.
    function pack(VectorKind kind, int256[] memory values, uint256 index)
        internal
        pure
        returns (bytes memory)
    {
        uint256 width = kind == VectorKind.Model ? 4 : 8;
        uint256 end = 64 * (index + 1) < values.length ? 64 * (index + 1) : values.length;
        bytes memory packed = new bytes(width * (end - 64 * index));
        for (uint256 i = 64 * index; i < end; ++i) {
            for (uint256 j = 0; j < width; ++j) {
                packed[width * (i - 64 * index) + j] =
                    bytes1(uint8(uint256(values[i]) >> (8 * (width - 1 - j))));
            }
        }
        return packed;
    }

    /// @return Preimage of a leaf.
    function leafOf(VectorKind kind, int256[] memory values, uint32 index)
        internal
        pure
        returns (bytes memory)
    {
        bytes memory packed = pack(kind, values, index);
        uint32 count = uint32(packed.length / (kind == VectorKind.Model ? 4 : 8));
        return abi.encodePacked(first(kind), index, count, packed);
    }

    /// @return levels Hashes from the leaves to the top.
    function build(VectorKind kind, int256[] memory values)
        internal
        pure
        returns (bytes32[][] memory levels)
    {
        uint256 chunks = (values.length + 63) / 64;
        uint256 height = 0;
        while ((1 << height) < chunks) ++height;
        levels = new bytes32[][](height + 1);
        levels[0] = new bytes32[](1 << height);
        for (uint32 i = 0; i < chunks; ++i) {
            levels[0][i] = keccak256(leafOf(kind, values, i));
        }
        for (uint256 level = 1; level <= height; ++level) {
            levels[level] = new bytes32[](levels[level - 1].length / 2);
            for (uint256 i = 0; i < levels[level].length; ++i) {
                levels[level][i] = keccak256(
                    abi.encodePacked(first(kind) + 1, levels[level - 1][2 * i], levels[level - 1][2 * i + 1])
                );
            }
        }
    }

    /// @return Root of a vector.
    function rootOf(VectorKind kind, int256[] memory values) internal pure returns (bytes32) {
        bytes32[][] memory levels = build(kind, values);
        return
            keccak256(abi.encodePacked(first(kind) + 2, uint64(values.length), levels[levels.length - 1][0]));
    }

    /// @return opening A chunk and the way to the root.
    function open(VectorKind kind, int256[] memory values, uint32 index)
        internal
        pure
        returns (Chunk memory opening)
    {
        bytes32[][] memory levels = build(kind, values);
        opening.values = pack(kind, values, index);
        opening.siblings = new bytes32[](levels.length - 1);
        for (uint256 level = 0; level < levels.length - 1; ++level) {
            opening.siblings[level] = levels[level][(index >> level) ^ 1];
        }
    }

    function first(VectorKind kind) internal pure returns (uint8) {
        return kind == VectorKind.Model ? 2 : 5;
    }
}
