// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FactoryMade} from "./FactoryMade.sol";
import {RolledUpCourt} from "./RolledUpCourt.sol";
import {SealedSeats} from "./SealedSeats.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {ISealedCourt, LaneProof, Reading, SubmittedNode} from "./interfaces/ISealedCourt.sol";
import {Seat} from "./interfaces/ISealedRounds.sol";
import {AggregationNode, AggregationTree} from "./libraries/AggregationTree.sol";
import {GroupNode} from "./libraries/GroupNode.sol";
import {MerkleSumTree} from "./libraries/MerkleSumTree.sol";
import {NormProof, NormRoot, NormTree} from "./libraries/NormTree.sol";
import {Round} from "./libraries/RoundLib.sol";
import {SealedAggregation, SealedPlan} from "./libraries/SealedAggregation.sol";
import {SealedRules, SealedRulesLib} from "./libraries/SealedRulesLib.sol";
import {GroupShape, SealedShape, SeatPlace} from "./libraries/SealedShape.sol";
import {SealedTrees} from "./libraries/SealedTrees.sol";
import {Masked} from "./libraries/SealedTypes.sol";
import {SubmittedNodes} from "./libraries/SubmittedNodes.sol";
import {LaneBlock, Unmasking} from "./libraries/Unmasking.sol";
import {Chunk, VectorKind, VectorTree} from "./libraries/VectorTree.sol";

/// @title SealedCourt
/// @notice Fraud proofs about how masked updates become the sums of groups; see `ISealedCourt`.
/// @dev Deployed once and cloned by `FederationFactory`.
contract SealedCourt is ISealedCourt, RolledUpCourt, SealedSeats, FactoryMade {
    using SealedAggregation for SealedPlan;
    using SealedRulesLib for SealedRules;
    using SealedShape for GroupShape;

    /// @inheritdoc ISealedCourt
    // slither-disable-next-line events-maths
    function initialize(IFederation federation_, uint64 elements_) external {
        _requireNew(address(federation));
        federation = federation_;
        elements = elements_;
    }

    /// @inheritdoc ISealedCourt
    function proveMalformedSubmission(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        SubmittedNode calldata node,
        bytes32
    ) external {
        (Round memory round, SealedPlan memory plan) = _beginSealed(roundId, shape);
        _requireSeat(round, seat);
        _requireSubmission(seat);
        bytes32 context = _contextOf(roundId, seat);
        bool wellFormed = node.isOfSeeds
            ? _isSeedNode(plan, shape, seat, node, context)
            : _isMaskedNode(plan, seat, node, context);
        require(!wellFormed, NoFraud());
        _fail(roundId, round.attempt, Fraud.BadUpdate);
    }

    /// @inheritdoc ISealedCourt
    function proveWrongLane(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        LaneProof calldata proof,
        bytes32
    ) external {
        (Round memory round, SealedPlan memory plan) = _beginSealed(roundId, shape);
        _requireSeat(round, seat);
        _requireSubmission(seat);
        SeatPlace memory spot = shape.seatAt(plan.division(), seat.record.place);
        _requireLeaf(round, plan, proof.leaf, spot);
        _requireSums(proof.index, proof.sums, AggregationTree.sumsOf(proof.leaf.preimage));
        bytes32 context = _contextOf(roundId, seat);
        require(!_follows(plan, shape, spot, seat.submission.update, context, proof), NoFraud());
        _fail(roundId, round.attempt, Fraud.WrongProduct);
    }

    /// @inheritdoc ISealedCourt
    function proveWrongReading(
        uint64 roundId,
        AggregationNode calldata group,
        bytes calldata child,
        bytes calldata norm,
        Reading calldata reading,
        bytes32
    ) external {
        Round memory round = _beginRound(roundId);
        SealedPlan memory plan = _rounds().plan();
        _requireGroup(round, plan, group, norm);
        require(keccak256(child) == GroupNode.childOf(group.preimage), NotPartOf("child"));
        require(child.length >= AggregationTree.HEAD_BYTES, NotPartOf("child"));
        _requireSums(reading.index, reading.sums, AggregationTree.sumsOf(child));
        _requireSums(reading.index, reading.signed, AggregationTree.sumsOf(group.preimage));
        require(
            NormTree.holds(
                NormRoot.read(norm), elements, reading.index, reading.squaresValues, reading.squaresSiblings
            ),
            NotPartOf("squares")
        );
        bool follows = Unmasking.reads(plan.laneBytes, reading.sums.values, reading.signed.values)
            && keccak256(reading.signed.values) == keccak256(reading.squaresValues);
        require(!follows, NoFraud());
        _fail(roundId, round.attempt, Fraud.WrongSum);
    }

    /// @inheritdoc ISealedCourt
    function proveWrongNorm(
        uint64 roundId,
        GroupShape calldata shape,
        AggregationNode calldata group,
        bytes calldata norm,
        bytes32
    ) external {
        (Round memory round, SealedPlan memory plan) = _beginSealed(roundId, shape);
        _requireGroup(round, plan, group, norm);
        uint256 included = shape.includedAt(plan.division(), group.position);
        bool within = NormRoot.isRoot(norm)
            && _epochs().sealedRules()
                .isWithinNorm(
                    federation.rules().maxSumSquares,
                    NormRoot.read(norm).squares,
                    AggregationTree.weightOf(group.preimage),
                    included
                );
        require(!within, NoFraud());
        _fail(roundId, round.attempt, Fraud.WrongNode);
    }

    /// @inheritdoc ISealedCourt
    function proveWrongSquares(
        uint64 roundId,
        AggregationNode calldata group,
        bytes calldata norm,
        NormProof calldata node,
        bytes32
    ) external {
        Round memory round = _beginRound(roundId);
        _requireGroup(round, _rounds().plan(), group, norm);
        require(NormTree.leadsTo(NormRoot.read(norm), elements, node), NotPartOf("squares"));
        require(!NormTree.isWellFormed(elements, node), NoFraud());
        _fail(roundId, round.attempt, Fraud.MalformedVector);
    }

    /// @inheritdoc ISealedCourt
    function proveWrongNode(
        uint64 roundId,
        GroupShape calldata shape,
        AggregationNode calldata node,
        bytes calldata left,
        bytes calldata right,
        bytes32
    ) external {
        (Round memory round, SealedPlan memory plan) = _beginSealed(roundId, shape);
        uint256 level = _requireNode(round, plan, node);
        bool isEmpty = node.preimage.length == 0;
        bool wrong = isEmpty == _isTaken(plan, shape, level, node.position);
        bool isGroup = level == plan.groupLevel();
        require(wrong || !isEmpty && _isWrong(round, node, level, isGroup, left, right), NoFraud());
        _fail(roundId, round.attempt, Fraud.WrongNode);
    }

    /// @inheritdoc ISealedCourt
    function proveWrongLeaf(
        uint64 roundId,
        GroupShape calldata shape,
        AggregationNode calldata leaf,
        Seat calldata seat,
        bytes32
    ) external {
        (Round memory round, SealedPlan memory plan) = _beginSealed(roundId, shape);
        _requireSeat(round, seat);
        _requireLeaf(round, plan, leaf, shape.seatAt(plan.division(), seat.record.place));
        require(
            AggregationTree.commitmentOf(leaf.preimage) != SealedTrees.recordLeaf(seat.record)
                || AggregationTree.weightOf(leaf.preimage) != seat.record.weight,
            NoFraud()
        );
        _fail(roundId, round.attempt, Fraud.WrongLeaf);
    }

    /// @dev Whether a leaf's lanes follow from the masked ones and the seeds, all of which must be the member's.
    function _follows(
        SealedPlan memory plan,
        GroupShape calldata shape,
        SeatPlace memory spot,
        Masked calldata update,
        bytes32 context,
        LaneProof calldata proof
    ) private view returns (bool) {
        LaneBlock memory lanes = LaneBlock(proof.index, proof.blockNumber, plan.laneBytes);
        require(
            SealedTrees.maskedHolds(
                update.maskedRoot, context, elements, lanes.laneBytes, proof.index, proof.masked
            ),
            NotPartOf("masked")
        );
        require(
            SealedTrees.seedsHold(
                update.seedsRoot,
                plan.groupHeight,
                context,
                shape.revealed(spot),
                proof.seeds,
                proof.seedSiblings
            ),
            NotPartOf("seeds")
        );
        uint256 own = shape.absentBefore(spot);
        return Unmasking.follows(lanes, proof.masked.values, proof.sums.values, proof.seeds, own);
    }

    function _isSeedNode(
        SealedPlan memory plan,
        GroupShape calldata shape,
        Seat calldata seat,
        SubmittedNode calldata node,
        bytes32 context
    ) private pure returns (bool) {
        uint256 height = plan.groupHeight;
        require(
            SubmittedNodes.leadsTo(SealedTrees.SEED_NODE, height, node, seat.submission.update.seedsRoot),
            NotPartOf("seeds")
        );
        SeatPlace memory spot = shape.seatAt(plan.division(), seat.record.place);
        bool revealed = shape.isRevealed(spot, spot.first + node.position);
        return SubmittedNodes.isSeedNode(height, node, context, revealed);
    }

    function _isMaskedNode(
        SealedPlan memory plan,
        Seat calldata seat,
        SubmittedNode calldata node,
        bytes32 context
    ) private view returns (bool) {
        uint256 height = MerkleSumTree.height(elements);
        require(
            SubmittedNodes.leadsTo(SealedTrees.MASKED_NODE, height, node, seat.submission.update.maskedRoot),
            NotPartOf("masked")
        );
        return SubmittedNodes.isMaskedNode(elements, plan.laneBytes, node, context);
    }

    /// @dev Checks that a leaf of the aggregation stands at a seat's place. That it names the seat's record is for
    ///      `proveWrongLeaf`.
    function _requireLeaf(
        Round memory round,
        SealedPlan memory plan,
        AggregationNode calldata leaf,
        SeatPlace memory spot
    ) private pure {
        uint256 position = (spot.groupRank << plan.groupHeight) + spot.rank;
        require(
            _requireNode(round, plan, leaf) == 0 && leaf.position == position
                && AggregationTree.isLeaf(leaf.preimage),
            NotPartOf("leaf")
        );
    }

    function _requireGroup(
        Round memory round,
        SealedPlan memory plan,
        AggregationNode calldata group,
        bytes calldata norm
    ) private pure {
        require(
            _requireNode(round, plan, group) == plan.groupLevel() && GroupNode.isGroup(group.preimage),
            NotPartOf("group")
        );
        require(keccak256(norm) == GroupNode.normOf(group.preimage), NotPartOf("norm"));
    }

    function _requireSums(uint32 index, Chunk calldata chunk, bytes32 root) private view {
        require(VectorTree.holds(VectorKind.Sums, elements, index, chunk, root), NotPartOf("sums"));
    }

    function _contextOf(uint64 roundId, Seat calldata seat) private view returns (bytes32) {
        return MerkleSumTree.context(_placeOf(roundId, seat.submission.member));
    }

    /// @dev Whether a member that counts lies at or below a place of the aggregation.
    function _isTaken(SealedPlan memory plan, GroupShape calldata shape, uint256 level, uint256 position)
        private
        pure
        returns (bool)
    {
        uint256 group = plan.groupHeight;
        uint256 rank = 0;
        if (level > group) {
            // The first group below a node.
            position <<= level - group - 1;
        } else {
            position <<= level;
            rank = position & ((uint256(1) << group) - 1);
            position >>= group;
        }
        uint256 included = shape.includedAt(plan.division(), position);
        return rank < included;
    }

    /// @dev Whether a node is wrong by itself or against its children that stands where one must.
    function _isWrong(
        Round memory round,
        AggregationNode calldata node,
        uint256 level,
        bool isGroup,
        bytes calldata left,
        bytes calldata right
    ) private pure returns (bool) {
        bytes calldata preimage = node.preimage;
        if (isGroup) {
            if (!GroupNode.isGroup(preimage)) return true;
        } else if (!(level == 0 ? AggregationTree.isLeaf(preimage) : AggregationTree.isNode(preimage))) {
            return true;
        }
        // No vector has the root 0, and nobody could demand to see one.
        if (AggregationTree.sumsOf(preimage) == 0) return true;
        uint64 weight = AggregationTree.weightOf(preimage);
        if (
            node.path.length == 0
                && (weight != round.totalWeight || AggregationTree.sumsOf(preimage) != round.aggregateRoot)
        ) return true;
        if (level == 0) return false;
        if (isGroup) {
            // The same of the root of its squares.
            if (GroupNode.normOf(preimage) == 0) return true;
            require(keccak256(left) == GroupNode.childOf(preimage), NotPartOf("child"));
            require(left.length >= AggregationTree.HEAD_BYTES, NotPartOf("child"));
            return weight != AggregationTree.weightOf(left);
        }
        _requireChildren(preimage, left, right);
        return weight != uint256(AggregationTree.weightOf(left)) + AggregationTree.weightOf(right);
    }

    function _beginSealed(uint64 roundId, GroupShape calldata shape)
        private
        view
        returns (Round memory round, SealedPlan memory plan)
    {
        round = _beginRound(roundId);
        plan = _rounds().requireShape(shape);
    }

    function _fail(uint64 roundId, uint16 attempt, Fraud fraud) private {
        emit FraudProved(roundId, msg.sender, fraud, attempt);
        _rounds().reject(roundId, attempt, msg.sender);
    }

    /// @dev Checks that a node stands in the proposal's aggregation tree, and returns its level.
    function _requireNode(Round memory round, SealedPlan memory plan, AggregationNode calldata node)
        private
        pure
        returns (uint256 level)
    {
        bytes32 top;
        (level, top) = plan.climb(node);
        require(top == round.aggregationRoot, NotPartOf("aggregation"));
    }
}
