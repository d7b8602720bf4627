// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Bitmaps} from "./Bitmaps.sol";
import {MerklePath} from "./MerklePath.sol";

/// @notice How the places of a roster are divided.
struct Division {
    /// Places, n.
    uint32 places;
    /// Groups, G = floor(n / groupSize), at least 1.
    uint32 groups;
}

/// @title Groups of the places of a roster
/// @notice Group q holds the places p with floor(p · G / n) = q: sizes differ by one at most and are below twice the group
///         size of the rules.
library Groups {
    using Bitmaps for bytes;

    /// @notice Too few members of the group are ready, or included: leave it out.
    error GroupCannotCount(uint256 group);

    /// @param places Members of the roster, at least `groupSize`.
    /// @param groupSize Least size of a group.
    /// @return How they are divided.
    function divide(uint32 places, uint16 groupSize) internal pure returns (Division memory) {
        return Division(places, places / groupSize);
    }

    /// @param self Division.
    /// @param place Place below n.
    /// @return Its group.
    function groupOf(Division memory self, uint256 place) internal pure returns (uint256) {
        // 32 bits by 32.
        unchecked {
            return place * self.groups / self.places;
        }
    }

    /// @param self Division.
    /// @param group Group, up to G; place n is the first of group G, which does not exist.
    /// @return Its first place, ceil(group · n / G).
    function firstOf(Division memory self, uint256 group) internal pure returns (uint256) {
        // 32 bits by 32.
        unchecked {
            return (group * self.places + self.groups - 1) / self.groups;
        }
    }

    /// @param self Division.
    /// @return Levels of the trees over a group's members, the same for all: enough for the largest group.
    function height(Division memory self) internal pure returns (uint256) {
        return MerklePath.height((uint256(self.places) + self.groups - 1) / self.groups);
    }

    /// @param ready Ready members of a group.
    /// @return Shares that give a seed: more than two thirds of them.
    function threshold(uint256 ready) internal pure returns (uint256) {
        // Members are counted: far from 2^256.
        unchecked {
            return 2 * ready / 3 + 1;
        }
    }

    /// @param ready Ready members of a group.
    /// @return Included members below which the group is void: the threshold, or three quarters if that is more.
    function leastIncluded(uint256 ready) internal pure returns (uint256) {
        // Members are counted: far from 2^256.
        unchecked {
            uint256 shares = threshold(ready);
            uint256 most = (3 * ready + 3) / 4;
            return most > shares ? most : shares;
        }
    }

    /// @param ready Ready members of a group.
    /// @param size Its places.
    /// @return Whether so many can take part in rounds: nine in ten.
    function isFit(uint256 ready, uint256 size) internal pure returns (bool) {
        // Members are counted: far from 2^256.
        unchecked {
            return 10 * ready >= 9 * size;
        }
    }

    /// @notice What counts in a round. Reverts if a group that is stated may not.
    /// @param self Division.
    /// @param ready Ready members, by place.
    /// @param included Included members, by place.
    /// @param counting Groups that count, by their number.
    /// @return groups Number of these groups.
    /// @return members Included members of theirs.
    function tally(
        Division memory self,
        bytes calldata ready,
        bytes calldata included,
        bytes calldata counting
    ) internal pure returns (uint256 groups, uint256 members) {
        uint256 end = 0;
        // Members are counted: far from 2^256.
        unchecked {
            for (uint256 group = 0; group < self.groups; ++group) {
                uint256 first = end;
                end = firstOf(self, group + 1);
                if (!counting.has(group)) continue;
                uint256 here = _members(first, end, ready, included);
                require(here > 0, GroupCannotCount(group));
                ++groups;
                members += here;
            }
        }
    }

    /// @dev Of a group by its first place and the one after its last. Whatever counts has a member.
    function _members(uint256 first, uint256 end, bytes calldata ready, bytes calldata included)
        private
        pure
        returns (uint256 members)
    {
        uint256 present = ready.count(first, end);
        members = included.count(first, end);
        unchecked {
            if (!isFit(present, end - first) || members < leastIncluded(present)) return 0;
        }
    }
}
