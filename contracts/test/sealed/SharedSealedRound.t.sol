// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommitmentTree, MAX_PEAKS} from "../../src/libraries/CommitmentTree.sol";
import {Division, Groups} from "../../src/libraries/Groups.sol";
import {MerkleSumTree, UpdatePlace} from "../../src/libraries/MerkleSumTree.sol";
import {NormNode} from "../../src/libraries/NormTree.sol";
import {RosterEntry, SealedRecord, SealedTrees} from "../../src/libraries/SealedTrees.sol";
import {Masked, MaskedSubmission} from "../../src/libraries/SealedTypes.sol";
import {Shuffle} from "../../src/libraries/Shuffle.sol";
import {LaneBlock} from "../../src/libraries/Unmasking.sol";
import {Chunk} from "../../src/libraries/VectorTree.sol";
import {HashTree} from "../base/HashTree.sol";
import {Lanes} from "./Lanes.sol";
import {SealedCaller} from "./SealedCaller.sol";
import {SealedVectorsFile} from "./SealedVectorsFile.sol";

/// @notice A whole sealed round of the Python package, judged by the libraries.
contract SharedSealedRoundTest is SealedVectorsFile {
    string private constant ROUND = ".round";
    uint64 private constant ELEMENTS = 65;
    uint8 private constant LANE_BYTES = 5;
    Division private division = Division(31, 3);

    SealedCaller private caller = new SealedCaller();
    bytes32[MAX_PEAKS] private range;

    function test_roster() public {
        bytes32[] memory leaves = new bytes32[](division.places);
        bytes32 seed = this.word(".round.groupSeed");
        for (uint256 i = 0; i < leaves.length; ++i) {
            string memory key = item(".round.roster", i);
            leaves[i] = SealedTrees.rosterLeaf(
                RosterEntry(
                    this.account(field(key, "member")),
                    this.word(field(key, "x25519")),
                    this.word(field(key, "mlkem"))
                )
            );
            vm.assertEq(leaves[i], this.word(field(key, "leafHash")));
            vm.assertEq(Shuffle.placeOf(seed, i, leaves.length), this.number(field(key, "place")));
        }
        requireRange(leaves, this.words(".round.rosterPeaks"), this.word(".round.rosterRoot"));
    }

    function test_epoch() public {
        vm.chainId(this.number(".place.chainId"));
        bytes32 rosterRoot = this.word(".round.rosterRoot");
        bytes32 seed = SealedTrees.groupSeed(
            this.account(".place.federation"),
            uint64(this.number(".place.epoch")),
            rosterRoot,
            this.word(".round.blockHash")
        );
        vm.assertEq(seed, this.word(".round.groupSeed"));
        bytes32 epochRoot =
            SealedTrees.epochRoot(rosterRoot, seed, keccak256(this.data(".round.readyBitmap")));
        vm.assertEq(epochRoot, this.word(".round.epochRoot"));
        bytes32 closed = caller.closedHash(
            uint64(this.number(".place.round")), epochRoot, this.data(".round.includedBitmap")
        );
        vm.assertEq(closed, this.word(".round.closedHash"));
    }

    function test_groups() public view {
        bytes memory ready = this.data(".round.readyBitmap");
        bytes memory included = this.data(".round.includedBitmap");
        bytes memory counting = this.data(".round.countingBitmap");
        vm.assertEq(Groups.height(division), this.number(".round.height"));
        vm.assertTrue(caller.isSetOf(ready, division.places));
        vm.assertTrue(caller.isSetOf(included, division.places));
        vm.assertTrue(caller.isSetOf(counting, division.groups));
        vm.assertTrue(caller.isWithin(included, ready));
        int256[] memory thresholds = this.numbers(".round.thresholds");
        int256[] memory counts = this.numbers(".round.readyCounts");
        for (uint256 group = 0; group < division.groups; ++group) {
            uint256 present =
                caller.count(ready, Groups.firstOf(division, group), Groups.firstOf(division, group + 1));
            vm.assertEq(present, uint256(counts[group]));
            vm.assertEq(Groups.threshold(present), uint256(thresholds[group]));
        }
        (uint256 groups, uint256 members) = caller.tally(division, ready, included, counting);
        vm.assertEq(groups, 2);
        vm.assertEq(members, this.number(".round.accepted"));
        // Seven of ten are too few in the group that does not count.
        vm.assertEq(caller.membersOf(division, 1, ready, included), 0);
    }

    function test_submissionsAndRecords() public {
        int256[] memory order = this.numbers(".round.order");
        bytes32[] memory leaves = new bytes32[](order.length);
        uint256 next = 0;
        uint256 typed = 0;
        for (uint256 i = 0; next < order.length; ++i) {
            string memory key = item(".round.members", i);
            uint256 place = this.number(field(key, "place"));
            if (place != uint256(order[next])) continue;
            bytes memory received = this.data(field(key, "submission"));
            vm.assertTrue(caller.isSubmission(received));
            if (this.exists(field(key, "typedData"))) {
                Masked memory update = maskedAt(field(key, "typedData.message"));
                vm.assertEq(caller.maskedHash(update), this.word(field(key, "structHash")));
                MaskedSubmission memory submission = MaskedSubmission(
                    this.account(field(key, "member")), update, this.data(field(key, "signature"))
                );
                vm.assertEq(caller.submissionHash(submission), keccak256(received));
                ++typed;
            }
            vm.assertEq(keccak256(received), this.word(field(key, "submissionHash")));
            SealedRecord memory record =
                SealedRecord(uint32(place), uint32(this.number(field(key, "weight"))), keccak256(received));
            leaves[next] = SealedTrees.recordLeaf(record);
            vm.assertEq(leaves[next], this.word(field(key, "recordHash")));
            ++next;
        }
        vm.assertEq(typed, 2);
        requireRange(leaves, this.words(".round.recordPeaks"), this.word(".round.recordsRange"));
    }

    function test_unmasking() public view {
        uint256 seen = 0;
        for (uint256 i = 0; i < 30; i += 3) {
            string memory key = item(".round.members", i);
            uint256 place = this.number(field(key, "place"));
            if (!caller.has(this.data(".round.includedBitmap"), place)) continue;
            requireContext(key);
            (bytes32[] memory seeds, uint256 own) = requireSeeds(key, place);
            requireLanes(key, seeds, own);
            ++seen;
        }
        vm.assertTrue(seen >= 6);
    }

    function test_groupSums() public view {
        for (uint256 group = 0; group < 2; ++group) {
            int256[] memory lanes = this.numbers(item(".round.groupChildren", group));
            bytes memory stated = this.data(field(item(".round.levels[5]", group), "preimage"));
            vm.assertTrue(caller.isGroup(stated));
            (bytes32 child, bytes32 norm) = caller.belowGroup(stated);
            vm.assertEq(child, this.word(field(item(".round.levels[4]", group), "hash")));
            vm.assertEq(keccak256(stated), this.word(field(item(".round.levels[5]", group), "hash")));
            string memory top = string.concat(item(".round.normTrees", group), "[1][0]");
            NormNode memory squares =
                NormNode(this.word(field(top, "hash")), this.number(field(top, "squares")));
            vm.assertEq(keccak256(abi.encodePacked(uint8(0x3f), squares.squares, squares.hash)), norm);
            requireReading(lanes, LANE_BYTES, squares);
        }
        requireReading(
            this.numbers(".wideSums.lanes"),
            6,
            NormNode(this.word(".wideSums.norm.hash"), this.number(".wideSums.norm.squares"))
        );
    }

    function test_squaresPassAnUint128() public view {
        int256[] memory values = this.numbers(".wideSums.extreme.values");
        string memory top = ".wideSums.extreme.levels[1][0]";
        requireNorm(values, NormNode(this.word(field(top, "hash")), this.number(field(top, "squares"))));
    }

    function requireContext(string memory key) private view {
        UpdatePlace memory place = UpdatePlace(
            this.number(".place.chainId"),
            this.account(".place.federation"),
            uint64(this.number(".place.round")),
            this.account(field(key, "member")),
            ELEMENTS
        );
        vm.assertEq(MerkleSumTree.context(place), this.word(field(key, "context")));
    }

    function requireSeeds(string memory key, uint256 place)
        private
        view
        returns (bytes32[] memory seeds, uint256 own)
    {
        int256[] memory places = this.numbers(field(key, "absentPlaces"));
        bytes32[] memory absent = this.words(field(key, "absentSeeds"));
        uint256 first = Groups.firstOf(division, Groups.groupOf(division, place));
        uint256[] memory ranks = new uint256[](places.length + 1);
        seeds = new bytes32[](ranks.length);
        // The own one stands among the others in the order of places.
        while (own < places.length && uint256(places[own]) < place) ++own;
        for (uint256 i = 0; i < ranks.length; ++i) {
            uint256 other = i <= own ? i : i - 1;
            ranks[i] = (i == own ? place : uint256(places[other])) - first;
            seeds[i] = i == own ? this.word(field(key, "ownSeed")) : absent[other];
        }
        requireOpened(key, ranks, seeds);
    }

    function requireOpened(string memory key, uint256[] memory ranks, bytes32[] memory seeds) private view {
        bytes32[][] memory levels = HashTree.build(0x39, this.words(field(key, "commitments")));
        bytes32 root = this.word(field(key, "seedsRoot"));
        vm.assertEq(HashTree.rootOf(levels), root);
        bytes32 context = this.word(field(key, "context"));
        uint256 height = Groups.height(division);
        vm.assertEq(levels.length - 1, height);
        bytes32[] memory siblings = HashTree.beside(levels, ranks);
        vm.assertTrue(caller.seedsHold(root, height, context, ranks, seeds, siblings));
        seeds[0] = ~seeds[0];
        vm.assertFalse(caller.seedsHold(root, height, context, ranks, seeds, siblings));
        seeds[0] = ~seeds[0];
    }

    function requireLanes(string memory key, bytes32[] memory seeds, uint256 own) private view {
        bytes memory masked = this.data(field(key, "masked"));
        int256[] memory unmasked = this.numbers(field(key, "unmasked"));
        for (uint32 index = 0; index < 2; ++index) {
            uint256 end = index == 0 ? 64 : ELEMENTS;
            bytes memory lanes = Lanes.slice(masked, 64 * index * LANE_BYTES, end * LANE_BYTES);
            requireMasked(key, index, lanes);
            requireChunk(index, lanes, Lanes.pack(unmasked, 64 * index, end, 8), seeds, own);
        }
    }

    function requireChunk(
        uint32 index,
        bytes memory lanes,
        bytes memory stated,
        bytes32[] memory seeds,
        uint256 own
    ) private view {
        LaneBlock memory self = LaneBlock(index, 0, LANE_BYTES);
        for (; self.number < 8; ++self.number) {
            vm.assertTrue(caller.follows(self, lanes, stated, seeds, own));
            // The last element of the block, or of a chunk that does not have it.
            uint256 last = 64 * uint256(self.number) + 63;
            bool isThere = last < stated.length || self.number == 0;
            if (last >= stated.length) last = stated.length - 1;
            stated[last] ^= 0x01;
            vm.assertTrue(caller.follows(self, lanes, stated, seeds, own) != isThere);
            stated[last] ^= 0x01;
        }
    }

    function requireMasked(string memory key, uint32 index, bytes memory lanes) private view {
        bytes32[] memory siblings = new bytes32[](1);
        siblings[0] = this.words(field(key, "maskedTree[0]"))[1 - index];
        bytes32 root = this.word(field(key, "maskedRoot"));
        bytes32 context = this.word(field(key, "context"));
        Chunk memory chunk = Chunk(lanes, siblings);
        vm.assertTrue(caller.maskedHolds(root, context, ELEMENTS, LANE_BYTES, index, chunk));
        vm.assertFalse(caller.maskedHolds(root, ~context, ELEMENTS, LANE_BYTES, index, chunk));
    }

    function requireReading(int256[] memory lanes, uint256 size, NormNode memory norm) private view {
        int256[] memory sums = new int256[](lanes.length);
        for (uint256 i = 0; i < lanes.length; ++i) {
            sums[i] = Lanes.signed(lanes[i], size);
        }
        bytes memory packed = Lanes.pack(lanes, 0, lanes.length, 8);
        vm.assertTrue(caller.reads(size, packed, Lanes.pack(sums, 0, sums.length, 8)));
        requireNorm(sums, norm);
    }

    /// @dev Of two chunks.
    function requireNorm(int256[] memory values, NormNode memory norm) private view {
        for (uint32 index = 0; index < 2; ++index) {
            NormNode[] memory siblings = new NormNode[](1);
            bytes memory other =
                index == 0 ? Lanes.pack(values, 64, values.length, 8) : Lanes.pack(values, 0, 64, 8);
            uint256 squares = caller.squaresOf(other);
            siblings[0] = NormNode(caller.normLeaf(1 - index, squares, other), squares);
            bytes memory chunk =
                index == 0 ? Lanes.pack(values, 0, 64, 8) : Lanes.pack(values, 64, values.length, 8);
            vm.assertTrue(caller.normHolds(norm, uint64(values.length), index, chunk, siblings));
        }
    }

    /// @dev Every leaf leads to the peak at which the contracts look for it, and the peaks make the root.
    function requireRange(bytes32[] memory leaves, bytes32[] memory peaks, bytes32 root) private {
        uint32 count = uint32(leaves.length);
        bytes32[MAX_PEAKS] memory appended;
        for (uint32 i = 0; i < count; ++i) {
            CommitmentTree.append(appended, i, leaves[i]);
        }
        range = appended;
        vm.assertEq(CommitmentTree.rangeHash(range, count), root);
        bytes32[][][] memory trees = HashTree.mountains(CommitmentTree.NODE, leaves);
        uint32 index = 0;
        for (uint256 tree = 0; tree < trees.length; ++tree) {
            for (uint256 i = 0; i < trees[tree][0].length; ++i) {
                bytes32[] memory siblings = HashTree.path(trees[tree], i);
                (uint256 level, uint256 position) = CommitmentTree.locate(count, index);
                vm.assertEq(siblings.length, level);
                bytes32 top = caller.climb(CommitmentTree.NODE, leaves[index], position, siblings);
                vm.assertEq(top, peaks[tree]);
                vm.assertEq(top, appended[level]);
                ++index;
            }
        }
        vm.assertEq(uint256(index), uint256(count));
    }
}
