// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bitmaps} from "./Bitmaps.sol";
import {Division, Groups} from "./Groups.sol";

/// @notice The bitmaps that decide the shape of a sealed round: over places who is ready and who is included, and which groups
///         count. The least significant bit of the first byte is place (or group) 0.
struct GroupShape {
    bytes ready;
    bytes included;
    bytes counting;
}

/// @notice Where one that counts sits.
struct SeatPlace {
    /// First place of the group, and the first after it.
    uint256 first;
    uint256 end;
    /// Which of the counting groups it is.
    uint256 groupRank;
    /// Which of the group's included members it is.
    uint256 rank;
    uint256 place;
}

/// @title Shape of the aggregation of a sealed round
/// @notice Those that count are the included members of counting groups, in the order of their places. Leaf
///         groupRank · 2^H + rank of the aggregation is that of one of them, with H the height of a group's tree. Above the
///         H levels of the groups' trees stands one node a group, and above these an ordinary tree.
library SealedShape {
    using Bitmaps for bytes;
    using Groups for Division;

    /// @notice No member that counts has this index or position.
    error NoSuchSeat();

    /// @param shape Bitmaps.
    /// @param division How the roster is divided.
    /// @param index Index among those that count.
    /// @return seat Where it sits.
    function seatOf(GroupShape calldata shape, Division memory division, uint256 index)
        internal
        pure
        returns (SeatPlace memory seat)
    {
        for (uint256 group = 0; group < division.groups; ++group) {
            if (!shape.counting.has(group)) continue;
            uint256 first = division.firstOf(group);
            uint256 end = division.firstOf(group + 1);
            uint256 included = shape.included.count(first, end);
            if (index < included) {
                (seat.first, seat.end, seat.rank) = (first, end, index);
                seat.place = _nth(shape.included, first, index);
                return seat;
            }
            index -= included;
            seat.groupRank += 1;
        }
        revert NoSuchSeat();
    }

    /// @param shape Bitmaps.
    /// @param division How the roster is divided.
    /// @param groupRank Which of the counting groups.
    /// @return Its included members; 0 if there is no such group.
    function includedAt(GroupShape calldata shape, Division memory division, uint256 groupRank)
        internal
        pure
        returns (uint256)
    {
        for (uint256 group = 0; group < division.groups; ++group) {
            if (!shape.counting.has(group)) continue;
            if (groupRank == 0) {
                return shape.included.count(division.firstOf(group), division.firstOf(group + 1));
            }
            --groupRank;
        }
        return 0;
    }

    /// @notice Whether the seed that a member shares with a place is revealed: with its own, or with one that is ready and not
    ///         included, so that its mask does not cancel.
    /// @param shape Bitmaps.
    /// @param seat Where the member sits.
    /// @param place Any place.
    /// @return True when it is; never for one of another group.
    function isRevealed(GroupShape calldata shape, SeatPlace memory seat, uint256 place)
        internal
        pure
        returns (bool)
    {
        if (place < seat.first || place >= seat.end) return false;
        return place == seat.place || (shape.ready.has(place) && !shape.included.has(place));
    }

    function _nth(bytes calldata bitmap, uint256 place, uint256 rank) private pure returns (uint256) {
        while (true) {
            if (bitmap.has(place)) {
                if (rank == 0) break;
                --rank;
            }
            ++place;
        }
        return place;
    }
}
