// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice A node beside the path of a proof.
struct SumNode {
    bytes32 hash;
    uint128 sum;
}

/// @notice Where an update belongs. Everything that its leaves are bound to.
struct UpdatePlace {
    /// Chain of the federation.
    uint256 chainId;
    /// Address of the federation.
    address federation;
    /// Number of the round.
    uint64 round;
    /// Signer.
    address member;
    /// Length of the vector.
    uint64 elements;
}

/// @title Merkle sum tree over the chunks of an update
/// @notice Commits to a vector of int32 and to the sum of its squares at once: every node states the sum of the
///         squares below it, so that a root with a wrong sum has a leaf or a node that shows it.
///         Integers are big-endian; leaves and nodes differ in their first byte; the height follows from the number
///         of elements; missing leaves are (0, 0).
/// @dev Values are packed, four bytes each: Solidity would pad an `int32[]` to whole words.
library MerkleSumTree {
    /// Elements of a chunk; the last one may hold fewer.
    uint256 internal constant CHUNK_ELEMENTS = 64;
    /// Bytes of an int32.
    uint256 internal constant ELEMENT_BYTES = 4;

    bytes1 private constant LEAF = 0x00;
    bytes1 private constant NODE = 0x01;

    /// @notice The chunk is not a whole number of int32.
    error RaggedChunk(uint256 length);

    /// @notice Binds the leaves of an update to its place, so that it cannot be copied or cut.
    /// @param place Where the update belongs.
    /// @return keccak(abi.encode(chainId, federation, round, member, elements)).
    function context(UpdatePlace memory place) internal pure returns (bytes32) {
        return keccak256(abi.encode(place));
    }

    /// @param elements Length of the vector, at least 1.
    /// @return Number of chunks.
    function chunkCount(uint64 elements) internal pure returns (uint256) {
        return (uint256(elements) + CHUNK_ELEMENTS - 1) / CHUNK_ELEMENTS;
    }

    /// @param elements Length of the vector, at least 1.
    /// @return levels Levels above the leaves: the binary logarithm of the chunks, rounded up.
    function height(uint64 elements) internal pure returns (uint256 levels) {
        for (uint256 width = 1; width < chunkCount(elements); width <<= 1) {
            levels += 1;
        }
    }

    /// @param elements Length of the vector.
    /// @param index Index of a chunk.
    /// @return Elements that this chunk must hold; 0 when there is no such chunk.
    function chunkLength(uint64 elements, uint32 index) internal pure returns (uint256) {
        uint256 start = uint256(index) * CHUNK_ELEMENTS;
        if (start >= elements) return 0;
        uint256 rest = elements - start;
        return rest < CHUNK_ELEMENTS ? rest : CHUNK_ELEMENTS;
    }

    /// @notice Σd² of a packed chunk.
    /// @param values Big-endian int32, packed.
    /// @return sum Sum of the squares.
    // Solidity has no signed read of four bytes from memory.
    // slither-disable-next-line assembly
    function sumOfSquares(bytes memory values) internal pure returns (uint128 sum) {
        require(values.length % ELEMENT_BYTES == 0, RaggedChunk(values.length));
        for (uint256 offset = 0; offset < values.length; offset += ELEMENT_BYTES) {
            int256 value;
            assembly ("memory-safe") {
                // The word that begins at the element, shifted down with its sign. It may reach past the end of the
                // array; those bytes are shifted out.
                value := sar(224, mload(add(add(values, 32), offset)))
            }
            // The square of an int32 is not negative and at most 2^62, and memory holds fewer than 2^66 of them.
            unchecked {
                // forge-lint: disable-next-line(unsafe-typecast)
                sum += uint128(uint256(value * value));
            }
        }
    }

    /// @notice Hash of a leaf over its stated values; whether the sum is right is for the caller to compare.
    /// @param context_ Context of the update.
    /// @param index Index of the chunk.
    /// @param sum Stated Σd² of the chunk.
    /// @param values Big-endian int32, packed; their number is part of the hash.
    /// @return keccak(0x00 ‖ context ‖ index:u32 ‖ count:u32 ‖ sum:u128 ‖ values).
    function leafHash(bytes32 context_, uint32 index, uint128 sum, bytes memory values)
        internal
        pure
        returns (bytes32)
    {
        require(values.length % ELEMENT_BYTES == 0, RaggedChunk(values.length));
        // 2^32 elements do not fit any memory that gas can pay for.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint32 count = uint32(values.length / ELEMENT_BYTES);
        return keccak256(abi.encodePacked(LEAF, context_, index, count, sum, values));
    }

    /// @param left Left child.
    /// @param right Right child.
    /// @return keccak(0x01 ‖ left ‖ leftSum:u128 ‖ right ‖ rightSum:u128).
    function nodeHash(SumNode memory left, SumNode memory right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(NODE, left.hash, left.sum, right.hash, right.sum));
    }

    /// @notice Climbs from a chunk to the root.
    /// @dev The context is derived here and not taken from the caller: the number of elements decides which chunks
    ///      there are and how long the last one is, and it is the leaves' context that holds a root to that number.
    ///      Sums are checked for overflow: honest ones stay far below 2^128, so that one that overflows is a lie.
    /// @param place Where the update belongs.
    /// @param index Index of the chunk.
    /// @param values The chunk, packed.
    /// @param siblings Nodes beside the path, from the leaf up.
    /// @param root Root hash and Σd² of the update.
    /// @return True when the chunk has the right length and Σd², and the path leads to the root and its sum.
    function verify(
        UpdatePlace memory place,
        uint32 index,
        bytes memory values,
        SumNode[] memory siblings,
        SumNode memory root
    ) internal pure returns (bool) {
        uint256 length = chunkLength(place.elements, index);
        if (length == 0 || values.length != length * ELEMENT_BYTES) return false;
        if (siblings.length != height(place.elements)) return false;

        uint128 sum = sumOfSquares(values);
        SumNode memory node = SumNode(leafHash(context(place), index, sum, values), sum);
        uint256 position = index;
        for (uint256 level = 0; level < siblings.length; ++level) {
            SumNode memory sibling = siblings[level];
            if (sibling.sum > type(uint128).max - node.sum) return false;
            bytes32 parent = position & 1 == 0 ? nodeHash(node, sibling) : nodeHash(sibling, node);
            node = SumNode(parent, node.sum + sibling.sum);
            position >>= 1;
        }
        return node.hash == root.hash && node.sum == root.sum;
    }
}
