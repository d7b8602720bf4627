// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FactoryMade} from "./FactoryMade.sol";
import {RolledUpCourt} from "./RolledUpCourt.sol";
import {SealedSeats} from "./SealedSeats.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {Epoch, IEpochs, RosterProof} from "./interfaces/IEpochs.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {IHearing} from "./interfaces/IHearing.sol";
import {ISealedRounds, RangeNode, SealedRollup, SealedSummary, Seat} from "./interfaces/ISealedRounds.sol";
import {Bitmaps} from "./libraries/Bitmaps.sol";
import {CommitmentTree} from "./libraries/CommitmentTree.sol";
import {Consent} from "./libraries/Consent.sol";
import {ContentId} from "./libraries/ContentId.sol";
import {Division, Groups} from "./libraries/Groups.sol";
import {MemberSignature} from "./libraries/MemberSignature.sol";
import {MerklePath} from "./libraries/MerklePath.sol";
import {Phases} from "./libraries/Phases.sol";
import {Round, RoundLib, RoundState} from "./libraries/RoundLib.sol";
import {Expectation, Refusal, Rules, RulesLib} from "./libraries/RulesLib.sol";
import {SealedAggregation, SealedPlan} from "./libraries/SealedAggregation.sol";
import {SealedRules, SealedRulesLib} from "./libraries/SealedRulesLib.sol";
import {GroupShape, SealedShape} from "./libraries/SealedShape.sol";
import {SealedTrees} from "./libraries/SealedTrees.sol";
import {MaskedSubmission, SealedTypes} from "./libraries/SealedTypes.sol";
import {SubmittedNodes} from "./libraries/SubmittedNodes.sol";

/// @title SealedRounds
/// @notice Closing and rolling up of the rounds of one sealed federation, and fraud proofs about what was submitted in them;
///         see `ISealedRounds`.
/// @dev Deployed once and cloned by `FederationFactory`. A lie shown here ends the round: what it was proposed over is false.
contract SealedRounds is ISealedRounds, RolledUpCourt, SealedSeats, FactoryMade {
    using Bitmaps for bytes;
    using Groups for Division;
    using RulesLib for Rules;
    using SealedAggregation for SealedPlan;
    using SealedRulesLib for SealedRules;
    using SealedShape for GroupShape;

    /// @inheritdoc ISealedRounds
    address public court;

    SealedSummary private _latest;

    modifier onlyCoordinator() {
        require(msg.sender == federation.coordinator(), IFederation.NotCoordinator(msg.sender));
        _;
    }

    /// @inheritdoc ISealedRounds
    // slither-disable-next-line missing-zero-check
    function initialize(IFederation federation_, address court_) external {
        _requireNew(address(federation));
        federation = federation_;
        court = court_;
    }

    /// @inheritdoc ISealedRounds
    function reject(uint64 roundId, uint16 attempt, address challenger) external {
        require(msg.sender == court, IFederation.NotSidecar(msg.sender));
        IHearing(federation.disputes()).rejectRollup(roundId, attempt, challenger);
    }

    /// @inheritdoc ISealedRounds
    // What is called is the factory's own code, which calls nobody.
    // slither-disable-next-line reentrancy-no-eth,reentrancy-benign,reentrancy-events,timestamp
    function close(uint64 roundId, bytes32 epochRoot, bytes calldata ready, bytes calldata included)
        external
        onlyCoordinator
    {
        Round memory round = _openRound(roundId);
        require(_latest.round != roundId, AlreadyClosed(roundId));
        uint64 from = round.openedAt + federation.security().openSeconds;
        // The seconds that a block producer can shift do not matter.
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp >= from && block.timestamp <= round.deadline, OutOfTime(from, round.deadline));
        IEpochs epochs = _epochs();
        Epoch memory epoch = epochs.epochOf(roundId, round.openedAt);
        // A reorganised chain may have drawn anew since: the same places would be those of others.
        require(epochs.epochRoot() == epochRoot, InvalidSealedRollup("epochRoot"));
        require(keccak256(ready) == epoch.readyHash, InvalidSealedRollup("ready"));
        require(included.isSetOf(epoch.members) && included.isWithin(ready), InvalidSealedRollup("included"));
        delete _latest;
        _latest.round = roundId;
        // Unix time fits 64 bits for longer than there will be blocks.
        // forge-lint: disable-next-line(unsafe-typecast)
        _latest.closedAt = uint64(block.timestamp);
        _latest.readyHash = epoch.readyHash;
        _latest.includedHash = keccak256(included);
        emit RoundClosed(
            roundId, epoch.number, SealedTrees.closedHash(roundId, epochRoot, included), included
        );
    }

    /// @inheritdoc ISealedRounds
    // slither-disable-next-line reentrancy-no-eth,reentrancy-benign,reentrancy-events,timestamp
    function submit(uint64 roundId, SealedRollup calldata rollup) external payable onlyCoordinator {
        Round memory round = _openRound(roundId);
        SealedSummary storage closed = _latest;
        require(closed.round == roundId, NotClosed(roundId));
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp <= round.until, OutOfTime(closed.closedAt, round.until));
        require(keccak256(rollup.ready) == closed.readyHash, InvalidSealedRollup("ready"));
        require(keccak256(rollup.included) == closed.includedHash, InvalidSealedRollup("included"));
        require(ContentId.isPlausible(rollup.cid), InvalidSealedRollup("cid"));
        closed.plan = _requireCounting(rollup, federation.rules());
        closed.accepted = rollup.accepted;
        closed.shapeHash = _shapeHash(closed.readyHash, closed.includedHash, rollup.counting);
        _epochs().countRound();
        federation.rollUp{value: msg.value}(roundId, rollup.accepted, rollup.totalWeight, rollup.peaks);
        emit SealedRollupSubmitted(
            roundId, rollup.accepted, rollup.totalWeight, rollup.counting, rollup.peaks, rollup.cid
        );
    }

    /// @inheritdoc ISealedRounds
    function latest() external view returns (SealedSummary memory) {
        return _latest;
    }

    /// @inheritdoc ISealedRounds
    function plan() external view returns (SealedPlan memory) {
        return _latest.plan;
    }

    /// @inheritdoc ISealedRounds
    // slither-disable-next-line timestamp
    function recordCount() external view returns (uint32) {
        SealedPlan memory tall = _latest.plan;
        // In the aggregation the groups' nodes take a level more, in the range the records' submissions.
        uint256 levels = uint256(tall.groupHeight) + tall.upperHeight + 1;
        // From a submission a walk goes on down a vector; or down the commitments to seeds, and then to a seed, one by one.
        uint256 seeds = Phases.ofLevels(tall.groupHeight) + 1;
        uint256 vector = Phases.ofVector(federation.rules().elements);
        if (seeds > vector) levels += (seeds - vector) * Phases.LEVELS;
        // A roster has 2^16 members at most, a group 2^8: so there are 30 levels at most.
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(uint256(1) << levels);
    }

    /// @inheritdoc ISealedRounds
    function isStated(bytes32 hash) external view returns (bool) {
        return _isPeak(_latest.accepted, hash);
    }

    /// @inheritdoc ISealedRounds
    // slither-disable-next-line timestamp
    function requireShape(GroupShape calldata shape) public view returns (SealedPlan memory) {
        SealedSummary storage stated = _latest;
        bytes32 hash = _shapeHash(keccak256(shape.ready), keccak256(shape.included), shape.counting);
        require(hash == stated.shapeHash, NotPartOf("shape"));
        return stated.plan;
    }

    /// @inheritdoc ISealedRounds
    function proveWrongRecord(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        RosterProof calldata roster,
        bytes32
    ) external {
        Round memory round = _beginRound(roundId);
        SealedPlan memory tall = requireShape(shape);
        _requireSeat(round, seat);
        uint256 place = shape.placeOf(tall.division(), seat.index);
        if (seat.record.place == place) {
            require(_epochs().requireEnrolled(roster) == place, NotPartOf("roster"));
            _requireSubmission(seat);
            require(!_isRight(roundId, round, seat, roster.entry.member), NoFraud());
        }
        _fail(roundId, round.attempt, Fraud.WrongRecord);
    }

    /// @inheritdoc ISealedRounds
    function proveMalformedRange(uint64 roundId, RangeNode calldata node, bytes calldata submission, bytes32)
        external
    {
        Round memory round = _beginRound(roundId);
        uint256 depth = node.siblings.length;
        // Of 0 nobody knows the preimage, and nobody can demand it; where it stands for what was submitted, that is missing.
        bytes32 hash = node.preimage.length == 0 ? bytes32(0) : keccak256(node.preimage);
        require(
            (round.accepted >> node.peak) & 1 == 1 && depth <= node.peak
                && uint256(node.position) >> depth == 0
                && CommitmentTree.climb(hash, node.position, node.siblings)
                    == federation.commitmentPeak(node.peak),
            NotPartOf("range")
        );
        if (depth < node.peak) {
            require(!SubmittedNodes.isNode(CommitmentTree.NODE, node.preimage), NoFraud());
        } else if (SealedTrees.isRecord(node.preimage)) {
            bytes32 named = SealedTrees.submissionOf(node.preimage);
            if (named != 0) {
                require(keccak256(submission) == named, NotPartOf("submission"));
                require(!SealedTypes.isSubmission(submission), NoFraud());
            }
        }
        _fail(roundId, round.attempt, Fraud.MalformedRollup);
    }

    function _fail(uint64 roundId, uint16 attempt, Fraud fraud) private {
        emit FraudProved(roundId, msg.sender, fraud, attempt);
        IHearing(federation.disputes()).rejectRollup(roundId, attempt, msg.sender);
    }

    function _shapeHash(bytes32 ready, bytes32 included, bytes calldata counting)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(ready, included, keccak256(counting)));
    }

    function _openRound(uint64 roundId) private view returns (Round memory round) {
        round = federation.round(roundId);
        require(round.state == RoundState.Open, RoundLib.WrongState(roundId, round.state));
    }

    /// @dev Checks which groups count, and how many members they have; the weights are a claim, which has proofs.
    function _requireCounting(SealedRollup calldata rollup, Rules memory inForce)
        private
        view
        returns (SealedPlan memory)
    {
        IEpochs epochs = _epochs();
        SealedRules memory rules = epochs.sealedRules();
        Division memory division = Groups.divide(epochs.epoch().members, rules.groupSize);
        require(rollup.counting.isSetOf(division.groups), InvalidSealedRollup("counting"));
        (uint256 groups, uint256 members) = division.tally(rollup.ready, rollup.included, rollup.counting);
        require(members == rollup.accepted, InvalidSealedRollup("accepted"));
        require(groups >= rules.minGroups, TooFewGroups(groups, rules.minGroups));
        // The coordinator could give up a smaller one at once, and have it counted.
        require(members >= inForce.minClients, InvalidSealedRollup("accepted"));
        return SealedPlan(
            division.places,
            division.groups,
            // A roster has at most 2^16 members.
            // forge-lint: disable-next-line(unsafe-typecast)
            uint8(division.height()),
            // forge-lint: disable-next-line(unsafe-typecast)
            uint8(MerklePath.height(groups)),
            // At most 6.
            // forge-lint: disable-next-line(unsafe-typecast)
            uint8(rules.laneBytes(inForce))
        );
    }

    /// @dev Whether the member at a record's place signed its submission, the rules take it, and the weight is what they give.
    // slither-disable-next-line timestamp
    function _isRight(uint64 roundId, Round memory round, Seat calldata seat, address member)
        private
        view
        returns (bool)
    {
        MaskedSubmission calldata submission = seat.submission;
        if (submission.member != member) return false;
        address signer =
            Consent.signerOf(federation, SealedTypes.structHash(submission.update), submission.signature);
        if (!MemberSignature.speaksFor(federation, roundId, signer, member)) return false;
        Rules memory rules = federation.rules();
        Expectation memory expected =
            Expectation(roundId, federation.rulesHash(), federation.modelRoot(), round.deadline);
        Refusal reason = SealedRulesLib.refusal(
            rules, submission.update, expected, _epochs().epochRoot(), _latest.closedAt
        );
        if (reason != Refusal.None) return false;
        return seat.record.weight == RulesLib.weight(submission.update.examples, rules.maxWeight());
    }
}
