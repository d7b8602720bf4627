// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DataDemands} from "./DataDemands.sol";
import {FactoryMade} from "./FactoryMade.sol";
import {IAggregationCourt, VectorNode, VectorPlace} from "./interfaces/IAggregationCourt.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {AggregationNode, AggregationTree} from "./libraries/AggregationTree.sol";
import {MeanLib} from "./libraries/MeanLib.sol";
import {Round} from "./libraries/RoundLib.sol";
import {Security} from "./libraries/SecurityLib.sol";
import {VectorNodes} from "./libraries/VectorNodes.sol";
import {Chunk, VectorKind, VectorTree} from "./libraries/VectorTree.sol";

/// @title AggregationCourt
/// @notice Fraud proofs that do not depend on the shape of the aggregation tree; see `IAggregationCourt`.
abstract contract AggregationCourt is IAggregationCourt, DataDemands, FactoryMade {
    /// @inheritdoc IAggregationCourt
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

    /// @inheritdoc IAggregationCourt
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

    /// @inheritdoc IAggregationCourt
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

    /// @inheritdoc IAggregationCourt
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

    /// @inheritdoc IAggregationCourt
    function proveMalformedRoot(uint64 roundId, VectorPlace calldata place, bytes calldata preimage, bytes32)
        external
    {
        Round memory round = _begin(roundId);
        (VectorKind kind, bytes32 root) = _vectorAt(place, round);
        require(keccak256(preimage) == root, NotPartOf("vector"));
        require(!VectorNodes.isRoot(kind, elements, preimage), NoFraud());
        _bringDown(roundId, round.attempt, Fraud.MalformedVector);
    }

    function _requireChunk(
        VectorKind kind,
        uint32 index,
        Chunk calldata chunk,
        bytes32 root,
        string memory what
    ) internal view {
        require(VectorTree.holds(kind, elements, index, chunk, root), NotPartOf(what));
    }

    function _requireLeaf(AggregationNode calldata leaf, Round memory round) internal view {
        require(_requireNode(leaf, round) == 0 && AggregationTree.isLeaf(leaf.preimage), NotPartOf("leaf"));
    }

    function _vectorAt(VectorPlace calldata place, Round memory round)
        internal
        view
        returns (VectorKind kind, bytes32 root)
    {
        if (place.isModel) return (VectorKind.Model, round.modelRoot);
        _requireNode(place.holder, round);
        require(place.holder.preimage.length >= AggregationTree.HEAD_BYTES, NotPartOf("aggregation"));
        return (VectorKind.Sums, AggregationTree.sumsOf(place.holder.preimage));
    }

    /// @dev Checks that a node stands in the proposal's aggregation tree, and returns its level.
    function _requireNode(AggregationNode calldata node, Round memory round)
        internal
        view
        virtual
        returns (uint256 level);
}
