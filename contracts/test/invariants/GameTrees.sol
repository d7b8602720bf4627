// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationNode, AggregationStep} from "../../src/libraries/AggregationTree.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {MerkleSumTree, SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {Proposal} from "../../src/libraries/RoundLib.sol";
import {VectorKind} from "../../src/libraries/VectorTree.sol";
import {CommitmentLeaf} from "../base/CommitmentLeaf.sol";
import {HashTree} from "../base/HashTree.sol";
import {SumTree} from "../base/SumTree.sol";
import {VectorForest} from "../base/VectorForest.sol";
import {GameWorld} from "./GameWorld.sol";
import {Knowledge, Known} from "./Knowledge.sol";

/// @notice What a coordinator states of the updates that count, true or false, built whole in memory; and the preimages
///         below it.
abstract contract GameTrees is GameWorld {
    using Knowledge for Known;

    /// Element that lies change: that of the last chunk.
    uint256 internal constant LAST = ELEMENTS - 1;

    /// A node with everything below it added up.
    struct Built {
        uint64 weight;
        int256[] sums;
        bytes preimage;
    }

    struct Told {
        Built[][] levels;
        int256[] model;
        Proposal proposal;
    }

    /// @dev All of a proposal over the updates that count, but for what it lies about.
    function tell(Falsehood kind, uint256 seed) internal view returns (Told memory told) {
        uint256 n = counted.length;
        uint256 height = 0;
        while ((1 << height) < n) ++height;
        told.levels = new Built[][](height + 1);
        told.levels[0] = new Built[](1 << height);
        for (uint256 i = 0; i < n; ++i) {
            if (kind == Falsehood.EmptyLeaf && i == n - 1) continue;
            told.levels[0][i] = _leaf(i, i == seed % n ? kind : Falsehood.None, seed);
        }
        for (uint256 level = 1; level <= height; ++level) {
            told.levels[level] = new Built[](told.levels[level - 1].length / 2);
            for (uint256 p = 0; p < told.levels[level].length; ++p) {
                Built memory left = told.levels[level - 1][2 * p];
                Built memory right = told.levels[level - 1][2 * p + 1];
                if (left.preimage.length == 0) continue;
                told.levels[level][p] =
                    _parent(left, right, level == 1 && p == 0 ? kind : Falsehood.None, seed);
            }
        }
        _finish(told, kind, seed);
    }

    function _leaf(uint256 i, Falsehood kind, uint256 seed) private view returns (Built memory) {
        int256[] memory sums = vectorOf(roundId, indexOf(counted[i].member));
        uint64 weight = counted[i].weight;
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            sums[j] *= int256(uint256(weight));
        }
        if (kind == Falsehood.LeafSums) sums[LAST] += off(seed);
        bytes32 commitment = kind == Falsehood.WrongLeaf ? bytes32(seed) : CommitmentLeaf.hashOf(counted[i]);
        return _node(8, weight, sums, abi.encodePacked(commitment));
    }

    function _parent(Built memory left, Built memory right, Falsehood kind, uint256 seed)
        private
        pure
        returns (Built memory)
    {
        int256[] memory sums = new int256[](ELEMENTS);
        bool isAlone = right.preimage.length == 0;
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            sums[j] = left.sums[j] + (isAlone ? int256(0) : right.sums[j]);
        }
        if (kind == Falsehood.NodeSums) sums[LAST] -= off(seed);
        uint64 weight = left.weight + right.weight;
        if (kind == Falsehood.NodeWeight) weight += uint64(uint256(off(seed)));
        return _node(9, weight, sums, abi.encodePacked(hashOf(left), hashOf(right)));
    }

    function _finish(Told memory told, Falsehood kind, uint256 seed) private view {
        Built memory top = topOf(told);
        int256 weight = 0;
        uint256 total = federation.round(roundId).totalWeight;
        // A round that is over states none.
        for (uint256 i = 0; total == 0 && i < counted.length; ++i) {
            weight += int256(uint256(counted[i].weight));
        }
        if (total > 0) weight = int256(total);
        told.model = base;
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            told.model[j] += _floorDivision(top.sums[j], weight);
        }
        if (kind == Falsehood.Model) told.model[LAST] += off(seed);
        bytes32 modelRoot = VectorForest.rootOf(VectorKind.Model, told.model);
        if (kind == Falsehood.MalformedRoot) modelRoot = keccak256(malformedRoot(told.model));
        if (kind == Falsehood.MalformedVector) {
            bytes32 first = keccak256(VectorForest.leafOf(VectorKind.Model, told.model, 0));
            bytes32 inner =
                keccak256(abi.encodePacked(uint8(3), first, keccak256(malformedChunk(told.model))));
            modelRoot = keccak256(abi.encodePacked(uint8(4), ELEMENTS, inner));
        }
        bytes32 aggregation = kind == Falsehood.Hidden ? keccak256(abi.encode(seed)) : hashOf(top);
        told.proposal = proposalOf(aggregation, VectorForest.rootOf(VectorKind.Sums, top.sums), modelRoot);
    }

    /// @dev States one element too many.
    function malformedRoot(int256[] memory values) internal pure returns (bytes memory) {
        bytes32[][] memory levels = VectorForest.build(VectorKind.Model, values);
        return abi.encodePacked(uint8(4), ELEMENTS + 1, levels[1][0]);
    }

    /// @dev One byte too long.
    function malformedChunk(int256[] memory values) internal pure returns (bytes memory) {
        return bytes.concat(VectorForest.leafOf(VectorKind.Model, values, 1), hex"00");
    }

    function topOf(Told memory told) internal pure returns (Built memory) {
        return told.levels[told.levels.length - 1][0];
    }

    function hashOf(Built memory built) internal pure returns (bytes32) {
        return built.preimage.length == 0 ? bytes32(0) : keccak256(built.preimage);
    }

    /// @dev A node in its place, and the way up.
    function placeOf(Told memory told, uint256 level, uint256 position)
        internal
        pure
        returns (AggregationNode memory found)
    {
        uint256 height = told.levels.length - 1;
        found.position = uint32(position);
        found.preimage = told.levels[level][position].preimage;
        found.path = new AggregationStep[](height - level);
        for (uint256 k = 0; k < found.path.length; ++k) {
            Built memory above = told.levels[level + k + 1][position >> (k + 1)];
            found.path[k] = AggregationStep(
                hashOf(told.levels[level + k][(position >> k) ^ 1]),
                above.weight,
                VectorForest.rootOf(VectorKind.Sums, above.sums)
            );
        }
    }

    // --- hash trees over what is received ---

    function rangePath(uint256 index) internal view returns (bytes32[] memory) {
        bytes32[][][] memory trees = rangeTrees();
        for (uint256 i = 0; i < trees.length; ++i) {
            uint256 width = trees[i][0].length;
            if (index < width) return HashTree.path(trees[i], index);
            index -= width;
        }
        revert("no such update");
    }

    function rangeTrees() internal view returns (bytes32[][][] memory) {
        return rangeOf(counted);
    }

    function rangeOf(Commitment[] memory list) internal pure returns (bytes32[][][] memory) {
        bytes32[] memory hashes = new bytes32[](list.length);
        for (uint256 i = 0; i < hashes.length; ++i) {
            hashes[i] = CommitmentLeaf.hashOf(list[i]);
        }
        return HashTree.mountains(0x0b, hashes);
    }

    // --- what a coordinator knows ---

    /// @dev Every preimage that a proposal and its roll-up lead to, lies included.
    function knownOf(Told memory told, bytes32[][] memory recordTree, bytes[] memory recordLeaves)
        internal
        view
        returns (Known memory known)
    {
        known = Knowledge.nothing(256);
        for (uint256 level = 0; level < told.levels.length; ++level) {
            for (uint256 p = 0; p < told.levels[level].length; ++p) {
                Built memory built = told.levels[level][p];
                if (built.preimage.length == 0) continue;
                known.know(built.preimage);
                known.knowVector(VectorKind.Sums, built.sums);
            }
        }
        known.knowVector(VectorKind.Model, told.model);
        known.know(malformedRoot(told.model));
        for (uint256 i = 0; i < counted.length; ++i) {
            _knowUpdate(known, counted[i]);
        }
        bytes32[][][] memory trees = rangeTrees();
        for (uint256 i = 0; i < trees.length; ++i) {
            known.knowTree(0x0b, trees[i]);
        }
        for (uint256 i = 0; i < recordLeaves.length; ++i) {
            known.know(recordLeaves[i]);
        }
        if (recordLeaves.length > 0) known.knowTree(0x0d, recordTree);
    }

    function _knowUpdate(Known memory known, Commitment memory commitment) private view {
        known.know(
            abi.encodePacked(
                uint8(0x0a),
                commitment.member,
                commitment.weight,
                commitment.updateRoot,
                commitment.sumSquares
            )
        );
        uint256 index = indexOf(commitment.member);
        SumNode[][] memory levels = treeOf(index);
        bytes32 context = SumTree.contextOf(federation, roundId, commitment.member);
        for (uint32 i = 0; i < 2; ++i) {
            uint32 length = uint32(MerkleSumTree.chunkLength(ELEMENTS, i));
            bytes memory head = abi.encodePacked(uint8(0), context, i, length, levels[0][i].sum);
            known.know(bytes.concat(head, SumTree.chunkOf(vectorOf(roundId, index), i)));
        }
        known.know(updateTop(levels));
    }

    /// @dev Preimage of an update's root.
    function updateTop(SumNode[][] memory levels) internal pure returns (bytes memory) {
        return
            abi.encodePacked(
                uint8(1), levels[0][0].hash, levels[0][0].sum, levels[0][1].hash, levels[0][1].sum
            );
    }

    function off(uint256 seed) internal pure returns (int256) {
        return int256(seed % 1000) + 1;
    }

    function _node(uint8 kind, uint64 weight, int256[] memory sums, bytes memory rest)
        private
        pure
        returns (Built memory)
    {
        bytes32 root = VectorForest.rootOf(VectorKind.Sums, sums);
        return Built(weight, sums, abi.encodePacked(kind, weight, root, rest));
    }

    function _floorDivision(int256 value, int256 divisor) private pure returns (int256 quotient) {
        quotient = value / divisor;
        if (value % divisor < 0) quotient -= 1;
    }
}
