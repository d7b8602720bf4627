// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationNode, AggregationStep} from "../../src/libraries/AggregationTree.sol";
import {Groups} from "../../src/libraries/Groups.sol";
import {NormNode} from "../../src/libraries/NormTree.sol";
import {Proposal} from "../../src/libraries/RoundLib.sol";
import {SealedRecord} from "../../src/libraries/SealedTrees.sol";
import {Masked, MaskedSubmission} from "../../src/libraries/SealedTypes.sol";
import {VectorKind} from "../../src/libraries/VectorTree.sol";
import {Consents} from "../base/Consents.sol";
import {HashTree} from "../base/HashTree.sol";
import {VectorForest} from "../base/VectorForest.sol";
import {Lanes} from "../sealed/Lanes.sol";
import {SealedWorld} from "./SealedWorld.sol";

/// @notice What members submit in a sealed round, and what a coordinator states of it, true or false, built whole in memory.
abstract contract SealedForest is SealedWorld {
    bytes internal constant JUNK = "nothing of the kind";
    /// Element that lies change: that of the last chunk.
    uint256 internal constant LAST = ELEMENTS - 1;

    /// A node with everything below it added up.
    struct Built {
        uint64 weight;
        int256[] sums;
        bytes32 root;
        bytes preimage;
    }

    /// The squares of a group's sum.
    struct Squared {
        NormNode[2] leaves;
        bytes[2] preimages;
        NormNode top;
        bytes root;
    }

    struct Told {
        Built[][] levels;
        /// By the rank of the group.
        Squared[] squared;
        int256[] model;
        Proposal proposal;
    }

    // --- what a member submits ---

    /// @dev Preimages of the leaves of its masked vector.
    function maskedLeaf(uint256 place, uint32 index) internal view returns (bytes memory) {
        uint256 first = 64 * uint256(index);
        uint256 end = index == 0 ? 64 : ELEMENTS;
        bytes memory lanes = Lanes.pack(masked[place], first, end, LANE_BYTES);
        if (index == 1 && faults[atPlace[place]] == Fault.MaskedLeaf) lanes = bytes.concat(lanes, hex"00");
        return abi.encodePacked(uint8(0x33), contextOf(place), index, uint32(end - first), LANE_BYTES, lanes);
    }

    function maskedTree(uint256 place) internal view returns (bytes32[][] memory) {
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = keccak256(maskedLeaf(place, 0));
        leaves[1] = keccak256(maskedLeaf(place, 1));
        return HashTree.build(0x34, leaves);
    }

    /// @dev Preimage of what stands for the commitment to the seed shared with a place.
    function commitmentTo(uint256 place, uint256 other) internal view returns (bytes memory) {
        if (place == other && faults[atPlace[place]] == Fault.Commitment) return JUNK;
        (uint256 first,) = placesOf(Groups.groupOf(division, place));
        return
            abi.encodePacked(uint8(0x38), contextOf(place), uint8(other - first), seedBetween(place, other));
    }

    function seedTree(uint256 place) internal view returns (bytes32[][] memory) {
        (uint256 first, uint256 end) = placesOf(Groups.groupOf(division, place));
        bytes32[] memory leaves = new bytes32[](1 << Groups.height(division));
        for (uint256 other = first; other < end; ++other) {
            if (has(ready, other)) leaves[other - first] = keccak256(commitmentTo(place, other));
        }
        return HashTree.build(0x39, leaves);
    }

    function submissionAt(uint256 place) internal view returns (MaskedSubmission memory submission) {
        uint256 index = atPlace[place];
        submission.member = members[index];
        submission.update = Masked({
            round: roundId,
            rulesHash: federation.rulesHash(),
            baseRoot: federation.modelRoot(),
            epochRoot: epochRoot,
            maskedRoot: HashTree.rootOf(maskedTree(place)),
            seedsRoot: HashTree.rootOf(seedTree(place)),
            examples: weightOf(index),
            accuracyPpm: 900_000,
            lossMicros: 300_000,
            labels: 10,
            epsilonMicros: 0,
            deadline: round_().deadline,
            cid: cidOf(abi.encode("masked", roundId, index))
        });
        bool forged = isForged(place);
        bytes32 hash = libraries.maskedHash(submission.update);
        submission.signature = Consents.sign(
            keys[forged ? (index + 1) % MEMBERS : index],
            Consents.digest(block.chainid, address(federation), hash)
        );
    }

    /// @dev Whether somebody else signed, with its own key.
    function isForged(uint256 place) internal view returns (bool) {
        return lie == Lie.ForgedSubmission && place == seats()[lieSeed % seats().length];
    }

    /// @dev The bytes of a submission, as docs/sealed.md has them.
    function bytesOf(MaskedSubmission memory submission) internal pure returns (bytes memory) {
        Masked memory update = submission.update;
        bytes memory roots = abi.encodePacked(
            update.round,
            update.rulesHash,
            update.baseRoot,
            update.epochRoot,
            update.maskedRoot,
            update.seedsRoot
        );
        bytes memory attested = abi.encodePacked(
            update.examples,
            update.accuracyPpm,
            update.lossMicros,
            update.labels,
            update.epsilonMicros,
            update.deadline,
            update.cid
        );
        return bytes.concat(hex"3b", submission.signature, bytes20(submission.member), roots, attested);
    }

    // --- what is stated of the round ---

    /// @dev Record of the one that counts at an index.
    function recordAt(uint256 index) internal view returns (SealedRecord memory record) {
        uint256[] memory places = seats();
        uint256 place = places[index];
        record.place = uint32(place);
        record.weight = weightOf(atPlace[place]);
        record.submission = isForged(place) ? keccak256(bytesOf(submissionAt(place))) : submitted[place];
        if (index != lieSeed % places.length) return record;
        if (lie == Lie.RecordWeight) record.weight += 1;
        if (lie == Lie.RecordPlace) record.place ^= 1;
    }

    /// @dev Preimage of a record, or what stands for it.
    function recordBytes(uint256 index, SealedRecord memory record) internal view returns (bytes memory) {
        if (lie == Lie.MalformedRecord && index == lieSeed % seats().length) return JUNK;
        return abi.encodePacked(uint8(0x3a), record.place, record.weight, record.submission);
    }

    function recordTrees() internal view returns (bytes32[][][] memory) {
        bytes32[] memory leaves = new bytes32[](seats().length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = keccak256(recordBytes(i, recordAt(i)));
        }
        return HashTree.mountains(0x0b, leaves);
    }

    /// @dev All of a proposal over the round, but for what it lies about.
    function tell() internal view returns (Told memory told) {
        uint256 height = Groups.height(division);
        uint256 groups = countIn(counting, 0, division.groups);
        uint256 upper = 0;
        while ((1 << upper) < groups) ++upper;
        told.levels = new Built[][](height + upper + 2);
        for (uint256 level = 0; level <= height; ++level) {
            told.levels[level] = new Built[]((1 << upper) << (height - level));
        }
        _plant(told, height);
        for (uint256 level = 1; level <= height; ++level) {
            _addUp(told, level);
        }
        _read(told, height + 1, groups);
        for (uint256 level = height + 2; level < told.levels.length; ++level) {
            told.levels[level] = new Built[](told.levels[level - 1].length / 2);
            _addUp(told, level);
        }
        _finish(told);
    }

    function _plant(Told memory told, uint256 height) private view {
        uint256[] memory places = seats();
        uint256 lied = lieSeed % places.length;
        uint256 rank = 0;
        uint256 within = 0;
        for (uint256 i = 0; i < places.length; ++i) {
            if (i > 0) {
                bool same = Groups.groupOf(division, places[i]) == Groups.groupOf(division, places[i - 1]);
                (rank, within) = same ? (rank, within + 1) : (rank + 1, 0);
            }
            SealedRecord memory record = recordAt(i);
            // Whose seeds nobody gave, of that only what is masked is known.
            bool opened = !(lie == Lie.CountsUnopened && places[i] == lieSeed);
            int256[] memory sums = opened ? unseal(places[i]) : masked[places[i]];
            if (lie == Lie.Lane && i == lied) sums[LAST] += off();
            uint64 weight = record.weight;
            bytes32 commitment = keccak256(recordBytes(i, record));
            if (lie == Lie.Leaf && i == lied) commitment = ~commitment;
            told.levels[0][(rank << height) + within] = _node(8, weight, sums, abi.encodePacked(commitment));
        }
    }

    function _addUp(Told memory told, uint256 level) private view {
        Built[] memory below = told.levels[level - 1];
        for (uint256 p = 0; p < told.levels[level].length; ++p) {
            (Built memory left, Built memory right) = (below[2 * p], below[2 * p + 1]);
            if (left.preimage.length == 0) continue;
            int256[] memory sums = new int256[](ELEMENTS);
            bool isAlone = right.preimage.length == 0;
            for (uint256 j = 0; j < ELEMENTS; ++j) {
                sums[j] = left.sums[j] + (isAlone ? int256(0) : right.sums[j]);
            }
            bool lies = level == 1 && p == 0;
            uint64 weight = left.weight + right.weight;
            if (lies && lie == Lie.NodeSums) sums[LAST] += off();
            if (lies && lie == Lie.NodeWeight) weight += 1;
            told.levels[level][p] = _node(9, weight, sums, abi.encodePacked(hashOf(left), hashOf(right)));
        }
    }

    /// @dev The groups' nodes: what is below, read with signs.
    function _read(Told memory told, uint256 level, uint256 groups) private view {
        told.levels[level] = new Built[](told.levels[level - 1].length);
        told.squared = new Squared[](groups);
        for (uint256 rank = 0; rank < groups; ++rank) {
            Built memory child = told.levels[level - 1][rank];
            int256[] memory signed = new int256[](ELEMENTS);
            for (uint256 j = 0; j < ELEMENTS; ++j) {
                signed[j] = Lanes.signed(child.sums[j], LANE_BYTES);
            }
            if (lie == Lie.Reading && rank == 0) signed[LAST] += off();
            Squared memory squared = _square(signed, lie == Lie.Squares && rank == 0);
            told.squared[rank] = squared;
            told.levels[level][rank] =
                _node(0x3c, child.weight, signed, abi.encodePacked(hashOf(child), keccak256(squared.root)));
        }
    }

    function _square(int256[] memory signed, bool lies) private view returns (Squared memory squared) {
        for (uint32 i = 0; i < 2; ++i) {
            uint256 end = i == 0 ? 64 : ELEMENTS;
            uint256 squares = lies && i == 1 ? uint256(off()) : 0;
            for (uint256 j = 64 * uint256(i); j < end; ++j) {
                squares += uint256(signed[j] * signed[j]);
            }
            bytes memory values = Lanes.pack(signed, 64 * uint256(i), end, 8);
            squared.preimages[i] =
                abi.encodePacked(uint8(0x3d), i, uint32(end - 64 * uint256(i)), squares, values);
            squared.leaves[i] = NormNode(keccak256(squared.preimages[i]), squares);
        }
        squared.top =
            NormNode(keccak256(squaresNode(squared)), squared.leaves[0].squares + squared.leaves[1].squares);
        squared.root = abi.encodePacked(uint8(0x3f), squared.top.squares, squared.top.hash);
    }

    /// @dev Preimage of the top of a tree of squares.
    function squaresNode(Squared memory squared) internal pure returns (bytes memory) {
        (NormNode memory left, NormNode memory right) = (squared.leaves[0], squared.leaves[1]);
        return abi.encodePacked(uint8(0x3e), left.hash, left.squares, right.hash, right.squares);
    }

    function _finish(Told memory told) private view {
        Built memory top = topOf(told);
        int256 weight = int256(statedWeight());
        told.model = base;
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            int256 quotient = top.sums[j] / weight;
            if (top.sums[j] % weight < 0) quotient -= 1;
            told.model[j] += quotient;
        }
        if (lie == Lie.Model) told.model[LAST] += off();
        bytes32 aggregation = lie == Lie.HiddenTop ? keccak256(abi.encode(lieSeed)) : hashOf(top);
        told.proposal = proposalOf(aggregation, top.root, VectorForest.rootOf(VectorKind.Model, told.model));
    }

    /// @dev Total weight of the records as stated.
    function statedWeight() internal view returns (uint256 weight) {
        uint256[] memory places = seats();
        for (uint256 i = 0; i < places.length; ++i) {
            weight += weightOf(atPlace[places[i]]);
        }
        if (lie == Lie.RecordWeight) ++weight;
    }

    function topOf(Told memory told) internal pure returns (Built memory) {
        return told.levels[told.levels.length - 1][0];
    }

    function hashOf(Built memory built) internal pure returns (bytes32) {
        return built.preimage.length == 0 ? bytes32(0) : keccak256(built.preimage);
    }

    /// @dev A node in its place, and the way up; past a group's node the position stays.
    function placeOf(Told memory told, uint256 level, uint256 position)
        internal
        view
        returns (AggregationNode memory found)
    {
        uint256 group = Groups.height(division) + 1;
        found.position = uint32(position);
        found.preimage = told.levels[level][position].preimage;
        found.path = new AggregationStep[](told.levels.length - 1 - level);
        for (uint256 k = 0; k < found.path.length; ++k) {
            bool toGroup = level + k + 1 == group;
            bytes32 beside = toGroup
                ? keccak256(told.squared[position].root)
                : hashOf(told.levels[level + k][position ^ 1]);
            if (!toGroup) position >>= 1;
            Built memory above = told.levels[level + k + 1][position];
            found.path[k] = AggregationStep(beside, above.weight, above.root);
        }
    }

    function off() internal view returns (int256) {
        return int256(lieSeed % 1000) + 1;
    }

    /// @dev Leaf hash of a member in the roster.
    function rosterLeaf(uint256 index) internal view returns (bytes32) {
        return
            keccak256(abi.encodePacked(uint8(0x30), members[index], bytes32(index + 1), bytes32(index + 101)));
    }

    function _node(uint8 kind, uint64 weight, int256[] memory sums, bytes memory rest)
        private
        pure
        returns (Built memory)
    {
        bytes32 root = _rootOf(sums);
        return Built(weight, sums, root, abi.encodePacked(kind, weight, root, rest));
    }

    /// @dev Root of a vector of sums, of two chunks: what `VectorForest` builds a byte at a time, a word at a time.
    function _rootOf(int256[] memory sums) private pure returns (bytes32) {
        bytes32 left = keccak256(abi.encodePacked(uint8(5), uint32(0), uint32(64), _wordsOf(sums, 0, 64)));
        bytes memory rest = _wordsOf(sums, 64, ELEMENTS);
        bytes32 right = keccak256(abi.encodePacked(uint8(5), uint32(1), uint32(ELEMENTS - 64), rest));
        bytes32 top = keccak256(abi.encodePacked(uint8(6), left, right));
        return keccak256(abi.encodePacked(uint8(7), ELEMENTS, top));
    }

    function _wordsOf(int256[] memory sums, uint256 first, uint256 end) private pure returns (bytes memory) {
        // A word is written for the eight bytes of each, and the next one over it.
        bytes memory packed = new bytes(8 * (end - first) + 32);
        for (uint256 i = first; i < end; ++i) {
            int256 value = sums[i];
            uint256 offset = 32 + 8 * (i - first);
            assembly ("memory-safe") {
                mstore(add(packed, offset), shl(192, value))
            }
        }
        assembly ("memory-safe") {
            mstore(packed, sub(mload(packed), 32))
        }
        return packed;
    }
}
