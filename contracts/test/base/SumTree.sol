// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFederation} from "../../src/interfaces/IFederation.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "../../src/libraries/MerkleSumTree.sol";

/// @notice Builds whole sum trees for the tests: the contracts only ever check paths.
library SumTree {
    /// @return Context that the leaves of this member's update in this round are bound to.
    function contextOf(IFederation federation, uint64 roundId, address member)
        internal
        view
        returns (bytes32)
    {
        return MerkleSumTree.context(
            UpdatePlace(block.chainid, address(federation), roundId, member, federation.rules().elements)
        );
    }

    /// @return Big-endian int32, packed.
    function pack(int256[] memory values, uint256 start, uint256 count) internal pure returns (bytes memory) {
        bytes memory packed = new bytes(4 * count);
        for (uint256 i = 0; i < count; ++i) {
            uint32 bits = uint32(int32(values[start + i]));
            for (uint256 j = 0; j < 4; ++j) {
                packed[4 * i + j] = bytes1(uint8(bits >> (24 - 8 * j)));
            }
        }
        return packed;
    }

    /// @return chunk Packed chunk of the given index.
    function chunkOf(int256[] memory values, uint32 index) internal pure returns (bytes memory chunk) {
        uint256 count = MerkleSumTree.chunkLength(uint64(values.length), index);
        return pack(values, 64 * uint256(index), count);
    }

    /// @return levels Nodes from the leaves (level 0) to the root.
    function build(bytes32 context, int256[] memory values)
        internal
        pure
        returns (SumNode[][] memory levels)
    {
        uint256 height = MerkleSumTree.height(uint64(values.length));
        uint256 chunks = MerkleSumTree.chunkCount(uint64(values.length));
        levels = new SumNode[][](height + 1);
        levels[0] = new SumNode[](1 << height);
        for (uint32 i = 0; i < chunks; ++i) {
            bytes memory chunk = chunkOf(values, i);
            uint128 sum = MerkleSumTree.sumOfSquares(chunk);
            levels[0][i] = SumNode(MerkleSumTree.leafHash(context, i, sum, chunk), sum);
        }
        for (uint256 level = 1; level <= height; ++level) {
            levels[level] = new SumNode[](levels[level - 1].length / 2);
            for (uint256 i = 0; i < levels[level].length; ++i) {
                SumNode memory left = levels[level - 1][2 * i];
                SumNode memory right = levels[level - 1][2 * i + 1];
                levels[level][i] = SumNode(MerkleSumTree.nodeHash(left, right), left.sum + right.sum);
            }
        }
    }

    /// @return siblings Nodes beside the path of a chunk.
    function path(SumNode[][] memory levels, uint32 index) internal pure returns (SumNode[] memory siblings) {
        siblings = new SumNode[](levels.length - 1);
        for (uint256 level = 0; level < siblings.length; ++level) {
            siblings[level] = levels[level][(index >> level) ^ 1];
        }
    }

    function rootOf(SumNode[][] memory levels) internal pure returns (SumNode memory) {
        return levels[levels.length - 1][0];
    }
}
