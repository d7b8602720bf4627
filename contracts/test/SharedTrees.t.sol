// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationNode, AggregationStep, AggregationTree} from "../src/libraries/AggregationTree.sol";
import {Commitment, CommitmentTree, MAX_PEAKS} from "../src/libraries/CommitmentTree.sol";
import {MeanLib} from "../src/libraries/MeanLib.sol";
import {Chunk, VectorKind, VectorTree} from "../src/libraries/VectorTree.sol";
import {VectorForest} from "./base/VectorForest.sol";
import {VectorsFile} from "./base/VectorsFile.sol";

/// @notice Models, aggregates, commitments and aggregation trees equal those of tests/protocol/vectors.json, which is
///         made without any code of the Python package.
contract SharedTreesTest is VectorsFile {
    bytes32[MAX_PEAKS] private _kept;

    function test_models() public view {
        checkVectors(VectorKind.Model, "models");
    }

    function test_aggregates() public view {
        checkVectors(VectorKind.Sums, "aggregates");
    }

    function test_commitmentsMakeThePeaks() public {
        uint256 cases = 0;
        for (; vm.keyExistsJson(vectors, element("", ".aggregations", cases)); ++cases) {
            string memory key = element("", ".aggregations", cases);
            bytes32[MAX_PEAKS] memory peaks;
            uint32 count = 0;
            for (; vm.keyExistsJson(vectors, element(key, ".commitments", count)); ++count) {
                string memory stated = element(key, ".commitments", count);
                bytes32 leaf = CommitmentTree.leafHash(commitmentAt(stated));
                vm.assertEq(leaf, word(stated, ".leaf"));
                CommitmentTree.append(peaks, count, leaf);
            }
            for (uint256 level = 0; level < 8; ++level) {
                string memory peak = string.concat(".peaks.", vm.toString(level));
                bool stands = (count >> level) & 1 == 1;
                vm.assertTrue(vm.keyExistsJson(vectors, string.concat(key, peak)) == stands);
                if (stands) vm.assertEq(peaks[level], word(key, peak));
            }
            _kept = peaks;
            vm.assertEq(CommitmentTree.rangeHash(_kept, count), word(key, ".range"));
        }
        vm.assertTrue(cases >= 3);
    }

    function test_everyNodeClimbsToTheAggregationRoot() public view {
        uint256 nodes = 0;
        for (uint256 i = 0; vm.keyExistsJson(vectors, element("", ".aggregations", i)); ++i) {
            string memory key = element("", ".aggregations", i);
            uint256 top = 0;
            while (vm.keyExistsJson(vectors, element(key, ".levels", top + 1))) ++top;
            for (uint256 level = 0; level <= top; ++level) {
                for (uint256 p = 0; p < uint256(1) << (top - level); ++p) {
                    if (hashAt(key, level, p) == 0) continue;
                    vm.assertEq(climbFrom(key, level, p, top), word(key, ".aggregationRoot"));
                    ++nodes;
                }
            }
            string memory summit = element(element(key, ".levels", top), "", 0);
            vm.assertEq(word(summit, ".sums"), word(key, ".aggregateRoot"));
            vm.assertEq(number(summit, ".weight"), number(key, ".totalWeight"));
        }
        vm.assertTrue(nodes >= 12);
    }

    function test_leavesHoldWeightTimesUpdate() public view {
        string memory key = element("", ".aggregations", 2);
        for (uint256 i = 0; vm.keyExistsJson(vectors, element(key, ".commitments", i)); ++i) {
            string memory stated = element(key, ".commitments", i);
            int256[] memory values = vm.parseJsonIntArray(vectors, string.concat(stated, ".values"));
            uint32 weight = uint32(number(stated, ".weight"));
            int256[] memory sums = new int256[](values.length);
            for (uint256 j = 0; j < values.length; ++j) {
                sums[j] = values[j] * int256(uint256(weight));
            }
            string memory leaf = element(element(key, ".levels", 0), "", i);
            vm.assertEq(VectorForest.rootOf(VectorKind.Sums, sums), word(leaf, ".sums"));
            bytes memory update = VectorForest.pack(VectorKind.Model, values, 1);
            bytes memory product = VectorForest.pack(VectorKind.Sums, sums, 1);
            vm.assertTrue(this.multiplies(product, update, weight));
            vm.assertFalse(this.multiplies(product, update, weight + 1));
        }
    }

    function multiplies(bytes calldata sums, bytes calldata update, uint32 weight)
        external
        pure
        returns (bool)
    {
        return MeanLib.multiplies(sums, update, weight);
    }

    function holds(VectorKind kind, uint64 elements, uint32 index, Chunk calldata chunk, bytes32 root)
        external
        pure
        returns (bool)
    {
        return VectorTree.holds(kind, elements, index, chunk, root);
    }

    function climb(AggregationNode calldata node) external pure returns (bytes32) {
        return AggregationTree.climb(node);
    }

    function checkVectors(VectorKind kind, string memory list) private view {
        uint256 count = 0;
        for (; vm.keyExistsJson(vectors, element("", string.concat(".", list), count)); ++count) {
            string memory key = element("", string.concat(".", list), count);
            int256[] memory values = vm.parseJsonIntArray(vectors, string.concat(key, ".values"));
            bytes32 root = word(key, ".root");
            for (uint32 i = 0; i < (values.length + 63) / 64; ++i) {
                Chunk memory chunk = VectorForest.open(kind, values, i);
                vm.assertTrue(this.holds(kind, uint64(values.length), i, chunk, root));
                chunk.values[0] ^= 0x01;
                vm.assertFalse(this.holds(kind, uint64(values.length), i, chunk, root));
            }
        }
        vm.assertTrue(count >= 5);
    }

    function climbFrom(string memory key, uint256 level, uint256 position, uint256 top)
        private
        view
        returns (bytes32)
    {
        AggregationNode memory node;
        node.position = uint32(position);
        node.preimage = preimageAt(key, level, position);
        node.path = new AggregationStep[](top - level);
        for (uint256 k = 0; level + k < top; ++k) {
            string memory above = element(element(key, ".levels", level + k + 1), "", position >> (k + 1));
            node.path[k] = AggregationStep(
                hashAt(key, level + k, (position >> k) ^ 1),
                uint64(number(above, ".weight")),
                word(above, ".sums")
            );
        }
        return this.climb(node);
    }

    function preimageAt(string memory key, uint256 level, uint256 position)
        private
        view
        returns (bytes memory)
    {
        string memory place = element(element(key, ".levels", level), "", position);
        bytes memory head = abi.encodePacked(
            level == 0 ? AggregationTree.LEAF : AggregationTree.NODE,
            uint64(number(place, ".weight")),
            word(place, ".sums")
        );
        if (level == 0) return bytes.concat(head, word(element(key, ".commitments", position), ".leaf"));
        return
            bytes.concat(head, hashAt(key, level - 1, 2 * position), hashAt(key, level - 1, 2 * position + 1));
    }

    /// @dev 0 where no update lies below: the vectors hold null there.
    function hashAt(string memory key, uint256 level, uint256 position) private view returns (bytes32) {
        string memory place = string.concat(element(element(key, ".levels", level), "", position), ".hash");
        return vm.keyExistsJson(vectors, place) ? vm.parseJsonBytes32(vectors, place) : bytes32(0);
    }

    function commitmentAt(string memory key) private view returns (Commitment memory) {
        return Commitment(
            vm.parseJsonAddress(vectors, string.concat(key, ".member")),
            uint32(number(key, ".weight")),
            word(key, ".updateRoot"),
            uint128(number(key, ".sumSquares"))
        );
    }
}
