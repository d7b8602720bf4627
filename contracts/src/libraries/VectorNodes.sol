// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {VectorNode} from "../interfaces/IAggregationCourt.sol";
import {MerkleSumTree} from "./MerkleSumTree.sol";
import {VectorKind, VectorTree} from "./VectorTree.sol";

/// @title Form of the nodes of a vector's tree
library VectorNodes {
    /// @param kind Kind of vector.
    /// @param elements Length of the vector.
    /// @param node Node as stated.
    /// @param root Root of the vector.
    /// @return True when the node's place exists and its path leads to the root.
    function leadsTo(VectorKind kind, uint64 elements, VectorNode calldata node, bytes32 root)
        internal
        pure
        returns (bool)
    {
        uint256 depth = node.siblings.length;
        if (depth > MerkleSumTree.height(elements) || node.position >> depth != 0) return false;
        bytes32 hash = node.preimage.length == 0 ? node.hash : keccak256(node.preimage);
        bytes32 top = VectorTree.climb(kind, hash, node.position, node.siblings);
        return VectorTree.rootOf(kind, elements, top) == root;
    }

    /// @notice A chunk must state its own index and length and hold so many values, padding must be 0, and an inner
    ///         node must be one. Of a hash without a preimage only 0 is judged: it stands for padding and for nothing else.
    /// @param kind Kind of vector.
    /// @param elements Length of the vector.
    /// @param node Node in its place, as `leadsTo` has checked.
    /// @return True when it has the form that its place demands.
    function isWellFormed(VectorKind kind, uint64 elements, VectorNode calldata node)
        internal
        pure
        returns (bool)
    {
        bytes calldata preimage = node.preimage;
        bool isInner = node.siblings.length < MerkleSumTree.height(elements);
        uint256 length = isInner ? 0 : MerkleSumTree.chunkLength(elements, node.position);
        if (!isInner && length == 0) return preimage.length == 0 && node.hash == 0;
        if (preimage.length == 0) return node.hash != 0;
        if (isInner) {
            return
                preimage.length == VectorTree.NODE_BYTES
                    && uint8(preimage[0]) == VectorTree.leafByte(kind) + 1;
        }
        uint256 header = VectorTree.LEAF_HEADER_BYTES;
        return preimage.length == header + length * VectorTree.elementBytes(kind)
            && keccak256(preimage[:header]) == keccak256(VectorTree.leafHeader(kind, elements, node.position));
    }

    /// @param kind Kind of vector.
    /// @param elements Length of the vector.
    /// @param preimage Preimage of a root.
    /// @return True when it is kind, number of elements and a hash.
    function isRoot(VectorKind kind, uint64 elements, bytes calldata preimage) internal pure returns (bool) {
        return preimage.length == VectorTree.ROOT_BYTES && uint8(preimage[0]) == VectorTree.leafByte(kind) + 2
            && uint64(bytes8(preimage[1:9])) == elements;
    }
}
