// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationNode, AggregationTree} from "../../src/libraries/AggregationTree.sol";
import {Commitment, CommitmentTree, MAX_PEAKS} from "../../src/libraries/CommitmentTree.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "../../src/libraries/MerkleSumTree.sol";
import {Record, RecordProof, RecordTree} from "../../src/libraries/RecordTree.sol";
import {Rules, RulesLib} from "../../src/libraries/RulesLib.sol";
import {Pool, SamplePool} from "../../src/libraries/SamplePool.sol";
import {Sample, SampleTree} from "../../src/libraries/SampleTree.sol";
import {AccuracyTest, SequentialTest, Thresholds} from "../../src/libraries/SequentialTest.sol";
import {SubmissionCode} from "../../src/libraries/SubmissionCode.sol";
import {Submission, Update, UpdateTypes} from "../../src/libraries/UpdateTypes.sol";
import {Chunk, VectorKind, VectorTree} from "../../src/libraries/VectorTree.sol";

/// @notice The encodings of the libraries as functions that can be called, for tests/protocol/test_solidity_agrees.py.
contract Encodings {
    using SamplePool for Pool;

    Pool private _pool;

    function context(UpdatePlace calldata place) external pure returns (bytes32) {
        return MerkleSumTree.context(place);
    }

    function updateHolds(
        UpdatePlace calldata place,
        uint32 index,
        bytes calldata values,
        SumNode[] calldata siblings,
        SumNode calldata root
    ) external pure returns (bool) {
        return MerkleSumTree.verify(place, index, values, siblings, root);
    }

    function vectorHolds(VectorKind kind, uint64 elements, uint32 index, Chunk calldata chunk, bytes32 root)
        external
        pure
        returns (bool)
    {
        return VectorTree.holds(kind, elements, index, chunk, root);
    }

    function peaks(Commitment[] calldata commitments)
        external
        pure
        returns (bytes32[MAX_PEAKS] memory found)
    {
        for (uint32 i = 0; i < commitments.length; ++i) {
            CommitmentTree.append(found, i, CommitmentTree.leafHash(commitments[i]));
        }
    }

    function recordHolds(uint32 count, RecordProof calldata proof, bytes32 root)
        external
        pure
        returns (bool)
    {
        return RecordTree.holds(count, proof, root);
    }

    function submission(Submission calldata received) external pure returns (bytes32) {
        return SubmissionCode.hash(received);
    }

    function aggregationTop(AggregationNode calldata node) external pure returns (bytes32) {
        return AggregationTree.climb(node);
    }

    function aggregationLeaf(bytes calldata leaf)
        external
        pure
        returns (uint64 weight, bytes32 sums, bytes32 commitment)
    {
        return (
            AggregationTree.weightOf(leaf), AggregationTree.sumsOf(leaf), AggregationTree.commitmentOf(leaf)
        );
    }

    function rules(Rules calldata stated) external pure returns (bytes32 hash, uint32 maxWeight) {
        return (RulesLib.hash(stated), RulesLib.maxWeight(stated));
    }

    function updateStruct(Update calldata update) external pure returns (bytes32) {
        return UpdateTypes.structHash(update);
    }

    function sampleRoot(uint32 count, uint32 index, Sample calldata sample) external pure returns (bytes32) {
        return SampleTree.rootOf(count, index, sample);
    }

    function thresholds(AccuracyTest calldata test) external pure returns (Thresholds memory) {
        return SequentialTest.thresholds(test);
    }

    /// @dev Of the samples numbered from 0 of one trial, over a new pool.
    function draws(uint32 size, bytes32 seed, uint32 count) external returns (uint32[] memory drawn) {
        _pool.remaining = size;
        drawn = new uint32[](count);
        for (uint32 i = 0; i < count; ++i) {
            drawn[i] = _pool.draw(uint256(keccak256(abi.encode(seed, i))));
        }
    }
}
