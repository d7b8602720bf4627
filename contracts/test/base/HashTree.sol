// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Binary trees with nodes keccak(kind ‖ left ‖ right), built whole.
library HashTree {
    /// @return levels Hashes, leaves first, padded with 0 to a power of two.
    function build(uint8 kind, bytes32[] memory leaves) internal pure returns (bytes32[][] memory levels) {
        uint256 height = 0;
        while ((1 << height) < leaves.length) ++height;
        levels = new bytes32[][](height + 1);
        levels[0] = new bytes32[](1 << height);
        for (uint256 i = 0; i < leaves.length; ++i) {
            levels[0][i] = leaves[i];
        }
        for (uint256 level = 1; level <= height; ++level) {
            levels[level] = new bytes32[](levels[level - 1].length / 2);
            for (uint256 i = 0; i < levels[level].length; ++i) {
                levels[level][i] =
                    keccak256(abi.encodePacked(kind, levels[level - 1][2 * i], levels[level - 1][2 * i + 1]));
            }
        }
    }

    function rootOf(bytes32[][] memory levels) internal pure returns (bytes32) {
        return levels[levels.length - 1][0];
    }

    /// @return siblings Hashes beside the way from a leaf to the root.
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

    /// @return siblings Hashes beside the ways from some leaves to the root that lie on none of them, level by level.
    function beside(bytes32[][] memory levels, uint256[] memory leaves)
        internal
        pure
        returns (bytes32[] memory siblings)
    {
        siblings = new bytes32[](leaves.length * levels.length);
        uint256 used = 0;
        for (uint256 level = 0; level + 1 < levels.length; ++level) {
            for (uint256 i = 0; i < levels[level].length; ++i) {
                if (isOnWay(leaves, level, i) || !isOnWay(leaves, level, i ^ 1)) continue;
                siblings[used++] = levels[level][i];
            }
        }
        assembly ("memory-safe") {
            mstore(siblings, used)
        }
    }

    function isOnWay(uint256[] memory leaves, uint256 level, uint256 position) private pure returns (bool) {
        for (uint256 i = 0; i < leaves.length; ++i) {
            if (leaves[i] >> level == position) return true;
        }
        return false;
    }

    /// @notice The trees of a mountain range, the largest first.
    function mountains(uint8 kind, bytes32[] memory leaves)
        internal
        pure
        returns (bytes32[][][] memory trees)
    {
        uint256 count = 0;
        for (uint256 level = 0; leaves.length >> level > 0; ++level) {
            count += (leaves.length >> level) & 1;
        }
        trees = new bytes32[][][](count);
        uint256 first = 0;
        uint256 next = 0;
        for (uint256 level = 32; level > 0; --level) {
            uint256 width = 1 << (level - 1);
            if (leaves.length & width == 0) continue;
            bytes32[] memory part = new bytes32[](width);
            for (uint256 i = 0; i < width; ++i) {
                part[i] = leaves[first + i];
            }
            trees[next] = build(kind, part);
            first += width;
            ++next;
        }
    }
}
