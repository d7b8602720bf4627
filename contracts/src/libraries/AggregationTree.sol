// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @notice A step up the aggregation tree: the hash beside the path, and what the node above states.
struct AggregationStep {
    bytes32 sibling;
    /// Weight of the node above.
    uint64 weight;
    /// Root of the vector of sums of the node above.
    bytes32 sums;
}

/// @notice A node of the aggregation tree and the way to the top.
struct AggregationNode {
    /// Position within its level; the level follows from the length of the path.
    uint32 position;
    /// Preimage of its hash as stated, well-formed or not; empty for the empty node, whose hash is 0.
    bytes preimage;
    AggregationStep[] path;
}

/// @title Aggregation tree over the accepted updates of a round
/// @notice leaf = keccak(0x08 ‖ weight:u64 ‖ sums:32 ‖ commitment:32),
///         node = keccak(0x09 ‖ weight:u64 ‖ sums:32 ‖ left:32 ‖ right:32); 0 where no update lies below. `sums` is the root
///         of a vector: wᵢ·dᵢ at leaf i, the sum of both children's vectors at a node. So the top states W and
///         S = Σ wᵢ·dᵢ, and every lie on the way there is a node that does not follow from its two children.
library AggregationTree {
    /// First byte of a leaf.
    uint8 internal constant LEAF = 0x08;
    /// First byte of an inner node.
    uint8 internal constant NODE = 0x09;
    /// Bytes of a leaf's preimage.
    uint256 internal constant LEAF_BYTES = 73;
    /// Bytes of an inner node's preimage.
    uint256 internal constant NODE_BYTES = 105;
    /// Bytes that state kind, weight and sums, the same in leaves and nodes.
    uint256 internal constant HEAD_BYTES = 41;

    /// @param updates Accepted updates, at least 1.
    /// @return levels Levels above the leaves.
    function height(uint32 updates) internal pure returns (uint256 levels) {
        while ((uint256(1) << levels) < updates) ++levels;
    }

    /// @param preimage Preimage of a node, or nothing.
    /// @return Its hash; 0 for the empty node.
    function hashOf(bytes calldata preimage) internal pure returns (bytes32) {
        return preimage.length == 0 ? bytes32(0) : keccak256(preimage);
    }

    /// @notice Climbs to the top.
    /// @param node Node and path.
    /// @return top Hash of the top.
    function climb(AggregationNode calldata node) internal pure returns (bytes32 top) {
        top = hashOf(node.preimage);
        uint256 position = node.position;
        for (uint256 i = 0; i < node.path.length; ++i) {
            top = stepHash(NODE, node.path[i], top, position);
            position >>= 1;
        }
    }

    /// @param kind First byte of the preimage.
    /// @param step Step that ends at the node, from one of its children.
    /// @param child Hash of that child.
    /// @param position Position of the child within its level: the left one if even.
    /// @return hash keccak(kind ‖ weight:u64 ‖ sums:32 ‖ left:32 ‖ right:32).
    // slither-disable-next-line assembly
    function stepHash(uint8 kind, AggregationStep calldata step, bytes32 child, uint256 position)
        internal
        pure
        returns (bytes32 hash)
    {
        (bytes32 sibling, uint256 weight, bytes32 sums) = (step.sibling, step.weight, step.sums);
        assembly ("memory-safe") {
            let start := mload(0x40)
            // The kind and the eight bytes of the weight are the first nine.
            mstore(start, or(shl(248, kind), shl(184, weight)))
            mstore(add(start, 9), sums)
            let right := shl(5, and(position, 1))
            mstore(add(add(start, 41), right), child)
            mstore(sub(add(start, 73), right), sibling)
            hash := keccak256(start, 105)
        }
    }

    /// @param preimage Preimage of a leaf or node, or nothing.
    /// @return Weight it states; 0 for the empty node.
    function weightOf(bytes calldata preimage) internal pure returns (uint64) {
        return preimage.length == 0 ? 0 : uint64(bytes8(preimage[1:9]));
    }

    /// @param preimage Preimage of a leaf or node.
    /// @return Root of the vector of sums it states.
    function sumsOf(bytes calldata preimage) internal pure returns (bytes32) {
        return bytes32(preimage[9:41]);
    }

    /// @param leaf Preimage of a leaf.
    /// @return Commitment it states.
    function commitmentOf(bytes calldata leaf) internal pure returns (bytes32) {
        return bytes32(leaf[41:73]);
    }

    /// @param node Preimage of an inner node.
    /// @return left Hash of the left child.
    /// @return right Hash of the right child.
    function childrenOf(bytes calldata node) internal pure returns (bytes32 left, bytes32 right) {
        return (bytes32(node[41:73]), bytes32(node[73:105]));
    }

    /// @param preimage Preimage as stated.
    /// @return True for a leaf of the right length and kind.
    function isLeaf(bytes calldata preimage) internal pure returns (bool) {
        return preimage.length == LEAF_BYTES && uint8(preimage[0]) == LEAF;
    }

    /// @param preimage Preimage as stated.
    /// @return True for an inner node of the right length and kind.
    function isNode(bytes calldata preimage) internal pure returns (bool) {
        return preimage.length == NODE_BYTES && uint8(preimage[0]) == NODE;
    }
}
