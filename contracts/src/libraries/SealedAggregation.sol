// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AggregationNode, AggregationStep, AggregationTree} from "./AggregationTree.sol";
import {GroupNode} from "./GroupNode.sol";
import {Division} from "./Groups.sol";

/// @notice What the aggregation of a sealed round is built by, beside the bitmaps of `GroupShape`. One slot.
struct SealedPlan {
    /// Places of the roster, and groups that they are divided into; see `Division`.
    uint32 places;
    uint32 groups;
    /// Levels of each group's tree above its leaves; the groups' nodes stand one level higher.
    uint8 groupHeight;
    /// Levels above the groups' nodes.
    uint8 upperHeight;
    /// Bytes of a lane.
    uint8 laneBytes;
}

/// @title Aggregation tree of a sealed round
/// @notice Leaves and nodes are those of `AggregationTree`. On the top of each group's tree, level `group`, stands its group node
///         (`GroupNode`), with that as its only child; over the group nodes stands a tree again. So a node has the
///         same position as its only child, and all others half that of their children.
library SealedAggregation {
    /// @param self Plan.
    /// @return How the roster is divided.
    function division(SealedPlan memory self) internal pure returns (Division memory) {
        return Division(self.places, self.groups);
    }

    /// @param self Plan.
    /// @return Level of the groups' nodes.
    function groupLevel(SealedPlan memory self) internal pure returns (uint256) {
        return uint256(self.groupHeight) + 1;
    }

    /// @notice Climbs to the top.
    /// @param self Plan.
    /// @param node Node and path.
    /// @return level Level of the node; the path leads from there to the top.
    /// @return top Hash of the top; 0 if the path is too long, or the position is none of that level.
    function climb(SealedPlan memory self, AggregationNode calldata node)
        internal
        pure
        returns (uint256 level, bytes32 top)
    {
        uint256 height = groupLevel(self) + self.upperHeight;
        uint256 depth = node.path.length;
        if (depth > height) return (0, 0);
        level = height - depth;
        top = AggregationTree.hashOf(node.preimage);
        uint256 position = node.position;
        // The step that ends at a group's node, if there is one.
        uint256 last;
        unchecked {
            // Above the groups' nodes this is beyond every path.
            last = groupLevel(self) - level - 1;
        }
        for (uint256 i = 0; i < depth; ++i) {
            AggregationStep calldata step = node.path[i];
            if (i == last) {
                top = AggregationTree.stepHash(GroupNode.KIND, step, top, 0);
                continue;
            }
            top = AggregationTree.stepHash(AggregationTree.NODE, step, top, position);
            position >>= 1;
        }
        if (position != 0) return (0, 0);
    }
}
