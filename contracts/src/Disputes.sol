// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationCourt} from "./AggregationCourt.sol";
import {CommitmentProof, Fraud, UpdateNode} from "./interfaces/ICourt.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {AggregationNode, AggregationTree} from "./libraries/AggregationTree.sol";
import {Commitment, CommitmentTree} from "./libraries/CommitmentTree.sol";
import {MeanLib} from "./libraries/MeanLib.sol";
import {MerkleSumTree, SumNode} from "./libraries/MerkleSumTree.sol";
import {Round} from "./libraries/RoundLib.sol";
import {UpdateNodes} from "./libraries/UpdateNodes.sol";
import {Chunk, VectorKind} from "./libraries/VectorTree.sol";

/// @title Disputes
/// @notice Fraud proofs about the proposals of one federation; see `IDisputes`.
/// @dev Deployed once and cloned by `FederationFactory`.
contract Disputes is IDisputes, AggregationCourt {
    /// @inheritdoc IDisputes
    function proveWrongProduct(
        uint64 roundId,
        AggregationNode calldata leaf,
        Commitment calldata commitment,
        uint32 index,
        bytes calldata values,
        SumNode[] calldata siblings,
        Chunk calldata sums,
        bytes32
    ) external {
        Round memory round = _begin(roundId);
        _requireLeaf(leaf, round);
        require(
            CommitmentTree.leafHash(commitment) == AggregationTree.commitmentOf(leaf.preimage),
            NotPartOf("commitment")
        );
        require(
            MerkleSumTree.verify(
                _placeOf(roundId, commitment.member),
                index,
                values,
                siblings,
                SumNode(commitment.updateRoot, commitment.sumSquares)
            ),
            NotPartOf("update")
        );
        _requireChunk(VectorKind.Sums, index, sums, AggregationTree.sumsOf(leaf.preimage), "sums");
        require(!MeanLib.multiplies(sums.values, values, commitment.weight), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.WrongProduct);
    }

    /// @inheritdoc IDisputes
    function proveWrongNode(
        uint64 roundId,
        AggregationNode calldata node,
        bytes calldata left,
        bytes calldata right,
        bytes32
    ) external {
        Round memory round = _begin(roundId);
        uint256 level = _requireNode(node, round);
        bool isEmpty = node.preimage.length == 0;
        // Below a node lies an update if one lies below its first leaf.
        bool wrong = isEmpty == (uint256(node.position) << level < round.accepted);
        require(wrong || !isEmpty && _isWrong(round, node, level, left, right), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.WrongNode);
    }

    /// @inheritdoc IDisputes
    function proveWrongLeaf(
        uint64 roundId,
        AggregationNode calldata leaf,
        CommitmentProof calldata accepted,
        bytes32
    ) external {
        Round memory round = _begin(roundId);
        _requireLeaf(leaf, round);
        require(accepted.index == leaf.position, NotPartOf("commitment"));
        bytes32 commitment = _requireAccepted(round.accepted, accepted);
        require(
            AggregationTree.commitmentOf(leaf.preimage) != commitment
                || AggregationTree.weightOf(leaf.preimage) != accepted.commitment.weight,
            NoFraud()
        );
        _bringDown(roundId, round.attempt, Fraud.WrongLeaf);
    }

    /// @inheritdoc IDisputes
    function proveBadUpdate(
        uint64 roundId,
        CommitmentProof calldata accepted,
        UpdateNode calldata node,
        bytes32
    ) external {
        Round memory round = _begin(roundId);
        _requireAccepted(round.accepted, accepted);
        Commitment calldata commitment = accepted.commitment;
        require(
            UpdateNodes.leadsTo(elements, node, SumNode(commitment.updateRoot, commitment.sumSquares)),
            NotPartOf("update")
        );
        require(!UpdateNodes.isWellFormed(_placeOf(roundId, commitment.member), node), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.BadUpdate);
    }

    /// @dev Checks that a node stands in the proposal's aggregation tree, and returns its level.
    function _requireNode(AggregationNode calldata node, Round memory round)
        internal
        pure
        override
        returns (uint256 level)
    {
        uint256 height = AggregationTree.height(round.accepted);
        uint256 depth = node.path.length;
        require(
            depth <= height && node.position >> depth == 0
                && AggregationTree.climb(node) == round.aggregationRoot,
            NotPartOf("aggregation")
        );
        return height - depth;
    }

    /// @dev Whether a node is wrong by itself or against its children that stands where one must.
    function _isWrong(
        Round memory round,
        AggregationNode calldata node,
        uint256 level,
        bytes calldata left,
        bytes calldata right
    ) private pure returns (bool) {
        bytes calldata preimage = node.preimage;
        if (!(level == 0 ? AggregationTree.isLeaf(preimage) : AggregationTree.isNode(preimage))) return true;
        // No vector has the root 0, and nobody could demand to see one.
        if (AggregationTree.sumsOf(preimage) == 0) return true;
        uint64 weight = AggregationTree.weightOf(preimage);
        if (
            node.path.length == 0
                && (weight != round.totalWeight || AggregationTree.sumsOf(preimage) != round.aggregateRoot)
        ) return true;
        if (level == 0) return false;
        _requireChildren(preimage, left, right);
        return weight != uint256(AggregationTree.weightOf(left)) + AggregationTree.weightOf(right);
    }
}
