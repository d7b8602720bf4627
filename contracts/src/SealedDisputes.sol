// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationCourt} from "./AggregationCourt.sol";
import {SealedSeats} from "./SealedSeats.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {ISealedDisputes} from "./interfaces/ISealedDisputes.sol";
import {Seat} from "./interfaces/ISealedRounds.sol";
import {AggregationNode} from "./libraries/AggregationTree.sol";
import {MerklePath} from "./libraries/MerklePath.sol";
import {Round} from "./libraries/RoundLib.sol";
import {SealedAggregation, SealedPlan} from "./libraries/SealedAggregation.sol";
import {GroupShape, SealedShape, SeatPlace} from "./libraries/SealedShape.sol";
import {SealedTrees} from "./libraries/SealedTrees.sol";
import {SealedTypes} from "./libraries/SealedTypes.sol";

/// @title SealedDisputes
/// @notice Questions and fraud proofs about the proposals of one sealed federation; see `ISealedDisputes`.
/// @dev Deployed once and cloned by `FederationFactory`.
contract SealedDisputes is ISealedDisputes, AggregationCourt, SealedSeats {
    using SealedAggregation for SealedPlan;
    using SealedShape for GroupShape;

    /// @inheritdoc ISealedDisputes
    function demandSeed(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        uint32 place,
        bytes32 commitment,
        bytes32[] calldata siblings
    ) external payable {
        Round memory round = _proposed(roundId);
        SealedPlan memory plan = _rounds().requireShape(shape);
        _requireSeat(round, seat);
        _requireSubmission(seat);
        SeatPlace memory spot = shape.seatAt(plan.division(), seat.record.place);
        require(shape.isRevealed(spot, place), NotRevealed(place));
        require(
            siblings.length == plan.groupHeight && commitment != 0
                && MerklePath.climb(SealedTrees.SEED_NODE, commitment, place - spot.first, siblings)
                    == seat.submission.update.seedsRoot,
            NotPartOf("seeds")
        );
        _ask(roundId, round, commitment, 1);
    }

    /// @inheritdoc ISealedDisputes
    function proveNotSealed(uint64 roundId, bytes32) external {
        Round memory round = _begin(roundId);
        require(!round.rolledUp, NoFraud());
        // No other proposal over such updates could be true.
        _bringDown(roundId, round.attempt, Fraud.BadUpdate);
    }

    /// @dev Which members share what is not revealed nobody can tell: of the tree of a member's commitments only the nodes may be
    ///      asked for in general.
    function _requireLinked(Round memory round, bytes[] calldata path, bytes32 hash, uint8 levels)
        internal
        view
        override
    {
        super._requireLinked(round, path, hash, levels);
        for (uint256 i = 0; i < path.length; ++i) {
            if (uint8(path[i][0]) != SealedTypes.KIND) continue;
            bytes32 next = i + 1 < path.length ? keccak256(path[i + 1]) : hash;
            if (next != SealedTypes.seedsRootOf(path[i])) continue;
            uint256 depth = path.length - i - 1;
            // slither-disable-next-line calls-loop
            require(depth + levels <= _rounds().plan().groupHeight, TooManyLevels(levels));
        }
    }

    function _requireNode(AggregationNode calldata node, Round memory round)
        internal
        view
        override
        returns (uint256 level)
    {
        bytes32 top;
        (level, top) = _rounds().plan().climb(node);
        require(round.rolledUp && top == round.aggregationRoot, NotPartOf("aggregation"));
    }
}
