// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleSumTree, SumNode} from "./MerkleSumTree.sol";

/// @dev Levels of a tree over at most 2^32 chunks. At file level, since array types take no library's constant.
uint256 constant FRONTIER_LEVELS = 33;

/// @title Merkle sum tree built chunk by chunk
/// @notice Keeps one node for each bit set in the number of leaves so far, as `CommitmentTree` does; at the end the
///         missing leaves are added, which are (0, 0), as `MerkleSumTree` asks.
library SumFrontier {
    /// @notice Adds a leaf.
    /// @param nodes Nodes by their level; those whose bit is not set in `count` are ignored.
    /// @param count Leaves so far.
    /// @param node Leaf to add.
    function append(SumNode[FRONTIER_LEVELS] memory nodes, uint32 count, SumNode memory node) internal pure {
        uint256 level = 0;
        while ((count >> level) & 1 == 1) {
            node = parent(nodes[level], node);
            ++level;
        }
        nodes[level] = node;
    }

    /// @param nodes Nodes by their level.
    /// @param count Leaves, at least 1.
    /// @return top Top of the tree of the least height that holds them.
    function root(SumNode[FRONTIER_LEVELS] memory nodes, uint32 count)
        internal
        pure
        returns (SumNode memory top)
    {
        // A tree of missing leaves alone, as high as the level.
        // slither-disable-next-line uninitialized-local
        SumNode memory missing;
        bool begun = false;
        uint256 level = 0;
        for (; uint256(1) << level < count; ++level) {
            if ((count >> level) & 1 == 1) {
                top = parent(nodes[level], begun ? top : missing);
                begun = true;
            } else if (begun) {
                top = parent(top, missing);
            }
            missing = parent(missing, missing);
        }
        if (!begun) top = nodes[level];
    }

    /// @param left Left child.
    /// @param right Right child.
    /// @return Their parent. Reverts if the sums overflow, which those of an int32 vector cannot.
    function parent(SumNode memory left, SumNode memory right) internal pure returns (SumNode memory) {
        return SumNode(MerkleSumTree.nodeHash(left, right), left.sum + right.sum);
    }
}
