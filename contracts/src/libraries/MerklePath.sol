// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Paths in binary Merkle trees whose nodes are keccak(kind ‖ left ‖ right)
library MerklePath {
    /// @param leaves Leaves that a tree is padded from, at least 1.
    /// @return levels Levels above the leaves: the binary logarithm, rounded up.
    function height(uint256 leaves) internal pure returns (uint256 levels) {
        while ((uint256(1) << levels) < leaves) ++levels;
    }

    /// @notice Climbs from a node to the top.
    /// @param kind First byte of the preimage of every node on the way.
    /// @param node Hash to start from.
    /// @param position Its position within its level.
    /// @param siblings Hashes beside the path, from there up.
    /// @return Hash of the top.
    function climb(uint8 kind, bytes32 node, uint256 position, bytes32[] calldata siblings)
        internal
        pure
        returns (bytes32)
    {
        for (uint256 i = 0; i < siblings.length; ++i) {
            node = position & 1 == 0
                ? keccak256(abi.encodePacked(kind, node, siblings[i]))
                : keccak256(abi.encodePacked(kind, siblings[i], node));
            position >>= 1;
        }
        return node;
    }
}
