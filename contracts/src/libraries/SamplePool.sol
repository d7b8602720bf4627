// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The indices that were not drawn yet: `remaining` places, of which only those that were moved are stored.
struct Pool {
    uint32 remaining;
    /// What lies at a place, plus 1; 0 where the place's own number lies.
    mapping(uint32 place => uint32 indexPlusOne) moved;
}

/// @title Draw without replacement
/// @notice R. A. Fisher and F. Yates, 1938: what is drawn makes room for what lies last, and the last place goes. A draw
///         costs one storage slot. What was drawn is never drawn again, in no later trial.
library SamplePool {
    /// @param self Pool with something left in it.
    /// @param random Uniform number of 256 bits; the bias of its remainder is below 2^−224.
    /// @return index What was drawn.
    function draw(Pool storage self, uint256 random) internal returns (uint32 index) {
        uint32 remaining = self.remaining;
        // Below `remaining`.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint32 place = uint32(random % remaining);
        uint32 last = remaining - 1;
        index = indexAt(self, place);
        if (place != last) self.moved[place] = indexAt(self, last) + 1;
        self.remaining = last;
    }

    /// @param self Pool.
    /// @param place Place below `remaining`.
    /// @return What lies there.
    function indexAt(Pool storage self, uint32 place) internal view returns (uint32) {
        uint32 stored = self.moved[place];
        return stored == 0 ? place : stored - 1;
    }
}
