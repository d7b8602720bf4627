// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title Node of a group in the aggregation tree
/// @notice keccak(0x3c ‖ weight:u64 ‖ sums:32 ‖ child:32 ‖ norm:32). `sums` is the root of the group's sum, read with signs; `child`
///         the hash of the node whose lanes are read; `norm` the root of the sum's squares (`NormTree`). What it states lies
///         where it does in the other nodes of the tree.
library GroupNode {
    /// First byte.
    uint8 internal constant KIND = 0x3c;
    /// Bytes of a preimage.
    uint256 internal constant BYTES = 105;

    /// @param preimage Preimage as stated.
    /// @return True for a node of the right length and kind.
    function isGroup(bytes calldata preimage) internal pure returns (bool) {
        return preimage.length == BYTES && uint8(preimage[0]) == KIND;
    }

    /// @param preimage Preimage that `isGroup` has checked.
    /// @return Hash of its child.
    function childOf(bytes calldata preimage) internal pure returns (bytes32) {
        return bytes32(preimage[41:73]);
    }

    /// @param preimage Preimage that `isGroup` has checked.
    /// @return Hash of the root of its squares.
    function normOf(bytes calldata preimage) internal pure returns (bytes32) {
        return bytes32(preimage[73:105]);
    }
}
