// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

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
    /// @return top Hash of the top.
    // Every dispute climbs several trees; each step is hashed in the same place behind the memory in use.
    // slither-disable-next-line assembly,incorrect-exp
    function climb(uint8 kind, bytes32 node, uint256 position, bytes32[] calldata siblings)
        internal
        pure
        returns (bytes32 top)
    {
        assembly ("memory-safe") {
            let start := mload(0x40)
            let pair := add(start, 1)
            mstore8(start, kind)
            let end := add(siblings.offset, shl(5, siblings.length))
            for { let at := siblings.offset } lt(at, end) { at := add(at, 32) } {
                // An even position is that of a left child.
                let side := shl(5, and(position, 1))
                mstore(add(pair, side), node)
                mstore(add(pair, xor(side, 32)), calldataload(at))
                node := keccak256(start, 65)
                position := shr(1, position)
            }
            top := node
        }
    }

    /// @notice Whether several nodes of one level lead to a top.
    /// @param kind First byte of the preimage of every node on the way.
    /// @param levels Levels up to the top.
    /// @param nodes Hashes to start from, at least one; overwritten.
    /// @param positions Their positions within their level, ascending; overwritten.
    /// @param siblings Hashes of the nodes beside the paths that are on none of them, level by level, in the order of their
    ///        positions.
    /// @param top Hash of the top.
    /// @return isTop True when they do, with just as many siblings as the paths need.
    // Behind the siblings lies anything: what is read there counts for nothing, as their number is then another.
    // slither-disable-next-line assembly,incorrect-exp
    function lead(
        uint8 kind,
        uint256 levels,
        bytes32[] memory nodes,
        uint256[] memory positions,
        bytes32[] calldata siblings,
        bytes32 top
    ) internal pure returns (bool isTop) {
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore8(start, kind)
            let left := mload(nodes)
            isTop := eq(left, mload(positions))
            // From here on the words behind the lengths.
            nodes := add(nodes, 32)
            positions := add(positions, 32)
            let at := siblings.offset
            for {} levels { levels := sub(levels, 1) } {
                let above := 0
                for { let i := 0 } lt(i, left) {} {
                    let position := mload(add(positions, shl(5, i)))
                    let side := add(start, shl(5, and(position, 1)))
                    mstore(add(side, 1), mload(add(nodes, shl(5, i))))
                    i := add(i, 1)
                    let sibling := 0
                    // Of two children the left one comes first.
                    switch and(lt(i, left), eq(mload(add(positions, shl(5, i))), xor(position, 1)))
                    case 0 {
                        sibling := calldataload(at)
                        at := add(at, 32)
                    }
                    default {
                        sibling := mload(add(nodes, shl(5, i)))
                        i := add(i, 1)
                    }
                    mstore(add(start, sub(33, shl(5, and(position, 1)))), sibling)
                    mstore(add(nodes, shl(5, above)), keccak256(start, 65))
                    mstore(add(positions, shl(5, above)), shr(1, position))
                    above := add(above, 1)
                }
                left := above
            }
            isTop := and(isTop, and(eq(left, 1), eq(at, add(siblings.offset, shl(5, siblings.length)))))
            isTop := and(isTop, and(iszero(mload(positions)), eq(mload(nodes), top)))
        }
    }
}
