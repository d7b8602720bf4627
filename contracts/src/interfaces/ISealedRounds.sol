// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {SealedPlan} from "../libraries/SealedAggregation.sol";
import {GroupShape} from "../libraries/SealedShape.sol";
import {SealedRecord} from "../libraries/SealedTrees.sol";
import {MaskedSubmission} from "../libraries/SealedTypes.sol";
import {ICourt} from "./ICourt.sol";
import {RosterProof} from "./IEpochs.sol";
import {IFederation} from "./IFederation.sol";

/// @notice What the coordinator states of all masked updates of a round at once.
struct SealedRollup {
    /// Members that are ready, as a bitmap over places: that of the epoch.
    bytes ready;
    /// Members whose update came, as a bitmap over places: what was stated when the round was closed.
    bytes included;
    /// Groups that count, as a bitmap.
    bytes counting;
    /// Included members of the groups that count.
    uint32 accepted;
    /// Sum of their weights.
    uint64 totalWeight;
    /// Peaks of the mountain range over their records, in the order of their places, the largest first.
    bytes32[] peaks;
    /// Binary CIDv1 of the file that holds what was received, and the seeds that were revealed.
    bytes cid;
}

/// @notice What the contract keeps of the latest sealed round.
struct SealedSummary {
    /// Round whose included members were stated last.
    uint64 round;
    /// Unix time in seconds of that statement; deadlines of updates are held against it.
    uint64 closedAt;
    /// Included members of counting groups; 0 before the roll-up.
    uint32 accepted;
    /// Of the aggregation; 0 before the roll-up.
    SealedPlan plan;
    /// keccak-256 of two of the bitmaps, and of the hashes of all three; the last is 0 before the roll-up.
    bytes32 readyHash;
    bytes32 includedHash;
    bytes32 shapeHash;
}

/// @notice One that counts: its record in the mountain range, and what it submitted.
struct Seat {
    uint32 index;
    SealedRecord record;
    bytes32[] siblings;
    MaskedSubmission submission;
}

/// @notice A preimage below a peak of the mountain range, as stated.
struct RangeNode {
    /// Height of its peak.
    uint8 peak;
    uint32 position;
    /// Empty for a hash of 0, which stands for nothing.
    bytes preimage;
    bytes32[] siblings;
}

/// @title Rounds of a sealed federation, and disputes about what was submitted in them
/// @notice Members submit vectors that are hidden by masks, which cancel within a group. The coordinator states whose came
///         (`close`), members reveal what is needed to open the sums of groups, and the coordinator states which groups count
///         (`submit`). Nobody learns more than the sums of groups; every step from what was submitted to the new model can be
///         recomputed, and has a proof here or in `Disputes`. Whole groups may be left out always: that reveals nothing.
/// @dev Works for its federation in the place of `Rollups`.
interface ISealedRounds is ICourt {
    /// @notice These members' updates came, as a bitmap over places. Members now reveal what opens their groups' sums.
    event RoundClosed(uint64 indexed round, uint64 indexed epoch, bytes32 closedHash, bytes included);
    /// @notice Which groups count, and what lies behind them; see `SealedRollup`.
    event SealedRollupSubmitted(
        uint64 indexed round, uint32 accepted, uint64 totalWeight, bytes counting, bytes32[] peaks, bytes cid
    );

    /// @notice The included members of this round were stated before, and are never stated anew.
    error AlreadyClosed(uint64 roundId);
    /// @notice The included members of this round were not stated yet.
    error NotClosed(uint64 roundId);
    /// @notice It is too early or too late for this, Unix time in seconds.
    error OutOfTime(uint64 from, uint64 until);
    /// @notice The roll-up cannot be one of this round.
    /// @param field Name of the field of `SealedRollup`.
    error InvalidSealedRollup(string field);
    /// @notice Fewer groups count than `minGroups`.
    error TooFewGroups(uint256 groups, uint256 minGroups);

    /// @notice Makes a new clone the court of one federation. `FederationFactory` calls it in the transaction that
    ///         makes the clone; nobody can call it again.
    /// @param federation Federation whose rounds are sealed here.
    /// @param court_ Contract that hears disputes about sums.
    function initialize(IFederation federation, address court_) external;

    /// @notice States whose updates came, once a round, between `openSeconds` and the deadline. Coordinator only.
    /// @param roundId Number of the open round.
    /// @param epochRoot Root of the epoch that the bitmaps are of, as `IEpochs.epochRoot` gives it.
    /// @param ready Members that are ready, the bitmap of the epoch.
    /// @param included Those of them whose update came.
    function close(uint64 roundId, bytes32 epochRoot, bytes calldata ready, bytes calldata included) external;

    /// @notice States which groups count, under the bond, which is taken as in `propose`. Coordinator only.
    /// @param roundId Number of the closed round.
    /// @param rollup Bitmaps, totals and peaks.
    function submit(uint64 roundId, SealedRollup calldata rollup) external payable;

    /// @notice Ends a round over which a lie was shown. `SealedCourt` only.
    /// @param roundId Number of the proposed round.
    /// @param attempt Number of its proposal.
    /// @param challenger Who showed it.
    function reject(uint64 roundId, uint16 attempt, address challenger) external;

    /// @return Contract that hears disputes about how masked updates become sums.
    function court() external view returns (address);

    /// @return The latest sealed round.
    function latest() external view returns (SealedSummary memory);

    /// @return A number of leaves that bounds the phases in which data are asked for.
    function recordCount() external view returns (uint32);

    /// @param hash Any hash.
    /// @return True when it is a peak of the latest roll-up.
    function isStated(bytes32 hash) external view returns (bool);

    /// @return Plan of the aggregation of the latest roll-up.
    function plan() external view returns (SealedPlan memory);

    /// @notice Reverts unless these are the bitmaps of the latest roll-up.
    /// @param shape Bitmaps.
    /// @return Its plan.
    function requireShape(GroupShape calldata shape) external view returns (SealedPlan memory);

    /// @notice A record has another place or weight than the round's bitmaps and the rules say, its submission is not that of the
    ///         member at that place, or the rules refuse it.
    /// @param roundId Number of the round.
    /// @param shape Bitmaps of the round.
    /// @param seat Record and submission.
    /// @param roster Enrolment of the member at the place that the bitmaps give.
    /// @param salt Any.
    function proveWrongRecord(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        RosterProof calldata roster,
        bytes32 salt
    ) external;

    /// @notice A node, record or submission below a peak of the mountain range has not the form of its place, or there is none.
    /// @param roundId Number of the round.
    /// @param node Node or record; its preimage as stated.
    /// @param submission Preimage of the submission that a well-formed record names, if that is what is wrong; else nothing.
    /// @param salt Any.
    function proveMalformedRange(
        uint64 roundId,
        RangeNode calldata node,
        bytes calldata submission,
        bytes32 salt
    ) external;
}
