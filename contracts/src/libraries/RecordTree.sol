// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {MerklePath} from "./MerklePath.sol";

/// @notice What a roll-up states of one update that was received.
struct Record {
    /// Member who is said to have signed.
    address member;
    /// `Refusal` as a number; 0 when the update counts.
    uint8 reason;
    /// Weight of the update; 0 when it is refused.
    uint32 weight;
    /// Updates that count up to this one, itself included.
    uint32 accepted;
    /// Their weights, summed.
    uint64 total;
    /// Hash of what was received; see `SubmissionCode`.
    bytes32 submission;
}

/// @notice A record and the way to the root.
struct RecordProof {
    uint32 index;
    Record record;
    bytes32[] siblings;
}

/// @title Tree over the records of a roll-up
/// @notice leaf = keccak(0x0c ‖ member:20 ‖ reason:u8 ‖ weight:u32 ‖ accepted:u32 ‖ total:u64 ‖ submission:32),
///         node = keccak(0x0d ‖ left ‖ right); missing leaves are 0. The number of records, which the contract holds,
///         decides the shape.
library RecordTree {
    /// First byte of a leaf.
    uint8 internal constant LEAF = 0x0c;
    /// First byte of a node.
    uint8 internal constant NODE = 0x0d;
    /// Bytes of a leaf's preimage.
    uint256 internal constant LEAF_BYTES = 70;
    /// Bytes of a node's preimage.
    uint256 internal constant NODE_BYTES = 65;

    /// @param record What is stated of an update.
    /// @return Hash of its leaf.
    function leafHash(Record calldata record) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                LEAF,
                record.member,
                record.reason,
                record.weight,
                record.accepted,
                record.total,
                record.submission
            )
        );
    }

    /// @param count Number of records.
    /// @param proof A record and the way to the root.
    /// @param root Root.
    /// @return True when the record stands at its index.
    function holds(uint32 count, RecordProof calldata proof, bytes32 root) internal pure returns (bool) {
        return proof.index < count && proof.siblings.length == MerklePath.height(count)
            && MerklePath.climb(NODE, leafHash(proof.record), proof.index, proof.siblings) == root;
    }

    /// @notice Whether a record follows from the one before it; of the very first one, from a record of zeros.
    /// @param before Record before.
    /// @param record Record.
    /// @return True when members ascend and the running totals follow.
    function follows(Record memory before, Record calldata record) internal pure returns (bool) {
        uint256 counts = record.reason == 0 ? 1 : 0;
        return record.member > before.member && record.accepted == uint256(before.accepted) + counts
            && record.total == uint256(before.total) + record.weight;
    }
}
