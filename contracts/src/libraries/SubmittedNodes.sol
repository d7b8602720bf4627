// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SubmittedNode} from "../interfaces/ISealedCourt.sol";
import {MerklePath} from "./MerklePath.sol";
import {MerkleSumTree} from "./MerkleSumTree.sol";
import {SealedTrees} from "./SealedTrees.sol";

/// @title Form of the nodes of what a member submitted in a sealed round
library SubmittedNodes {
    uint256 private constant NODE_BYTES = 65;

    /// @param kind First byte of a node.
    /// @param preimage Preimage as stated.
    /// @return True for two hashes behind that byte.
    function isNode(uint8 kind, bytes calldata preimage) internal pure returns (bool) {
        return preimage.length == NODE_BYTES && uint8(preimage[0]) == kind;
    }

    /// @param kind First byte of the tree's nodes.
    /// @param height Levels of the tree above its leaves.
    /// @param node Node as stated.
    /// @param root Top of the tree.
    /// @return True when the node's place exists and its path leads to the top.
    function leadsTo(uint8 kind, uint256 height, SubmittedNode calldata node, bytes32 root)
        internal
        pure
        returns (bool)
    {
        uint256 depth = node.siblings.length;
        if (depth > height || uint256(node.position) >> depth != 0) return false;
        bytes32 hash = node.preimage.length == 0 ? node.hash : keccak256(node.preimage);
        return MerklePath.climb(kind, hash, node.position, node.siblings) == root;
    }

    /// @notice An inner node must be one; the commitment to a seed that was revealed must be there, and state its context and
    ///         rank. Nobody can say what the others are commitments to.
    /// @param height Levels of the tree above its leaves.
    /// @param node Node in its place, as `leadsTo` has checked.
    /// @param context Context of the update.
    /// @param isRevealed Whether the seed at its position was revealed, if it is a leaf.
    /// @return True when it has the form that its place demands.
    function isSeedNode(uint256 height, SubmittedNode calldata node, bytes32 context, bool isRevealed)
        internal
        pure
        returns (bool)
    {
        bytes calldata preimage = node.preimage;
        if (node.siblings.length < height) {
            return preimage.length == 0 ? node.hash != 0 : isNode(SealedTrees.SEED_NODE, preimage);
        }
        if (!isRevealed) return true;
        if (preimage.length == 0) return node.hash != 0;
        return SealedTrees.isSeed(preimage, context, node.position);
    }

    /// @notice A chunk must state its own context, index, length and lane, and hold so many values, padding must be 0, and an
    ///         inner node must be one. Of a hash without a preimage only 0 is judged: it stands for padding and for nothing else.
    /// @param elements Length of the vector.
    /// @param laneBytes Bytes of a lane.
    /// @param node Node in its place, as `leadsTo` has checked.
    /// @param context Context of the update.
    /// @return True when it has the form that its place demands.
    function isMaskedNode(uint64 elements, uint8 laneBytes, SubmittedNode calldata node, bytes32 context)
        internal
        pure
        returns (bool)
    {
        bytes calldata preimage = node.preimage;
        bool isInner = node.siblings.length < MerkleSumTree.height(elements);
        uint256 length = isInner ? 0 : MerkleSumTree.chunkLength(elements, node.position);
        if (!isInner && length == 0) return preimage.length == 0 && node.hash == 0;
        if (preimage.length == 0) return node.hash != 0;
        if (isInner) return isNode(SealedTrees.MASKED_NODE, preimage);
        bytes memory header = SealedTrees.maskedHeader(context, elements, laneBytes, node.position);
        return preimage.length == header.length + length * laneBytes
            && keccak256(preimage[:header.length]) == keccak256(header);
    }
}
