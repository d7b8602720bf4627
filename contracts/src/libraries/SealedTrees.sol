// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MerklePath} from "./MerklePath.sol";
import {MerkleSumTree} from "./MerkleSumTree.sol";
import {Chunk} from "./VectorTree.sol";

/// @notice A member as it enrolled for an epoch.
struct RosterEntry {
    address member;
    /// X25519 public key.
    bytes32 x25519;
    /// keccak-256 of the ML-KEM-768 public key.
    bytes32 mlkem;
}

/// @notice What the contract keeps of an included member of a counting group.
struct SealedRecord {
    /// Place of the member.
    uint32 place;
    /// Weight of its update.
    uint32 weight;
    /// Hash of its submission; see `SealedTypes.submissionHash`.
    bytes32 submission;
}

/// @title Trees and hashes of sealed rounds
/// @notice roster leaf = keccak(0x30 ‖ member:20 ‖ x25519:32 ‖ mlkem:32) and record leaf =
///         keccak(0x3a ‖ place:u32 ‖ weight:u32 ‖ submission:32), both in mountain ranges (`CommitmentTree`);
///         masked leaf = keccak(0x33 ‖ context:32 ‖ index:u32 ‖ count:u32 ‖ k:u8 ‖ count · k bytes), masked node =
///         keccak(0x34 ‖ left ‖ right), no root above the top since the context binds the number of elements;
///         seed commitment = keccak(0x38 ‖ context:32 ‖ rank:u8 ‖ seed:32), seed node = keccak(0x39 ‖ left ‖ right). Missing
///         leaves are 0.
library SealedTrees {
    /// First byte of a masked node.
    uint8 internal constant MASKED_NODE = 0x34;
    /// First byte of a node over the commitments to seeds.
    uint8 internal constant SEED_NODE = 0x39;

    uint256 private constant RECORD_BYTES = 41;
    uint256 private constant SEED_BYTES = 66;

    uint8 private constant ROSTER_LEAF = 0x30;
    uint8 private constant DRAW = 0x32;
    uint8 private constant MASKED_LEAF = 0x33;
    uint8 private constant EPOCH = 0x35;
    uint8 private constant CLOSE = 0x36;
    uint8 private constant SEED = 0x38;
    uint8 private constant RECORD_LEAF = 0x3a;

    /// @param entry Enrolled member.
    /// @return Hash of its leaf.
    function rosterLeaf(RosterEntry memory entry) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(ROSTER_LEAF, entry.member, entry.x25519, entry.mlkem));
    }

    /// @param self Record.
    /// @return Hash of its leaf.
    function recordLeaf(SealedRecord memory self) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(RECORD_LEAF, self.place, self.weight, self.submission));
    }

    /// @param preimage Preimage as stated.
    /// @return True for one of a record, whatever it states.
    function isRecord(bytes calldata preimage) internal pure returns (bool) {
        return preimage.length == RECORD_BYTES && uint8(preimage[0]) == RECORD_LEAF;
    }

    /// @param record Preimage of a record.
    /// @return Hash of the submission that it names.
    function submissionOf(bytes calldata record) internal pure returns (bytes32) {
        return bytes32(record[9:41]);
    }

    /// @param federation Federation of the draw.
    /// @param epoch Number of the epoch.
    /// @param rosterRoot Root of its roster.
    /// @param value What the beacon gave for the second block after the one in which enrolment was closed.
    /// @return Seed of the draw.
    function groupSeed(address federation, uint64 epoch, bytes32 rosterRoot, bytes32 value)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(DRAW, block.chainid, federation, epoch, rosterRoot, value));
    }

    /// @param rosterRoot Root of the roster.
    /// @param seed Seed of the draw.
    /// @param readyHash keccak-256 of the set of ready members.
    /// @return Root of the epoch, which masked updates state.
    function epochRoot(bytes32 rosterRoot, bytes32 seed, bytes32 readyHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(EPOCH, rosterRoot, seed, readyHash));
    }

    /// @param round Number of the round.
    /// @param epochRoot_ Root of its epoch.
    /// @param included Set of included members.
    /// @return Hash of the close.
    function closedHash(uint64 round, bytes32 epochRoot_, bytes calldata included)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(CLOSE, round, epochRoot_, keccak256(included)));
    }

    /// @param context Context of the update.
    /// @param elements Length of the vector.
    /// @param laneBytes Bytes of a lane.
    /// @param index Index of a chunk that the vector has.
    /// @return The bytes that a masked leaf's preimage must begin with.
    function maskedHeader(bytes32 context, uint64 elements, uint8 laneBytes, uint32 index)
        internal
        pure
        returns (bytes memory)
    {
        // At most 64.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint32 count = uint32(MerkleSumTree.chunkLength(elements, index));
        return abi.encodePacked(MASKED_LEAF, context, index, count, laneBytes);
    }

    /// @notice Whether a well-formed chunk belongs to a masked vector.
    /// @param root Top of the masked tree.
    /// @param context Context of the update.
    /// @param elements Length of the vector.
    /// @param laneBytes Bytes of a lane.
    /// @param index Index of the chunk.
    /// @param chunk Its big-endian lanes, packed, and the way to the top.
    /// @return True when the chunk has the right length and leads to the top.
    function maskedHolds(
        bytes32 root,
        bytes32 context,
        uint64 elements,
        uint8 laneBytes,
        uint32 index,
        Chunk calldata chunk
    ) internal pure returns (bool) {
        uint256 length = MerkleSumTree.chunkLength(elements, index);
        if (length == 0 || chunk.values.length != length * laneBytes) return false;
        if (chunk.siblings.length != MerkleSumTree.height(elements)) return false;
        bytes32 leaf =
            keccak256(bytes.concat(maskedHeader(context, elements, laneBytes, index), chunk.values));
        return MerklePath.climb(MASKED_NODE, leaf, index, chunk.siblings) == root;
    }

    /// @param preimage Preimage of a commitment as stated.
    /// @param context Context of the update.
    /// @param rank Rank at which it stands.
    /// @return True when it commits to some seed of this update at this rank.
    function isSeed(bytes calldata preimage, bytes32 context, uint256 rank) internal pure returns (bool) {
        return preimage.length == SEED_BYTES && uint8(preimage[0]) == SEED
            && bytes32(preimage[1:33]) == context && uint8(preimage[33]) == rank;
    }

    /// @notice Whether a member committed to some seeds.
    /// @param root Top of the tree over its commitments.
    /// @param height Levels of this tree; see `Groups.height`.
    /// @param context Context of the update.
    /// @param ranks Ranks at which they are committed to, ascending, below 256; overwritten.
    /// @param seeds As many seeds, at least one.
    /// @param siblings Hashes beside the paths from the commitments up; see `MerklePath.lead`.
    /// @return True when it did.
    function seedsHold(
        bytes32 root,
        uint256 height,
        bytes32 context,
        uint256[] memory ranks,
        bytes32[] calldata seeds,
        bytes32[] calldata siblings
    ) internal pure returns (bool) {
        if (seeds.length != ranks.length) return false;
        return
            MerklePath.lead(SEED_NODE, height, _commitmentsTo(context, ranks, seeds), ranks, siblings, root);
    }

    /// @dev Commitments to seeds, all hashed in the same place behind the memory in use. The rank is that of the member who
    ///      shares the seed: the own one for the seed of the self mask.
    // slither-disable-next-line assembly
    function _commitmentsTo(bytes32 context, uint256[] memory ranks, bytes32[] calldata seeds)
        private
        pure
        returns (bytes32[] memory nodes)
    {
        nodes = new bytes32[](seeds.length);
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore8(start, SEED)
            mstore(add(start, 1), context)
            for { let i := 0 } lt(i, seeds.length) { i := add(i, 1) } {
                let offset := add(shl(5, i), 32)
                mstore8(add(start, 33), mload(add(ranks, offset)))
                mstore(add(start, 34), calldataload(add(seeds.offset, shl(5, i))))
                mstore(add(nodes, offset), keccak256(start, SEED_BYTES))
            }
        }
    }
}
