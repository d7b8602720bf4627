// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LaneBlock} from "../../src/libraries/Unmasking.sol";
import {Lanes} from "./Lanes.sol";
import {PlainChaCha} from "./PlainChaCha.sol";

/// @notice Removal of masks, written down a second time, a lane at a time.
library PlainMasks {
    /// @dev The block's lanes unmasked one by one, the others 0.
    function unmask(LaneBlock memory self, bytes memory masked, bytes32[] memory seeds, uint256 own)
        internal
        pure
        returns (bytes memory)
    {
        int256[] memory lanes = new int256[](masked.length / self.laneBytes);
        for (uint256 j = 0; j < seeds.length; ++j) {
            subtract(self, lanes, seeds[j], j >= own);
        }
        int256 modulus = int256(1 << (8 * uint256(self.laneBytes)));
        for (uint256 i = first(self); i < first(self) + 8 && i < lanes.length; ++i) {
            uint256 y = 0;
            for (uint256 k = 0; k < self.laneBytes; ++k) {
                y = (y << 8) | uint8(masked[i * self.laneBytes + k]);
            }
            lanes[i] = (lanes[i] + int256(y)) % modulus;
            if (lanes[i] < 0) lanes[i] += modulus;
        }
        return Lanes.pack(lanes, 0, lanes.length, 8);
    }

    function subtract(LaneBlock memory self, int256[] memory lanes, bytes32 seed, bool isAdded) private pure {
        bytes memory stream = PlainChaCha.blockOf(seed, self.index * 8 + self.number);
        for (uint256 i = 0; i < 8 && first(self) + i < lanes.length; ++i) {
            uint256 mask = 0;
            for (uint256 k = 0; k < self.laneBytes; ++k) {
                mask |= uint256(uint8(stream[8 * i + k])) << (8 * k);
            }
            lanes[first(self) + i] += isAdded ? -int256(mask) : int256(mask);
        }
    }

    function first(LaneBlock memory self) private pure returns (uint256) {
        return uint256(self.number) * 8;
    }
}
