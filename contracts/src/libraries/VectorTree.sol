// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MerklePath} from "./MerklePath.sol";
import {MerkleSumTree} from "./MerkleSumTree.sol";

/// @notice Which vector a tree is over. The first byte of its leaves; nodes and roots have the next two.
enum VectorKind {
    /// int32: a model.
    Model,
    /// int64: weighted updates, summed.
    Sums
}

/// @notice A chunk of a vector and the way from it to the root.
struct Chunk {
    /// Big-endian elements, packed.
    bytes values;
    /// Hashes beside the path, from the leaf up.
    bytes32[] siblings;
}

/// @title Merkle tree over the chunks of a model or of a vector of sums
/// @notice leaf = keccak(kind ‖ index:u32 ‖ count:u32 ‖ values), node = keccak(kind + 1 ‖ left ‖ right),
///         root = keccak(kind + 2 ‖ elements:u64 ‖ top), with kind 0x02 for int32 and 0x05 for int64; missing leaves
///         are 0. The root binds the number of elements, which decides the shape.
library VectorTree {
    /// Bytes before the values of a leaf: kind, index, count.
    uint256 internal constant LEAF_HEADER_BYTES = 9;
    /// Bytes of a node's preimage.
    uint256 internal constant NODE_BYTES = 65;
    /// Bytes of a root's preimage.
    uint256 internal constant ROOT_BYTES = 41;

    /// @param kind Kind of vector.
    /// @return First byte of a leaf's preimage.
    function leafByte(VectorKind kind) internal pure returns (uint8) {
        return kind == VectorKind.Model ? 0x02 : 0x05;
    }

    /// @param kind Kind of vector.
    /// @return Bytes of an element.
    function elementBytes(VectorKind kind) internal pure returns (uint256) {
        return kind == VectorKind.Model ? 4 : 8;
    }

    /// @param kind Kind of vector.
    /// @param elements Length of the vector.
    /// @param index Index of a chunk that the vector has.
    /// @return The bytes that the leaf's preimage must begin with.
    function leafHeader(VectorKind kind, uint64 elements, uint32 index) internal pure returns (bytes memory) {
        // At most 64.
        // forge-lint: disable-next-line(unsafe-typecast)
        return abi.encodePacked(leafByte(kind), index, uint32(MerkleSumTree.chunkLength(elements, index)));
    }

    /// @notice Climbs from a node to the top.
    /// @param kind Kind of vector.
    /// @param node Hash to start from.
    /// @param position Its position within its level.
    /// @param siblings Hashes beside the path, from there up.
    /// @return Hash of the top node.
    function climb(VectorKind kind, bytes32 node, uint256 position, bytes32[] calldata siblings)
        internal
        pure
        returns (bytes32)
    {
        return MerklePath.climb(leafByte(kind) + 1, node, position, siblings);
    }

    /// @param kind Kind of vector.
    /// @param elements Length of the vector.
    /// @param top Hash of the top node.
    /// @return Root.
    function rootOf(VectorKind kind, uint64 elements, bytes32 top) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(leafByte(kind) + 2, elements, top));
    }

    /// @notice Whether a well-formed chunk belongs to a vector.
    /// @param kind Kind of vector.
    /// @param elements Length of the vector.
    /// @param index Index of the chunk.
    /// @param chunk Its values and the way to the root.
    /// @param root Root of the vector.
    /// @return True when the chunk has the right length and leads to the root.
    function holds(VectorKind kind, uint64 elements, uint32 index, Chunk calldata chunk, bytes32 root)
        internal
        pure
        returns (bool)
    {
        uint256 length = MerkleSumTree.chunkLength(elements, index);
        if (length == 0 || chunk.values.length != length * elementBytes(kind)) return false;
        if (chunk.siblings.length != MerkleSumTree.height(elements)) return false;
        bytes32 leaf = keccak256(bytes.concat(leafHeader(kind, elements, index), chunk.values));
        return rootOf(kind, elements, climb(kind, leaf, index, chunk.siblings)) == root;
    }

    /// @param values Packed int32; at least 4 · (index + 1) bytes, which `holds` has checked.
    /// @param index Index of the element.
    /// @return value The element.
    // Solidity has no signed read of four bytes.
    // slither-disable-next-line assembly
    function int32At(bytes calldata values, uint256 index) internal pure returns (int256 value) {
        assembly ("memory-safe") {
            value := sar(224, calldataload(add(values.offset, mul(index, 4))))
        }
    }

    /// @param values Packed int64; at least 8 · (index + 1) bytes, which `holds` has checked.
    /// @param index Index of the element.
    /// @return value The element.
    // Solidity has no signed read of eight bytes.
    // slither-disable-next-line assembly
    function int64At(bytes calldata values, uint256 index) internal pure returns (int256 value) {
        assembly ("memory-safe") {
            value := sar(192, calldataload(add(values.offset, mul(index, 8))))
        }
    }
}
