// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {MerklePath} from "./MerklePath.sol";

/// @dev Bits in the number of a round's updates. At file level, since array types take no library's constant.
uint256 constant MAX_PEAKS = 32;

/// @notice What the contract keeps of an accepted update.
struct Commitment {
    /// Signer.
    address member;
    /// Weight that the contract gave.
    uint32 weight;
    /// Root hash of the update's sum tree.
    bytes32 updateRoot;
    /// Σd² that the member signed.
    uint128 sumSquares;
}

/// @title Merkle mountain range over the accepted updates of a round
/// @notice leaf = keccak(0x0a ‖ member:20 ‖ weight:u32 ‖ updateRoot:32 ‖ sumSquares:u128),
///         node = keccak(0x0b ‖ left ‖ right). After n updates there is one perfect tree, a peak, for each bit that is
///         set in n, the largest first; update i lies in the first peak that reaches beyond i.
/// @dev Appending costs one hash on average, and storage only for the peaks that stand at the end of a batch: a
///      single slot for 16 updates. Source: P. Todd, "Merkle Mountain Ranges", 2012; peaks alone, not bagged.
library CommitmentTree {
    /// First byte of a node.
    uint8 internal constant NODE = 0x0b;
    uint8 private constant LEAF = 0x0a;

    /// @param commitment Accepted update.
    /// @return Hash of its leaf.
    function leafHash(Commitment memory commitment) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                LEAF, commitment.member, commitment.weight, commitment.updateRoot, commitment.sumSquares
            )
        );
    }

    /// @notice Adds a leaf.
    /// @param peaks Peaks by their height; those whose bit is not set in `count` are ignored.
    /// @param count Leaves so far.
    /// @param node Leaf to add.
    function append(bytes32[MAX_PEAKS] memory peaks, uint32 count, bytes32 node) internal pure {
        uint256 level = 0;
        while ((count >> level) & 1 == 1) {
            node = keccak256(abi.encodePacked(NODE, peaks[level], node));
            ++level;
        }
        peaks[level] = node;
    }

    /// @notice Hash of a whole range: keccak(count:u32 ‖ its peaks, the largest first).
    /// @param peaks Peaks by their height.
    /// @param count Leaves in all.
    /// @return The hash.
    function rangeHash(bytes32[MAX_PEAKS] storage peaks, uint32 count) internal view returns (bytes32) {
        bytes memory packed = abi.encodePacked(count);
        uint256 level = 0;
        while (count >> level > 0) ++level;
        for (; level > 0; --level) {
            if ((count >> (level - 1)) & 1 == 1) packed = bytes.concat(packed, peaks[level - 1]);
        }
        return keccak256(packed);
    }

    /// @notice Which peak a leaf lies under.
    /// @param count Leaves in all.
    /// @param index Index of a leaf below `count`.
    /// @return level Height of the peak.
    /// @return position Position of the leaf within it.
    function locate(uint32 count, uint32 index) internal pure returns (uint256 level, uint256 position) {
        level = MAX_PEAKS;
        position = index;
        while (true) {
            // Below level 0 this panics: then the index is not below the count.
            --level;
            if ((count >> level) & 1 == 0) continue;
            uint256 width = uint256(1) << level;
            if (position < width) return (level, position);
            position -= width;
        }
    }

    /// @notice Climbs from a leaf to the top of its peak.
    /// @param node Leaf.
    /// @param position Its position within the peak.
    /// @param siblings Hashes beside the path, from the leaf up.
    /// @return Hash of the peak.
    function climb(bytes32 node, uint256 position, bytes32[] calldata siblings)
        internal
        pure
        returns (bytes32)
    {
        return MerklePath.climb(NODE, node, position, siblings);
    }
}
