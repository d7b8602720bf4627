// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @notice An example of the validation set, revealed when it is used.
struct Sample {
    /// Hides the example until then.
    bytes32 salt;
    uint32 label;
    /// Raw uint8 input in the layout of the ONNX model.
    bytes input;
    /// Hashes beside its way to the top, from the leaf up.
    bytes32[] siblings;
}

/// @title Merkle tree over a validation set
/// @notice leaf = keccak(0x20 ‖ salt:32 ‖ label:u32 ‖ input), node = keccak(0x21 ‖ left ‖ right), padded on the right with
///         zero hashes to a power of two, root = keccak(0x22 ‖ count:u32 ‖ top).
library SampleTree {
    bytes1 private constant LEAF = 0x20;
    bytes1 private constant NODE = 0x21;
    bytes1 private constant ROOT = 0x22;

    /// @param count Samples in the set, at least 1.
    /// @param index Index of the sample.
    /// @param sample Sample and its way to the top.
    /// @return Root that it leads to; zero when its way has not the height of the tree.
    function rootOf(uint32 count, uint32 index, Sample calldata sample) internal pure returns (bytes32) {
        if (uint256(1) << sample.siblings.length < count) return 0;
        if (sample.siblings.length > 0 && uint256(1) << (sample.siblings.length - 1) >= count) return 0;
        bytes32 node = keccak256(abi.encodePacked(LEAF, sample.salt, sample.label, sample.input));
        uint256 position = index;
        for (uint256 i = 0; i < sample.siblings.length; ++i) {
            bytes32 sibling = sample.siblings[i];
            node = position & 1 == 0
                ? keccak256(abi.encodePacked(NODE, node, sibling))
                : keccak256(abi.encodePacked(NODE, sibling, node));
            position >>= 1;
        }
        return keccak256(abi.encodePacked(ROOT, count, node));
    }
}
