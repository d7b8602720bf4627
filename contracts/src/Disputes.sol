// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DataDemands} from "./DataDemands.sol";
import {FactoryMade} from "./FactoryMade.sol";
import {CommitmentProof, Fraud, UpdateNode} from "./interfaces/ICourt.sol";
import {IDisputes, VectorNode, VectorPlace} from "./interfaces/IDisputes.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {AggregationNode, AggregationTree} from "./libraries/AggregationTree.sol";
import {Commitment, CommitmentTree} from "./libraries/CommitmentTree.sol";
import {MeanLib} from "./libraries/MeanLib.sol";
import {MerkleSumTree, SumNode} from "./libraries/MerkleSumTree.sol";
import {Round} from "./libraries/RoundLib.sol";
import {Security} from "./libraries/SecurityLib.sol";
import {UpdateNodes} from "./libraries/UpdateNodes.sol";
import {VectorNodes} from "./libraries/VectorNodes.sol";
import {Chunk, VectorKind, VectorTree} from "./libraries/VectorTree.sol";

/// @title Disputes
/// @notice Fraud proofs about the proposals of one federation; see `IDisputes`.
/// @dev Deployed once and cloned by `FederationFactory`.
contract Disputes is IDisputes, DataDemands, FactoryMade {
    /// @inheritdoc IDisputes
    // The federation's events say all of this.
    // slither-disable-next-line events-maths
    function initialize(IFederation federation_, uint64 elements_, Security calldata security) external {
        _requireNew(address(federation));
        federation = federation_;
        elements = elements_;
        // `SecurityLib` bounds the first by thirty days, the others by 2^96 wei.
        // forge-lint: disable-next-line(unsafe-typecast)
        answerSeconds = uint32(security.answerSeconds);
        // forge-lint: disable-next-line(unsafe-typecast)
        demandFee = uint96(security.demandFee);
        // forge-lint: disable-next-line(unsafe-typecast)
        bond = uint96(security.bond);
    }

    /// @inheritdoc IDisputes
    function proveWrongMean(
        uint64 roundId,
        uint32 index,
        Chunk calldata base,
        Chunk calldata sums,
        Chunk calldata model,
        bytes32
    ) external {
        require(federation.aggregator() == 0, AuditOnly());
        Round memory round = _begin(roundId);
        _requireChunk(VectorKind.Model, index, base, federation.modelRoot(), "base");
        _requireChunk(VectorKind.Sums, index, sums, round.aggregateRoot, "aggregate");
        _requireChunk(VectorKind.Model, index, model, round.modelRoot, "model");
        require(!MeanLib.follows(base.values, sums.values, model.values, round.totalWeight), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.WrongMean);
    }

    /// @inheritdoc IDisputes
    function proveWrongSum(
        uint64 roundId,
        AggregationNode calldata node,
        bytes calldata left,
        bytes calldata right,
        uint32 index,
        Chunk calldata sums,
        Chunk calldata leftSums,
        Chunk calldata rightSums,
        bytes32
    ) external {
        Round memory round = _begin(roundId);
        _requireNode(node, round);
        require(AggregationTree.isNode(node.preimage), NotPartOf("node"));
        _requireChildren(node.preimage, left, right);
        _requireChunk(VectorKind.Sums, index, sums, AggregationTree.sumsOf(node.preimage), "sums");
        _requireChunk(VectorKind.Sums, index, leftSums, AggregationTree.sumsOf(left), "left sums");
        if (right.length > 0) {
            _requireChunk(VectorKind.Sums, index, rightSums, AggregationTree.sumsOf(right), "right sums");
        }
        require(!MeanLib.adds(sums.values, leftSums.values, right.length > 0, rightSums.values), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.WrongSum);
    }

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
    function proveMalformedVector(
        uint64 roundId,
        VectorPlace calldata place,
        VectorNode calldata node,
        bytes32
    ) external {
        Round memory round = _begin(roundId);
        (VectorKind kind, bytes32 root) = _vectorAt(place, round);
        require(VectorNodes.leadsTo(kind, elements, node, root), NotPartOf("vector"));
        require(!VectorNodes.isWellFormed(kind, elements, node), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.MalformedVector);
    }

    /// @inheritdoc IDisputes
    function proveMalformedRoot(uint64 roundId, VectorPlace calldata place, bytes calldata preimage, bytes32)
        external
    {
        Round memory round = _begin(roundId);
        (VectorKind kind, bytes32 root) = _vectorAt(place, round);
        require(keccak256(preimage) == root, NotPartOf("vector"));
        require(!VectorNodes.isRoot(kind, elements, preimage), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.MalformedVector);
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

    function _requireChunk(
        VectorKind kind,
        uint32 index,
        Chunk calldata chunk,
        bytes32 root,
        string memory what
    ) private view {
        require(VectorTree.holds(kind, elements, index, chunk, root), NotPartOf(what));
    }

    /// @dev Checks that a node stands in the proposal's aggregation tree, and returns its level.
    function _requireNode(AggregationNode calldata node, Round memory round)
        private
        pure
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

    function _requireLeaf(AggregationNode calldata leaf, Round memory round) private pure {
        require(_requireNode(leaf, round) == 0 && AggregationTree.isLeaf(leaf.preimage), NotPartOf("leaf"));
    }

    function _requireChildren(bytes calldata node, bytes calldata left, bytes calldata right) private pure {
        (bytes32 leftHash, bytes32 rightHash) = AggregationTree.childrenOf(node);
        require(AggregationTree.hashOf(left) == leftHash, NotPartOf("left child"));
        require(AggregationTree.hashOf(right) == rightHash, NotPartOf("right child"));
        // Shorter ones state no weight and no sums: they are malformed themselves, which `proveWrongNode` shows. So is a left
        // child that is empty; a right one may be.
        require(left.length >= AggregationTree.HEAD_BYTES, NotPartOf("left child"));
        require(right.length == 0 || right.length >= AggregationTree.HEAD_BYTES, NotPartOf("right child"));
    }

    function _vectorAt(VectorPlace calldata place, Round memory round)
        private
        pure
        returns (VectorKind kind, bytes32 root)
    {
        if (place.isModel) return (VectorKind.Model, round.modelRoot);
        _requireNode(place.holder, round);
        require(place.holder.preimage.length >= AggregationTree.HEAD_BYTES, NotPartOf("aggregation"));
        return (VectorKind.Sums, AggregationTree.sumsOf(place.holder.preimage));
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
