// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationCourt} from "../../src/interfaces/IAggregationCourt.sol";
import {RosterProof} from "../../src/interfaces/IEpochs.sol";
import {ISealedCourt, LaneProof, Reading, SubmittedNode} from "../../src/interfaces/ISealedCourt.sol";
import {ISealedDisputes} from "../../src/interfaces/ISealedDisputes.sol";
import {ISealedRounds, RangeNode, Seat} from "../../src/interfaces/ISealedRounds.sol";
import {AggregationNode} from "../../src/libraries/AggregationTree.sol";
import {Groups} from "../../src/libraries/Groups.sol";
import {NormNode, NormProof} from "../../src/libraries/NormTree.sol";
import {RosterEntry, SealedRecord} from "../../src/libraries/SealedTrees.sol";
import {Chunk, VectorKind} from "../../src/libraries/VectorTree.sol";
import {HashTree} from "../base/HashTree.sol";
import {VectorForest} from "../base/VectorForest.sol";
import {Lanes} from "../sealed/Lanes.sol";
import {Knowledge, Known} from "./Knowledge.sol";
import {SealedForest} from "./SealedForest.sol";

/// @notice The proof of each lie about a sealed round, and the answers of who knows what it proposed.
abstract contract SealedChallengers is SealedForest {
    using Knowledge for Known;

    // --- proofs ---

    /// @dev Where a lie is proved, and by what call; none of what only silence shows.
    function proofOf(Lie kind) internal view returns (address where, bytes memory call) {
        if (kind == Lie.NotSealed) {
            return (address(disputes), abi.encodeCall(ISealedDisputes.proveNotSealed, (roundId, bytes32(0))));
        }
        if (kind == Lie.HiddenRange || kind == Lie.HiddenTop || kind == Lie.CountsUnopened) {
            return (where, call);
        }
        uint256 index = lieSeed % seats().length;
        if (kind == Lie.RecordWeight || kind == Lie.RecordPlace || kind == Lie.ForgedSubmission) {
            return (address(rounds), _wrongRecord(index));
        }
        if (kind == Lie.MalformedRecord) return (address(rounds), _malformedRange(index));
        if (kind == Lie.CountsMaskedLeaf) return (address(sealedCourt), _malformedSubmission(false));
        if (kind == Lie.CountsCommitment) return (address(sealedCourt), _malformedSubmission(true));
        Told memory told = tell();
        if (kind == Lie.NodeSums) return (address(disputes), _wrongSum(told));
        if (kind == Lie.Model) return (address(disputes), _wrongMean(told));
        return (address(sealedCourt), _ofCourt(told, kind, index));
    }

    function _ofCourt(Told memory told, Lie kind, uint256 index) private view returns (bytes memory) {
        if (kind == Lie.Lane) return _wrongLane(told, index);
        if (kind == Lie.Reading) return _wrongReading(told);
        if (kind == Lie.Squares) return _wrongSquares(told);
        if (kind == Lie.CountsSpoilt) return _wrongNorm(told);
        if (kind == Lie.NodeWeight) {
            (bytes memory left, bytes memory right) = (told.levels[0][0].preimage, told.levels[0][1].preimage);
            return abi.encodeCall(
                ISealedCourt.proveWrongNode, (roundId, shape(), placeOf(told, 1, 0), left, right, bytes32(0))
            );
        }
        return abi.encodeCall(
            ISealedCourt.proveWrongLeaf, (roundId, shape(), leafOf(told, index), seatAt(index), bytes32(0))
        );
    }

    function seatAt(uint256 index) internal view returns (Seat memory) {
        return Seat(uint32(index), recordAt(index), _rangePath(index), submissionAt(seats()[index]));
    }

    function _rangePath(uint256 index) private view returns (bytes32[] memory) {
        bytes32[][][] memory trees = recordTrees();
        for (uint256 i = 0; i < trees.length; ++i) {
            uint256 width = trees[i][0].length;
            if (index < width) return HashTree.path(trees[i], index);
            index -= width;
        }
        revert("no such record");
    }

    function leafOf(Told memory told, uint256 index) internal view returns (AggregationNode memory) {
        uint256[] memory places = seats();
        uint256 place = places[index];
        uint256 group = Groups.groupOf(division, place);
        (uint256 first,) = placesOf(group);
        uint256 rank = countIn(counting, 0, group);
        return placeOf(told, 0, (rank << Groups.height(division)) + countIn(included, first, place));
    }

    function _wrongRecord(uint256 index) private view returns (bytes memory) {
        uint256 place = seats()[index];
        uint256 spot = 0;
        while (roster[spot] != atPlace[place]) ++spot;
        return abi.encodeCall(
            ISealedRounds.proveWrongRecord, (roundId, shape(), seatAt(index), rosterProof(spot), bytes32(0))
        );
    }

    function rosterProof(uint256 spot) internal view returns (RosterProof memory proof) {
        uint256 member = roster[spot];
        proof.index = uint32(spot);
        proof.entry = RosterEntry(members[member], bytes32(member + 1), bytes32(member + 101));
        bytes32[] memory leaves = new bytes32[](roster.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = rosterLeaf(roster[i]);
        }
        bytes32[][][] memory trees = HashTree.mountains(0x0b, leaves);
        for (uint256 i = 0; i < trees.length; ++i) {
            uint256 width = trees[i][0].length;
            if (spot < width) {
                proof.siblings = HashTree.path(trees[i], spot);
                return proof;
            }
            spot -= width;
        }
    }

    function _malformedRange(uint256 index) private view returns (bytes memory) {
        bytes32[][][] memory trees = recordTrees();
        uint256 position = index;
        uint256 tree = 0;
        for (; position >= trees[tree][0].length; ++tree) {
            position -= trees[tree][0].length;
        }
        bytes memory preimage = recordBytes(index, recordAt(index));
        RangeNode memory node = RangeNode(
            uint8(trees[tree].length - 1), uint32(position), preimage, HashTree.path(trees[tree], position)
        );
        bytes memory submission = bytesOf(submissionAt(seats()[index]));
        return abi.encodeCall(ISealedRounds.proveMalformedRange, (roundId, node, submission, bytes32(0)));
    }

    /// @dev Of the first that counts with such a fault; of the first at all if none has.
    function _malformedSubmission(bool isOfSeeds) private view returns (bytes memory) {
        uint256 index = faultyAt(isOfSeeds ? Fault.Commitment : Fault.MaskedLeaf);
        uint256 place = seats()[index];
        SubmittedNode memory node;
        node.isOfSeeds = isOfSeeds;
        if (isOfSeeds) {
            (uint256 first,) = placesOf(Groups.groupOf(division, place));
            node.position = uint32(place - first);
            node.preimage = commitmentTo(place, place);
            node.siblings = HashTree.path(seedTree(place), place - first);
        } else {
            node.position = 1;
            node.preimage = maskedLeaf(place, 1);
            node.siblings = HashTree.path(maskedTree(place), 1);
        }
        return abi.encodeCall(
            ISealedCourt.proveMalformedSubmission, (roundId, shape(), seatAt(index), node, bytes32(0))
        );
    }

    /// @dev Index of the first that counts and has a fault, or 0.
    function faultyAt(Fault fault) internal view returns (uint256) {
        uint256[] memory places = seats();
        for (uint256 i = 0; i < places.length; ++i) {
            if (faults[atPlace[places[i]]] == fault) return i;
        }
        return 0;
    }

    function _wrongLane(Told memory told, uint256 index) private view returns (bytes memory) {
        uint256 place = seats()[index];
        (uint256 first, uint256 end) = placesOf(Groups.groupOf(division, place));
        uint256[] memory ranks = new uint256[](end - first);
        uint256 found = 0;
        for (uint256 other = first; other < end; ++other) {
            if (isRevealed(place, other)) ranks[found++] = other - first;
        }
        assembly ("memory-safe") {
            mstore(ranks, found)
        }
        LaneProof memory proof;
        proof.leaf = leafOf(told, index);
        proof.index = 1;
        bytes memory lanes = Lanes.pack(masked[place], 64, ELEMENTS, LANE_BYTES);
        proof.masked = Chunk(lanes, HashTree.path(maskedTree(place), 1));
        proof.sums = VectorForest.open(VectorKind.Sums, told.levels[0][proof.leaf.position].sums, 1);
        proof.seeds = new bytes32[](found);
        for (uint256 i = 0; i < found; ++i) {
            proof.seeds[i] = seedBetween(place, first + ranks[i]);
        }
        proof.seedSiblings = HashTree.beside(seedTree(place), ranks);
        return
            abi.encodeCall(ISealedCourt.proveWrongLane, (roundId, shape(), seatAt(index), proof, bytes32(0)));
    }

    function _wrongReading(Told memory told) private view returns (bytes memory) {
        uint256 level = Groups.height(division) + 1;
        Built memory child = told.levels[level - 1][0];
        Built memory group = told.levels[level][0];
        Reading memory reading;
        reading.index = 1;
        reading.sums = VectorForest.open(VectorKind.Sums, child.sums, 1);
        reading.signed = VectorForest.open(VectorKind.Sums, group.sums, 1);
        reading.squaresValues = reading.signed.values;
        reading.squaresSiblings = new NormNode[](1);
        reading.squaresSiblings[0] = told.squared[0].leaves[0];
        return abi.encodeCall(
            ISealedCourt.proveWrongReading,
            (roundId, placeOf(told, level, 0), child.preimage, told.squared[0].root, reading, bytes32(0))
        );
    }

    function _wrongSquares(Told memory told) private view returns (bytes memory) {
        Squared memory squared = told.squared[0];
        NormProof memory node;
        node.position = 1;
        node.preimage = squared.preimages[1];
        node.squares = squared.leaves[1].squares;
        node.siblings = new NormNode[](1);
        node.siblings[0] = squared.leaves[0];
        return abi.encodeCall(
            ISealedCourt.proveWrongSquares,
            (roundId, placeOf(told, Groups.height(division) + 1, 0), squared.root, node, bytes32(0))
        );
    }

    /// @dev Of the group of the first that has spoilt its group's sum, or of the first group.
    function _wrongNorm(Told memory told) private view returns (bytes memory) {
        uint256 place = seats()[faultyAt(Fault.Spoilt)];
        uint256 rank = countIn(counting, 0, Groups.groupOf(division, place));
        return abi.encodeCall(
            ISealedCourt.proveWrongNorm,
            (
                roundId,
                shape(),
                placeOf(told, Groups.height(division) + 1, rank),
                told.squared[rank].root,
                bytes32(0)
            )
        );
    }

    function _wrongSum(Told memory told) private view returns (bytes memory) {
        (Built memory left, Built memory right) = (told.levels[0][0], told.levels[0][1]);
        return abi.encodeCall(
            IAggregationCourt.proveWrongSum,
            (
                roundId,
                placeOf(told, 1, 0),
                left.preimage,
                right.preimage,
                1,
                VectorForest.open(VectorKind.Sums, told.levels[1][0].sums, 1),
                VectorForest.open(VectorKind.Sums, left.sums, 1),
                VectorForest.open(VectorKind.Sums, right.sums, 1),
                bytes32(0)
            )
        );
    }

    function _wrongMean(Told memory told) private view returns (bytes memory) {
        return abi.encodeCall(
            IAggregationCourt.proveWrongMean,
            (
                roundId,
                1,
                VectorForest.open(VectorKind.Model, base, 1),
                VectorForest.open(VectorKind.Sums, topOf(told).sums, 1),
                VectorForest.open(VectorKind.Model, told.model, 1),
                bytes32(0)
            )
        );
    }

    // --- what a coordinator can show ---

    function knownHere() internal view returns (Known memory known) {
        known = Knowledge.nothing(1024);
        Told memory told = tell();
        for (uint256 level = 0; level < told.levels.length; ++level) {
            for (uint256 p = 0; p < told.levels[level].length; ++p) {
                Built memory built = told.levels[level][p];
                if (built.preimage.length == 0) continue;
                known.know(built.preimage);
                known.knowVector(VectorKind.Sums, built.sums);
            }
        }
        known.knowVector(VectorKind.Model, told.model);
        for (uint256 rank = 0; rank < told.squared.length; ++rank) {
            Squared memory squared = told.squared[rank];
            known.know(squared.root);
            known.know(squaresNode(squared));
            known.know(squared.preimages[0]);
            known.know(squared.preimages[1]);
        }
        if (lie != Lie.HiddenRange) _knowRange(known);
    }

    function _knowRange(Known memory known) private view {
        bytes32[][][] memory trees = recordTrees();
        for (uint256 i = 0; i < trees.length; ++i) {
            known.knowTree(0x0b, trees[i]);
        }
        uint256[] memory places = seats();
        for (uint256 i = 0; i < places.length; ++i) {
            SealedRecord memory record = recordAt(i);
            known.know(recordBytes(i, record));
            known.know(bytesOf(submissionAt(places[i])));
            known.know(maskedLeaf(places[i], 0));
            known.know(maskedLeaf(places[i], 1));
            known.knowTree(0x34, maskedTree(places[i]));
            known.knowTree(0x39, seedTree(places[i]));
            _knowSeeds(known, places[i]);
        }
    }

    /// @dev Those that members gave.
    function _knowSeeds(Known memory known, uint256 place) private view {
        if (lie == Lie.CountsUnopened && place == lieSeed) return;
        (uint256 first, uint256 end) = placesOf(Groups.groupOf(division, place));
        for (uint256 other = first; other < end; ++other) {
            if (isRevealed(place, other)) known.know(commitmentTo(place, other));
        }
    }
}
