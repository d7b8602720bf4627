// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChaCha20} from "./ChaCha20.sol";
import {VectorTree} from "./VectorTree.sol";

/// @notice Eight lanes of a chunk: those of one block of every stream.
struct LaneBlock {
    /// Index of the chunk in the vector.
    uint32 index;
    /// Number of the block within the chunk, 0 to 7; lanes that the chunk does not have follow from anything.
    uint8 number;
    /// Bytes of a lane, k, at most 6.
    uint8 laneBytes;
}

/// @title Removal of masks, and the reading of a group's sum
/// @notice Lanes are integers mod 2^(8k). A leaf of the aggregation tree holds
///         u = y − P(own) − Σ P(seed above) + Σ P(seed below), each lane in 0 … 2^(8k) − 1 and stated as int64; what is left
///         in it are masks that cancel in the group's sum.
library Unmasking {
    uint256 private constant BLOCK_LANES = 8;
    uint256 private constant WORD_LANES = 4;
    /// Times an integer below 2^64: that integer in every lane of a word.
    // slither-disable-next-line too-many-digits
    uint256 private constant EVERY_LANE = 0x0000000000000001000000000000000100000000000000010000000000000001;

    /// @notice Whether the lanes of a block were unmasked as they should be.
    /// @dev Four lanes a word, 64 bits each: fewer than 65,536 lanes of 48 bits never add up into the next one.
    /// @param self Which lanes.
    /// @param masked y: the lanes of the whole chunk, k bytes each, as many as `unmasked` holds.
    /// @param unmasked u: int64.
    /// @param seeds Seeds of all masks that do not cancel, in the order of the places that the member shares them with.
    /// @param own Which of them is the member's own. That mask and those after it were added, those before it subtracted.
    /// @return True when every lane of the block follows.
    function follows(
        LaneBlock memory self,
        bytes calldata masked,
        bytes calldata unmasked,
        bytes32[] calldata seeds,
        uint256 own
    ) internal pure returns (bool) {
        uint256 lane = self.number * BLOCK_LANES;
        // Nothing is there that could be wrong.
        if (lane >= unmasked.length / 8) return true;
        uint256 first = _lanesAt(masked, lane, self.laneBytes);
        uint256 second = _lanesAt(masked, lane + WORD_LANES, self.laneBytes);
        (first, second) = _unmask(self, first, second, seeds, own);
        return _agree(unmasked, lane, first) && _agree(unmasked, lane + WORD_LANES, second);
    }

    /// @notice Whether the sum of a group is read with signs as it should be: each lane mod 2^(8k) as a signed integer of k bytes.
    /// @param laneBytes Bytes of a lane, k.
    /// @param lanes int64 chunk of the sum of lanes.
    /// @param sums int64 chunk of the group's sum, of the same length.
    /// @return True when every element follows.
    function reads(uint256 laneBytes, bytes calldata lanes, bytes calldata sums)
        internal
        pure
        returns (bool)
    {
        uint256 shift = 256 - 8 * laneBytes;
        for (uint256 i = 0; i < sums.length / 8; ++i) {
            // The upper bits are shifted out, and the sign of what is left comes back.
            if (VectorTree.int64At(sums, i) != (VectorTree.int64At(lanes, i) << shift) >> shift) {
                return false;
            }
        }
        return true;
    }

    /// @dev The masked lanes without what does not cancel in the group's sum. To subtract p is to add 2^(8k) − p.
    function _unmask(
        LaneBlock memory self,
        uint256 first,
        uint256 second,
        bytes32[] calldata seeds,
        uint256 own
    ) private pure returns (uint256, uint256) {
        unchecked {
            uint256 limit = ((uint256(1) << (8 * self.laneBytes)) - 1) * EVERY_LANE;
            uint256 counter = self.index * BLOCK_LANES + self.number;
            for (uint256 i = 0; i < seeds.length; ++i) {
                (uint256 left, uint256 right) = ChaCha20.lanes(seeds[i], counter);
                if (i >= own) {
                    first += limit + EVERY_LANE - (left & limit);
                    second += limit + EVERY_LANE - (right & limit);
                } else {
                    first += left & limit;
                    second += right & limit;
                }
            }
            return (first & limit, second & limit);
        }
    }

    /// @dev Whether the four int64 from `lane` on, or those of them that the chunk has, are as expected.
    function _agree(bytes calldata unmasked, uint256 lane, uint256 expected) private pure returns (bool) {
        unchecked {
            if (lane >= unmasked.length / 8) return true;
            uint256 wrong = _word(unmasked, 8 * lane) ^ expected;
            uint256 lanes = unmasked.length / 8 - lane;
            return (lanes < WORD_LANES ? wrong >> (64 * (WORD_LANES - lanes)) : wrong) == 0;
        }
    }

    /// @dev Four lanes, 64 bits each; what lies beyond the chunk is anything.
    function _lanesAt(bytes calldata masked, uint256 lane, uint256 laneBytes)
        private
        pure
        returns (uint256 word)
    {
        unchecked {
            uint256 offset = lane * laneBytes;
            for (uint256 i = 0; i < WORD_LANES; ++i) {
                word = (word << 64) | (_word(masked, offset) >> (256 - 8 * laneBytes));
                offset += laneBytes;
            }
        }
    }

    // Solidity reads no word that may reach past the end.
    // slither-disable-next-line assembly
    function _word(bytes calldata data, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(data.offset, offset))
        }
    }
}
