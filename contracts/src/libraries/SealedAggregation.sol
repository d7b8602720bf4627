// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationNode, AggregationStep, AggregationTree} from "./AggregationTree.sol";
import {GroupNode} from "./GroupNode.sol";

/// @notice Heights of the aggregation tree of a sealed round.
struct SealedHeights {
    /// Levels of each group's tree above its leaves; the groups' nodes stand one level higher.
    uint8 group;
    /// Levels above the groups' nodes.
    uint8 upper;
}

/// @title Aggregation tree of a sealed round
/// @notice Leaves and nodes are those of `AggregationTree`. On the top of each group's tree, level `group`, stands its group node
///         (`GroupNode`), with that as its only child; over the group nodes stands a tree again. So a node has the
///         same position as its only child, and all others half that of their children.
library SealedAggregation {
    /// @param self Heights.
    /// @return Level of the groups' nodes.
    function groupLevel(SealedHeights memory self) internal pure returns (uint256) {
        return uint256(self.group) + 1;
    }

    /// @notice Climbs to the top.
    /// @param self Heights.
    /// @param node Node and path.
    /// @return level Level of the node; the path leads from there to the top.
    /// @return top Hash of the top; 0 if the path is too long, or the position is none of that level.
    function climb(SealedHeights memory self, AggregationNode calldata node)
        internal
        pure
        returns (uint256 level, bytes32 top)
    {
        uint256 height = groupLevel(self) + self.upper;
        uint256 depth = node.path.length;
        if (depth > height) return (0, 0);
        level = height - depth;
        top = AggregationTree.hashOf(node.preimage);
        uint256 position = node.position;
        for (uint256 i = 0; i < depth; ++i) {
            AggregationStep calldata step = node.path[i];
            if (level + i + 1 == groupLevel(self)) {
                top = keccak256(abi.encodePacked(GroupNode.KIND, step.weight, step.sums, top, step.sibling));
                continue;
            }
            (bytes32 left, bytes32 right) = position & 1 == 0 ? (top, step.sibling) : (step.sibling, top);
            top = keccak256(abi.encodePacked(AggregationTree.NODE, step.weight, step.sums, left, right));
            position >>= 1;
        }
        if (position != 0) return (0, 0);
    }
}
