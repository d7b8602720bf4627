// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MerkleSumTree} from "./MerkleSumTree.sol";
import {VectorTree} from "./VectorTree.sol";

/// @notice A node of the tree and the sum of squares below it.
struct NormNode {
    bytes32 hash;
    uint256 squares;
}

/// @title Root of the squares of a group's sum
/// @notice keccak(0x3f ‖ squares:u256 ‖ top:32).
library NormRoot {
    uint8 private constant KIND = 0x3f;
    uint256 private constant BYTES = 65;

    /// @param preimage Preimage as stated.
    /// @return True for a sum and a hash behind that byte.
    function isRoot(bytes calldata preimage) internal pure returns (bool) {
        return preimage.length == BYTES && uint8(preimage[0]) == KIND;
    }

    /// @param preimage Preimage of a root; one that is too short reverts.
    /// @return Top of the tree and its sum.
    function read(bytes calldata preimage) internal pure returns (NormNode memory) {
        return NormNode(bytes32(preimage[33:65]), uint256(bytes32(preimage[1:33])));
    }
}

/// @notice A node in its place.
struct NormProof {
    /// Position within its level; the level follows from the length of the path.
    uint32 position;
    /// Preimage of its hash as stated, well-formed or not; empty where only the hash is known.
    bytes preimage;
    /// Its hash where there is no preimage.
    bytes32 hash;
    /// Its sum of squares as stated.
    uint256 squares;
    /// Nodes beside the path, from there up.
    NormNode[] siblings;
}

/// @title Merkle sum tree over the chunks of a group's sum
/// @notice leaf = keccak(0x3d ‖ index:u32 ‖ count:u32 ‖ squares:u256 ‖ count · int64),
///         node = keccak(0x3e ‖ left:32 ‖ leftSquares:u256 ‖ right:32 ‖ rightSquares:u256); missing leaves are (0, 0). The
///         shape is that of `VectorTree` over the same vector, whose root binds the number of elements.
/// @dev Sums of squares are stated in full words: those of a spoilt sum pass 2^128, yet never 2^256. Stated ones that
///      do are a lie.
library NormTree {
    /// Bytes before the values of a leaf: kind, index, count, squares.
    uint256 internal constant LEAF_HEADER_BYTES = 41;
    /// Bytes of a node's preimage.
    uint256 internal constant NODE_BYTES = 129;

    uint8 private constant LEAF = 0x3d;
    uint8 private constant NODE = 0x3e;

    /// @param values Big-endian int64, packed.
    /// @return squares Sum of their squares.
    function squaresOf(bytes calldata values) internal pure returns (uint256 squares) {
        for (uint256 i = 0; i < values.length / 8; ++i) {
            // The square of an int64 is at most 2^126.
            unchecked {
                int256 value = VectorTree.int64At(values, i);
                // forge-lint: disable-next-line(unsafe-typecast)
                squares += uint256(value * value);
            }
        }
    }

    /// @param index Index of the chunk.
    /// @param squares Sum of its squares as stated.
    /// @param values Big-endian int64, packed.
    /// @return Hash of the leaf.
    function leafHash(uint32 index, uint256 squares, bytes calldata values) internal pure returns (bytes32) {
        // 2^32 elements do not fit any calldata that gas can pay for.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint32 count = uint32(values.length / 8);
        return keccak256(abi.encodePacked(LEAF, index, count, squares, values));
    }

    /// @param left Left child.
    /// @param right Right child.
    /// @return Hash of the node.
    function nodeHash(NormNode memory left, NormNode memory right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(NODE, left.hash, left.squares, right.hash, right.squares));
    }

    /// @notice Climbs from a node to the top.
    /// @param node Node to start from.
    /// @param position Its position within its level.
    /// @param siblings Nodes beside the path, from there up.
    /// @return True unless a sum on the way passes 2^256.
    /// @return The top.
    function climb(NormNode memory node, uint256 position, NormNode[] calldata siblings)
        internal
        pure
        returns (bool, NormNode memory)
    {
        for (uint256 i = 0; i < siblings.length; ++i) {
            NormNode memory sibling = siblings[i];
            if (sibling.squares > type(uint256).max - node.squares) return (false, node);
            bytes32 parent = position & 1 == 0 ? nodeHash(node, sibling) : nodeHash(sibling, node);
            node = NormNode(parent, node.squares + sibling.squares);
            position >>= 1;
        }
        return (true, node);
    }

    /// @notice Whether a chunk with its true sum of squares belongs to a vector.
    /// @param root Top of the tree and its sum.
    /// @param elements Length of the vector.
    /// @param index Index of the chunk.
    /// @param values Big-endian int64, packed.
    /// @param siblings Nodes beside the path, from the leaf up.
    /// @return True when the chunk has the right length and the path leads to the top and its sum.
    function holds(
        NormNode memory root,
        uint64 elements,
        uint32 index,
        bytes calldata values,
        NormNode[] calldata siblings
    ) internal pure returns (bool) {
        uint256 length = MerkleSumTree.chunkLength(elements, index);
        if (length == 0 || values.length != length * 8) return false;
        if (siblings.length != MerkleSumTree.height(elements)) return false;
        uint256 squares = squaresOf(values);
        return _reaches(root, NormNode(leafHash(index, squares, values), squares), index, siblings);
    }

    /// @param root Top of the tree and its sum.
    /// @param elements Length of the vector.
    /// @param proof Node as stated, its sum included.
    /// @return True when the node's place exists and its path leads to the top and its sum.
    function leadsTo(NormNode memory root, uint64 elements, NormProof calldata proof)
        internal
        pure
        returns (bool)
    {
        uint256 depth = proof.siblings.length;
        if (depth > MerkleSumTree.height(elements) || uint256(proof.position) >> depth != 0) return false;
        bytes32 hash = proof.preimage.length == 0 ? proof.hash : keccak256(proof.preimage);
        return _reaches(root, NormNode(hash, proof.squares), proof.position, proof.siblings);
    }

    /// @notice A chunk must state its own index and length, hold so many values and state their sum of squares; padding must
    ///         be (0, 0); an inner node must be one and its children's sums add up to its own. Of a hash without a preimage
    ///         only 0 is judged: it stands for padding and for nothing else.
    /// @param elements Length of the vector.
    /// @param proof Node in its place, as `leadsTo` has checked.
    /// @return True when it has the form and sum that its place demands.
    function isWellFormed(uint64 elements, NormProof calldata proof) internal pure returns (bool) {
        bytes calldata preimage = proof.preimage;
        bool isInner = proof.siblings.length < MerkleSumTree.height(elements);
        uint256 length = isInner ? 0 : MerkleSumTree.chunkLength(elements, proof.position);
        if (!isInner && length == 0) return preimage.length == 0 && proof.hash == 0 && proof.squares == 0;
        if (preimage.length == 0) return proof.hash != 0;
        if (isInner) return _addsUp(preimage, proof.squares);
        if (preimage.length != LEAF_HEADER_BYTES + length * 8) return false;
        bytes calldata values = preimage[LEAF_HEADER_BYTES:];
        return squaresOf(values) == proof.squares
            && keccak256(preimage) == leafHash(proof.position, proof.squares, values);
    }

    function _reaches(
        NormNode memory root,
        NormNode memory node,
        uint256 position,
        NormNode[] calldata siblings
    ) private pure returns (bool) {
        (bool isSum, NormNode memory top) = climb(node, position, siblings);
        return isSum && top.hash == root.hash && top.squares == root.squares;
    }

    function _addsUp(bytes calldata node, uint256 squares) private pure returns (bool) {
        if (node.length != NODE_BYTES || uint8(node[0]) != NODE) return false;
        uint256 left = uint256(bytes32(node[33:65]));
        uint256 right = uint256(bytes32(node[97:129]));
        return left <= type(uint256).max - right && left + right == squares;
    }
}
