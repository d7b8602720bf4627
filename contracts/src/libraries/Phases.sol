// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MerklePath} from "./MerklePath.sol";
import {MerkleSumTree} from "./MerkleSumTree.sol";

/// @title Phases in which the data behind a proposal are asked for
/// @notice One question opens at most `LEVELS` levels of a tree. A walk crosses two trees: first the aggregation, the mountain
///         range or the records down to a leaf, then the vector (or the update, below its commitment) that the leaf names.
///         So many phases suffice for everyone who asks in each of them, and there are no more: a round's delay has a bound.
library Phases {
    /// Most levels that one question opens: 63 preimages.
    uint8 internal constant LEVELS = 6;
    /// Questions cost twice as much after every so many units asked in a phase; a question of n levels has 2^(n − 1).
    uint256 internal constant UNITS_A_DOUBLING = 256;

    /// @param leaves Records of a roll-up, or accepted updates of a round that was relayed; at least 1.
    /// @param elements Length of the vectors, at least 1.
    /// @return ⌈(height of the tree over the leaves + 1) / 6⌉ + ⌈(height of a vector's tree + 2) / 6⌉: leaf and root
    ///         have a level of their own.
    function count(uint256 leaves, uint64 elements) internal pure returns (uint256) {
        return ofLevels(MerklePath.height(leaves) + 1) + ofVector(elements);
    }

    /// @param elements Length of a vector.
    /// @return Phases of the walk down its tree, from its root on.
    function ofVector(uint64 elements) internal pure returns (uint256) {
        return ofLevels(MerkleSumTree.height(elements) + 2);
    }

    /// @param levels Levels that a question opens, 1 to `LEVELS`.
    /// @return What the question counts for: the preimages of its lowest level, at most.
    function units(uint8 levels) internal pure returns (uint256) {
        return uint256(1) << (levels - 1);
    }

    /// @param levels Levels of a walk.
    /// @return Phases that it takes.
    function ofLevels(uint256 levels) internal pure returns (uint256) {
        return (levels + LEVELS - 1) / LEVELS;
    }
}
