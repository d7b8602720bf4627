// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Division, Groups} from "../../src/libraries/Groups.sol";
import {GroupShape, SealedShape, SeatPlace} from "../../src/libraries/SealedShape.sol";
import {Shuffle} from "../../src/libraries/Shuffle.sol";
import {TestBase} from "../base/TestBase.sol";
import {SealedCaller} from "./SealedCaller.sol";

/// @notice Sets of places, the groups that they fall into, and the draw: against loops over single places.
contract SealedSetsTest is TestBase {
    SealedCaller private caller = new SealedCaller();

    function test_bitsAreNumberedFromTheRightWithinBytesFromTheLeft() public view {
        bytes memory set = hex"0180";
        for (uint256 place = 0; place < 40; ++place) {
            vm.assertTrue(caller.has(set, place) == (place == 0 || place == 15));
            vm.assertEq(caller.count(set, place, place + 1), place == 0 || place == 15 ? 1 : 0);
        }
        vm.assertFalse(caller.has("", 0));
        vm.assertEq(caller.count("", 0, 600), 0);
        vm.assertEq(caller.count(set, 16, 15), 0);
        vm.assertEq(caller.count(set, 300, 20), 0);
    }

    function test_aSetHasItsLengthAndNoSpareBits() public view {
        vm.assertTrue(caller.isSetOf("", 0));
        vm.assertFalse(caller.isSetOf("", 1));
        vm.assertFalse(caller.isSetOf(hex"00", 0));
        for (uint256 places = 1; places <= 24; ++places) {
            uint256 length = (places + 7) / 8;
            for (uint256 size = 1; size <= 4; ++size) {
                vm.assertTrue(caller.isSetOf(new bytes(size), places) == (size == length));
            }
            for (uint256 place = 0; place < 8 * length; ++place) {
                bytes memory set = new bytes(length);
                vm.assertTrue(caller.isSetOf(withPlain(set, place), places) == (place < places));
            }
        }
    }

    function testFuzz_countsAsALoopDoes(uint256 seed, uint16 size, uint16 from, uint16 to) public view {
        bytes memory set = randomSet(seed, bound(size, 0, 130));
        uint256 first = bound(from, 0, 8 * set.length + 300);
        uint256 end = bound(to, 0, 8 * set.length + 300);
        uint256 total = 0;
        for (uint256 place = first; place < end; ++place) {
            if (hasPlain(set, place)) ++total;
        }
        // Behind it in the calldata lies another array, full of ones.
        vm.assertEq(caller.countBefore(set, full(64), first, end), total);
        vm.assertEq(caller.count(set, first, end), total);
    }

    function testFuzz_seatsAsALoopFindsThem(uint256 seed, uint16 size, uint8 least) public {
        uint256 places = bound(size, 8, 300);
        Division memory division =
            Groups.divide(uint32(places), uint16(bound(least, 8, places < 128 ? places : 128)));
        GroupShape memory shape;
        shape.ready = randomSet(seed, (places + 7) / 8);
        shape.included = randomSet(~seed, (places + 7) / 8);
        for (uint256 i = 0; i < shape.ready.length; ++i) {
            // A third of those who are ready, and most, are absent.
            shape.ready[i] |= bytes1(uint8(uint256(keccak256(abi.encode(seed, i)))));
            shape.included[i] &= shape.ready[i];
        }
        shape.counting = randomSet(seed ^ 1, (division.groups + 7) / 8);
        uint256 index = 0;
        uint256 groupRank = 0;
        for (uint256 group = 0; group < division.groups; ++group) {
            bool counts = hasPlain(shape.counting, group);
            uint256 rank = 0;
            uint256 end = Groups.firstOf(division, group + 1);
            for (uint256 place = Groups.firstOf(division, group); place < end; ++place) {
                if (!counts || !hasPlain(shape.included, place)) {
                    vm.expectRevert(abi.encodeWithSelector(SealedShape.NoSuchSeat.selector));
                    caller.seatAt(shape, division, place);
                    continue;
                }
                vm.assertEq(caller.placeOfIndex(shape, division, index++), place);
                requireSeat(
                    shape, division, SeatPlace(Groups.firstOf(division, group), end, groupRank, rank++, place)
                );
            }
            if (counts) ++groupRank;
        }
        vm.expectRevert(abi.encodeWithSelector(SealedShape.NoSuchSeat.selector));
        caller.placeOfIndex(shape, division, index);
        vm.expectRevert(abi.encodeWithSelector(SealedShape.NoSuchSeat.selector));
        caller.seatAt(shape, division, places);
    }

    function requireSeat(GroupShape memory shape, Division memory division, SeatPlace memory seat)
        private
        view
    {
        vm.assertEq(
            keccak256(abi.encode(caller.seatAt(shape, division, seat.place))), keccak256(abi.encode(seat))
        );
        uint256[] memory ranks = caller.revealed(shape, seat);
        uint256 found = 0;
        vm.assertEq(ranks[caller.absentBefore(shape, seat)], seat.place - seat.first);
        for (uint256 place = seat.first; place < seat.end; ++place) {
            bool isAbsent = hasPlain(shape.ready, place) && !hasPlain(shape.included, place);
            if (isAbsent || place == seat.place) vm.assertEq(ranks[found++], place - seat.first);
        }
        vm.assertEq(found, ranks.length);
    }

    function test_countsWholeWords() public view {
        for (uint256 size = 0; size <= 97; ++size) {
            vm.assertEq(caller.count(full(size), 0, 8 * size), 8 * size);
            vm.assertEq(caller.countBefore(full(size), full(64), 0, 2000), 8 * size);
        }
    }

    function test_countsUpToEveryPlace() public view {
        bytes memory set = full(70);
        for (uint256 end = 0; end <= 8 * set.length; ++end) {
            vm.assertEq(caller.count(set, 0, end), end);
            vm.assertEq(caller.count(set, end, 8 * set.length), 8 * set.length - end);
            vm.assertEq(caller.count(set, 11, end), end < 11 ? 0 : end - 11);
        }
    }

    /// @dev Nobody checks what the calldata is padded with.
    function testFuzz_whatLiesBehindASetIsNotInIt(uint256 seed, uint16 size) public view {
        bytes memory set = randomSet(seed, bound(size, 0, 100));
        uint256 padded = (set.length + 31) / 32 * 32;
        bytes memory call = abi.encodeCall(caller.count, (set, 0, 2000));
        fill(call, call.length - padded + set.length, call.length);
        (, bytes memory answer) = address(caller).staticcall(call);
        vm.assertEq(abi.decode(answer, (uint256)), caller.count(set, 0, 2000));

        call = abi.encodeCall(caller.isWithin, (set, set));
        uint256 first = 4 + 3 * 32;
        fill(call, first + set.length, first + padded);
        (, answer) = address(caller).staticcall(call);
        vm.assertTrue(abi.decode(answer, (bool)));

        call = abi.encodeCall(caller.has, (set, 8 * set.length));
        fill(call, call.length - padded + set.length, call.length);
        (, answer) = address(caller).staticcall(call);
        vm.assertFalse(abi.decode(answer, (bool)));
    }

    function testFuzz_isWithin(uint256 seed, uint256 other, uint16 size, uint16 where) public view {
        bytes memory larger = randomSet(seed, bound(size, 1, 100));
        bytes memory smaller = randomSet(other, larger.length);
        for (uint256 i = 0; i < smaller.length; ++i) {
            smaller[i] &= larger[i];
        }
        vm.assertTrue(caller.isWithin(smaller, larger));
        vm.assertTrue(caller.isWithin(larger, larger));
        uint256 place = bound(where, 0, 8 * larger.length - 1);
        bool isThere = hasPlain(larger, place);
        vm.assertTrue(caller.isWithin(withPlain(smaller, place), larger) == isThere);
        vm.assertFalse(caller.isWithin(smaller, bytes.concat(larger, hex"ff")));
        vm.assertFalse(caller.isWithin(bytes.concat(smaller, hex"00"), larger));
    }

    function testFuzz_with(uint256 seed, uint16 size, uint16 where) public view {
        bytes memory set = randomSet(seed, bound(size, 1, 100));
        uint256 place = bound(where, 0, 8 * set.length - 1);
        vm.assertEq(caller.with(set, place), withPlain(set, place));
    }

    function testFuzz_groupsDivideThePlaces(uint16 places_, uint8 size) public pure {
        uint16 groupSize = uint16(bound(size, 8, 128));
        uint32 places = uint32(bound(places_, groupSize, 1500));
        Division memory division = Groups.divide(places, groupSize);
        vm.assertEq(uint256(division.groups), places / groupSize);
        uint256 largest = 0;
        uint256 least = places;
        uint256 place = 0;
        for (uint256 group = 0; group < division.groups; ++group) {
            vm.assertEq(Groups.firstOf(division, group), place);
            uint256 members = sizeOf(division, group);
            for (uint256 i = 0; i < members; ++i) {
                vm.assertEq(Groups.groupOf(division, place), group);
                vm.assertEq(place * division.groups / places, group);
                ++place;
            }
            if (members > largest) largest = members;
            if (members < least) least = members;
        }
        vm.assertEq(place, places);
        vm.assertEq(Groups.firstOf(division, division.groups), places);
        vm.assertTrue(least >= groupSize && largest <= 2 * uint256(groupSize) - 1 && largest <= least + 1);
        vm.assertTrue(1 << Groups.height(division) >= largest);
        vm.assertTrue(1 << Groups.height(division) < 2 * largest);
    }

    function test_thresholds() public pure {
        uint8[8] memory ready_ = [0, 1, 2, 3, 8, 9, 32, 255];
        uint8[8] memory shares = [1, 1, 2, 3, 6, 7, 22, 171];
        uint8[8] memory least = [1, 1, 2, 3, 6, 7, 24, 192];
        for (uint256 i = 0; i < shares.length; ++i) {
            vm.assertEq(Groups.threshold(ready_[i]), uint256(shares[i]));
            vm.assertEq(Groups.leastIncluded(ready_[i]), uint256(least[i]));
        }
        for (uint256 ready = 0; ready <= 255; ++ready) {
            uint256 found = Groups.leastIncluded(ready);
            vm.assertTrue(4 * found >= 3 * ready && found >= Groups.threshold(ready));
            vm.assertTrue(4 * found < 3 * ready + 4 || found == Groups.threshold(ready));
            vm.assertTrue(3 * Groups.threshold(ready) > 2 * ready);
            vm.assertTrue(3 * (Groups.threshold(ready) - 1) <= 2 * ready);
        }
        vm.assertTrue(Groups.isFit(9, 10) && !Groups.isFit(8, 10));
        vm.assertTrue(Groups.isFit(10, 11) && !Groups.isFit(9, 11));
        vm.assertTrue(Groups.isFit(8, 8) && !Groups.isFit(7, 8));
    }

    /// @dev Groups of 9, 8 and 8 among 25 places, all of which are ready.
    function test_aGroupCountsOnlyWithEnoughIncluded() public {
        Division memory division = Groups.divide(25, 8);
        bytes memory ready = hex"ffffff01";
        for (uint256 missing = 0; missing <= 8; ++missing) {
            bytes memory included = hex"ffffff01";
            // Of places 9 to 16 six are needed.
            for (uint256 place = 9; place < 9 + missing; ++place) {
                included[place / 8] &= ~bytes1(uint8(1 << (place % 8)));
            }
            (uint256 groups, uint256 members) = caller.tally(division, ready, included, hex"05");
            vm.assertEq(groups, 2);
            vm.assertEq(members, 17);
            vm.assertEq(caller.membersOf(division, 1, ready, included), missing <= 2 ? 8 - missing : 0);
            if (missing > 2) vm.expectRevert(abi.encodeWithSelector(Groups.GroupCannotCount.selector, 1));
            (groups, members) = caller.tally(division, ready, included, hex"07");
            if (missing > 2) continue;
            vm.assertEq(groups, 3);
            vm.assertEq(members, 25 - missing);
        }
        // Eight of nine are not nine in ten; all of eight are, and seven of eight are not.
        vm.assertEq(caller.membersOf(division, 0, hex"feffff01", hex"feffff01"), 0);
        vm.assertEq(caller.membersOf(division, 1, hex"feffff01", hex"feffff01"), 8);
        vm.assertEq(caller.membersOf(division, 1, hex"fffdff01", hex"fffdff01"), 0);
    }

    function testFuzz_tallyAddsTheGroups(uint256 seed, uint16 places) public {
        Division memory division = Groups.divide(uint32(bound(places, 8, 400)), 8);
        bytes memory ready = full((uint256(division.places) + 7) / 8);
        bytes memory included = randomSet(seed, ready.length);
        for (uint256 i = 0; i < ready.length; ++i) {
            included[i] |= bytes1(uint8(uint256(keccak256(abi.encode(seed, i))))) | hex"7a";
        }
        bytes memory counting = randomSet(~seed, (uint256(division.groups) + 7) / 8);
        uint256 expectedGroups = 0;
        uint256 expectedMembers = 0;
        for (uint256 group = 0; group < division.groups; ++group) {
            uint256 here = includedPlain(division, group, included);
            bool mayCount = here >= Groups.leastIncluded(sizeOf(division, group));
            vm.assertEq(caller.membersOf(division, group, ready, included), mayCount ? here : 0);
            if (!hasPlain(counting, group)) continue;
            if (!mayCount) {
                vm.expectRevert(abi.encodeWithSelector(Groups.GroupCannotCount.selector, group));
                caller.tally(division, ready, included, counting);
                return;
            }
            ++expectedGroups;
            expectedMembers += here;
        }
        (uint256 groups, uint256 members) = caller.tally(division, ready, included, counting);
        vm.assertEq(groups, expectedGroups);
        vm.assertEq(members, expectedMembers);
    }

    function sizeOf(Division memory division, uint256 group) private pure returns (uint256) {
        return Groups.firstOf(division, group + 1) - Groups.firstOf(division, group);
    }

    function includedPlain(Division memory division, uint256 group, bytes memory included)
        private
        pure
        returns (uint256 here)
    {
        uint256 size = sizeOf(division, group);
        for (uint256 i = 0; i < size; ++i) {
            if (hasPlain(included, Groups.firstOf(division, group) + i)) ++here;
        }
    }

    function testFuzz_drawIsTheSwapOrNotShuffle(bytes32 seed, uint16 size, uint16 index_) public pure {
        uint256 members = bound(size, 1, 65_535);
        uint256 index = bound(index_, 0, members - 1);
        uint256 place = Shuffle.placeOf(seed, index, members);
        vm.assertEq(place, placePlain(seed, index, members));
        vm.assertTrue(place < members);
        vm.assertEq(indexPlain(seed, place, members), index);
    }

    function test_drawGivesEveryPlaceOnce() public pure {
        for (uint256 size = 1; size <= 300; size += 23) {
            bool[] memory isTaken = new bool[](size);
            for (uint256 index = 0; index < size; ++index) {
                uint256 place = Shuffle.placeOf(keccak256(abi.encode(size)), index, size);
                vm.assertFalse(isTaken[place]);
                isTaken[place] = true;
            }
        }
    }

    function placePlain(bytes32 seed, uint256 x, uint256 n) private pure returns (uint256) {
        for (uint8 round = 0; round < 90; ++round) {
            x = swapped(seed, round, x, n);
        }
        return x;
    }

    function indexPlain(bytes32 seed, uint256 x, uint256 n) private pure returns (uint256) {
        for (uint8 round = 90; round > 0; --round) {
            x = swapped(seed, round - 1, x, n);
        }
        return x;
    }

    function swapped(bytes32 seed, uint8 round, uint256 x, uint256 n) private pure returns (uint256) {
        uint256 pivot = uint256(keccak256(abi.encodePacked(seed, round))) % n;
        uint256 flip = (pivot + n - x) % n;
        uint256 larger = x > flip ? x : flip;
        bytes32 source = keccak256(abi.encodePacked(seed, round, uint32(larger >> 8)));
        uint256 bit = (uint256(uint8(source[(larger & 255) >> 3])) >> (larger & 7)) & 1;
        return bit == 1 ? flip : x;
    }

    function hasPlain(bytes memory set, uint256 place) private pure returns (bool) {
        return place / 8 < set.length && uint8(set[place / 8]) & (1 << (place % 8)) != 0;
    }

    function withPlain(bytes memory set, uint256 place) private pure returns (bytes memory joined) {
        joined = bytes.concat(set);
        joined[place / 8] = bytes1(uint8(joined[place / 8]) | uint8(1 << (place % 8)));
    }

    function full(uint256 size) private pure returns (bytes memory set) {
        set = new bytes(size);
        for (uint256 i = 0; i < size; ++i) {
            set[i] = 0xff;
        }
    }

    function fill(bytes memory data, uint256 first, uint256 end) private pure {
        for (uint256 i = first; i < end; ++i) {
            data[i] = 0xff;
        }
    }

    function randomSet(uint256 seed, uint256 size) private pure returns (bytes memory set) {
        set = new bytes(size);
        for (uint256 i = 0; i < size; ++i) {
            set[i] = bytes1(keccak256(abi.encode(seed, i)));
        }
    }
}
