// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

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
    /// @return Its place.
    function placeOf(GroupShape calldata shape, Division memory division, uint256 index)
        internal
        pure
        returns (uint256)
    {
        for (uint256 group = 0; group < division.groups; ++group) {
            if (!shape.counting.has(group)) continue;
            uint256 first = division.firstOf(group);
            uint256 included = shape.included.count(first, division.firstOf(group + 1));
            if (index < included) return _nth(shape.included, first, index);
            index -= included;
        }
        revert NoSuchSeat();
    }

    /// @notice Where the one that counts at a place sits. Its record states this place: of one that states another,
    ///         `proveWrongRecord` shows it.
    /// @param shape Bitmaps.
    /// @param division How the roster is divided.
    /// @param place Its place.
    /// @return seat Where it sits.
    function seatAt(GroupShape calldata shape, Division memory division, uint256 place)
        internal
        pure
        returns (SeatPlace memory seat)
    {
        require(place < division.places && shape.included.has(place), NoSuchSeat());
        uint256 group = division.groupOf(place);
        require(shape.counting.has(group), NoSuchSeat());
        seat.place = place;
        seat.first = division.firstOf(group);
        seat.end = division.firstOf(group + 1);
        seat.groupRank = shape.counting.count(0, group);
        seat.rank = shape.included.count(seat.first, place);
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

    /// @param shape Bitmaps.
    /// @param seat Where the member sits.
    /// @return How many members of its group before it were ready and are not included.
    function absentBefore(GroupShape calldata shape, SeatPlace memory seat) internal pure returns (uint256) {
        // Who is included was ready.
        return shape.ready.count(seat.first, seat.place) - seat.rank;
    }

    /// @notice The ranks of all places for which `isRevealed` holds.
    /// @param shape Bitmaps.
    /// @param seat Where the member sits.
    /// @return ranks Ranks in the group, ascending.
    function revealed(GroupShape calldata shape, SeatPlace memory seat)
        internal
        pure
        returns (uint256[] memory ranks)
    {
        (uint256 first, uint256 end) = (seat.first, seat.end);
        // The own one, and those that are ready and not included, who are ready and no others.
        uint256 total = shape.ready.count(first, end) - shape.included.count(first, end) + 1;
        ranks = new uint256[](total);
        uint256 found = 0;
        for (uint256 start = first & ~uint256(7); start < end; start += 8) {
            uint256 bits = shape.ready.octet(start) & ~shape.included.octet(start);
            if (seat.place & ~uint256(7) == start) bits |= uint256(1) << (seat.place & 7);
            for (uint256 place = start; bits != 0; ++place) {
                if (bits & 1 == 1 && place >= first && place < end) ranks[found++] = place - first;
                bits >>= 1;
            }
        }
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
