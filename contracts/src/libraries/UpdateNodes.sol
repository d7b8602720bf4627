// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {UpdateNode} from "../interfaces/IDisputes.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "./MerkleSumTree.sol";

/// @title Form and sums of the nodes of an update's tree
library UpdateNodes {
    /// Bytes before the values of a leaf: kind, context, index, count, sum.
    uint256 private constant LEAF_HEADER_BYTES = 57;
    /// Bytes of a node's preimage.
    uint256 private constant NODE_BYTES = 97;

    /// @param elements Length of the update.
    /// @param node Node as stated, its sum included.
    /// @param root Root and sum that were signed.
    /// @return True when the node's place exists and its path leads to the root and its sum.
    function leadsTo(uint64 elements, UpdateNode calldata node, SumNode memory root)
        internal
        pure
        returns (bool)
    {
        uint256 position = node.position;
        uint256 depth = node.siblings.length;
        if (depth > MerkleSumTree.height(elements) || position >> depth != 0) return false;
        SumNode memory current =
            SumNode(node.preimage.length == 0 ? node.hash : keccak256(node.preimage), node.sum);
        for (uint256 i = 0; i < depth; ++i) {
            SumNode calldata sibling = node.siblings[i];
            if (sibling.sum > type(uint128).max - current.sum) return false;
            current = SumNode(
                position & 1 == 0
                    ? MerkleSumTree.nodeHash(current, sibling)
                    : MerkleSumTree.nodeHash(sibling, current),
                current.sum + sibling.sum
            );
            position >>= 1;
        }
        return current.hash == root.hash && current.sum == root.sum;
    }

    /// @notice A chunk must be bound to its place, state its own index and length, hold so many values and state their
    ///         Σd²; padding must be (0, 0); an inner node must be one and its children's sums add up to its own. Of a
    ///         hash without a preimage only 0 is judged: it stands for padding and for nothing else.
    /// @param place Where the update belongs.
    /// @param node Node in its place, as `leadsTo` has checked.
    /// @return True when it has the form and sum that its place demands.
    function isWellFormed(UpdatePlace memory place, UpdateNode calldata node) internal pure returns (bool) {
        bytes calldata preimage = node.preimage;
        bool isInner = node.siblings.length < MerkleSumTree.height(place.elements);
        uint256 length = isInner ? 0 : MerkleSumTree.chunkLength(place.elements, node.position);
        if (!isInner && length == 0) return preimage.length == 0 && node.hash == 0 && node.sum == 0;
        if (preimage.length == 0) return node.hash != 0;
        if (isInner) return _addsUp(preimage, node.sum);
        if (preimage.length != LEAF_HEADER_BYTES + length * MerkleSumTree.ELEMENT_BYTES) return false;
        bytes memory values = preimage[LEAF_HEADER_BYTES:];
        uint128 sum = MerkleSumTree.sumOfSquares(values);
        return sum == node.sum
            && keccak256(preimage)
                == MerkleSumTree.leafHash(MerkleSumTree.context(place), node.position, sum, values);
    }

    function _addsUp(bytes calldata node, uint128 sum) private pure returns (bool) {
        if (node.length != NODE_BYTES || node[0] != 0x01) return false;
        uint256 left = uint128(bytes16(node[33:49]));
        uint256 right = uint128(bytes16(node[81:97]));
        return left + right == sum;
    }
}
